"""twine, uv and pip can use the local index as they use the real one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import requests

from conftest import ROOT
from index import GitHubPublisher, GitLabPublisher, LocalIndex
from index.clients import Ran, pip_download, twine, uv
from publish.indexing import other_content, upload
from unit.helpers import write_wheel


def upload_with(client: str, home: Path, index: LocalIndex, wheel: Path, token: str) -> Ran:
    """Upload with a client and an API token."""
    if client == "twine":
        options = ("--repository-url", index.upload_url, "--username", "__token__", "--password", token)
        return twine(home, *options, wheel)
    return uv(home, "publish", "--publish-url", index.upload_url, "--token", token, wheel)


def publish_with(client: str, home: Path, wheel: Path, environment: Mapping[str, str]) -> Ran:
    """Publish with a client to its default index, without a token."""
    if client == "twine":
        return twine(home, wheel, environment=environment)
    return uv(home, "publish", "--trusted-publishing", "always", wheel, environment=environment)


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_clients_upload_with_a_token_and_the_file_arrives_whole(
    index: LocalIndex, wheel: Path, tmp_path: Path, client: str
) -> None:
    token = index.api_token("demo")

    ran = upload_with(client, tmp_path, index, wheel, token)

    assert ran.status == 0, ran.text
    stored = index.files()[wheel.name]
    assert stored.path.read_bytes() == wheel.read_bytes()
    assert stored.fields["license_expression"] == ("MIT",)
    assert index.requests[-1].password == token


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_clients_report_a_wrong_token_and_other_content(
    index: LocalIndex, wheel: Path, tmp_path: Path, client: str
) -> None:
    def publish(token: str) -> str:
        ran = upload_with(client, tmp_path, index, wheel, token)
        assert ran.status != 0
        return " ".join(ran.text.split())

    assert "Invalid or non-existent authentication information" in publish("pypi-none")
    token = index.api_token()
    assert upload(index, wheel, token).status_code == 200
    other_content(wheel)
    assert "File already exists" in publish(token)


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_uv_publishes_without_a_token(wheel: Path, tmp_path: Path, ci: str) -> None:
    with LocalIndex(tls=True) as index:
        index.trust(GitHubPublisher(project="demo"), GitLabPublisher(project="demo"))
        environment = index.github_environment() if ci == "github" else index.gitlab_environment()
        options = ("--publish-url", index.upload_url, "--trusted-publishing", "always")
        ran = uv(tmp_path, "publish", *options, wheel, environment=environment | index.tls_environment())

        assert ran.status == 0, ran.text
        assert "warning" not in ran.text
        assert wheel.name in index.files()
        paths = [entry.path.rpartition("/")[2] for entry in index.requests if entry.path.startswith("/_/")]
        assert paths == ["audience", "mint-token", "burn-token"]


@pytest.mark.slow("twine-gitlab")
@pytest.mark.parametrize("ci", ["github", "gitlab"])
@pytest.mark.parametrize("client", ["twine", "uv"])
def test_clients_publish_without_a_token_to_their_default_index(
    index: LocalIndex, wheel: Path, tmp_path: Path, ci: str, client: str
) -> None:
    index.trust(GitHubPublisher(project="demo", environment="release"), GitLabPublisher(project="demo"))
    job = index.github_environment(environment="release") if ci == "github" else index.gitlab_environment()

    ran = publish_with(client, tmp_path, wheel, job | index.proxy_environment())

    assert ran.status == 0, ran.text
    assert index.files()[wheel.name].sha256 == hashlib.sha256(wheel.read_bytes()).hexdigest()
    sent = next(entry for entry in index.requests if entry.path == "/legacy/")
    assert sent.host.startswith("upload.")
    assert sent.password.startswith("pypi-minted-")


@pytest.mark.parametrize("client", ["twine", "uv"])
def test_clients_say_why_no_token_was_minted(index: LocalIndex, wheel: Path, tmp_path: Path, client: str) -> None:
    index.trust(GitHubPublisher(project="demo", workflow="publish.yml"))

    ran = publish_with(client, tmp_path, wheel, index.github_environment() | index.proxy_environment())

    assert ran.status != 0
    assert "invalid-publisher" in ran.text
    assert "Publisher with matching claims was not found" in " ".join(ran.text.split())


def test_pip_and_uv_install_what_was_uploaded(index: LocalIndex, tmp_path: Path) -> None:
    members = {"demo/__init__.py": b"answer = 42\n"}
    wheel = write_wheel(tmp_path, members=members)
    assert upload(index, wheel, index.api_token()).status_code == 200

    downloaded = pip_download(tmp_path, index.simple_url, "demo")
    assert downloaded.status == 0, downloaded.text
    assert (tmp_path / "downloads" / wheel.name).read_bytes() == wheel.read_bytes()

    target = ("--python-platform", "x86_64-manylinux2014", "--python-version", "3.12", "--target", tmp_path / "site")
    installed = uv(tmp_path, "pip", "install", "--index-url", index.simple_url, *target, "demo==1.0")
    assert installed.status == 0, installed.text
    assert (tmp_path / "site/demo/__init__.py").read_bytes() == members["demo/__init__.py"]
    assert any(entry.path.endswith(".whl.metadata") and entry.status == 200 for entry in index.requests)


def test_clients_do_not_install_a_file_with_another_hash_than_listed(
    index: LocalIndex, wheel: Path, tmp_path: Path
) -> None:
    upload(index, wheel, index.api_token())
    index.settings.lies[wheel.name] = "0" * 64

    downloaded = pip_download(tmp_path, index.simple_url, "demo")

    assert downloaded.status != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in downloaded.text


def test_the_index_runs_as_a_program(tmp_path: Path, wheel: Path) -> None:
    argv = [sys.executable, "-m", "index", "--github", "octo/demo:release.yml:demo", "--tls"]
    with subprocess.Popen(argv, cwd=ROOT / "tests", stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            card = json.loads(program.stdout.readline())
            environment = card["github"] | {"SSL_CERT_FILE": card["authority"]}
            options = ("--publish-url", f"{card['url']}/legacy/", "--trusted-publishing", "always")
            ran = uv(tmp_path, "publish", *options, wheel, environment=environment)
            assert ran.status == 0, ran.text
            log = requests.get(f"{card['url']}/-/requests", verify=card["authority"], timeout=20).json()
            assert [entry["file"] for entry in log if entry["path"] == "/legacy/"] == [wheel.name]
        finally:
            program.terminate()
    assert program.returncode == 0
