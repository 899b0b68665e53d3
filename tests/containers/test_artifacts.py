"""Artifacts against act's own server: with GitHub's own client at the other end, and with faults in between."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

from conftest import ROOT
from containers.act import ArtifactServer, artifact_server
from containers.artifactproxy import Fault, Proxy, proxying
from containers.npm import npm_packages
from index import GitHubPublisher, LocalIndex
from manywheels.core.retry import RetryPolicy
from manywheels.deliver.artifacts.client import Artifacts
from manywheels.deliver.artifacts.packing import ArtifactMember
from manywheels.deliver.artifacts.service import find_service
from manywheels.errors import ArtifactDiffers, ArtifactMissing, ArtifactServiceDown

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("artifacts")]


@pytest.fixture(scope="module")
def server() -> Iterator[ArtifactServer]:
    with artifact_server() as running:
        yield running


@pytest.fixture
def proxy(server: ArtifactServer) -> Iterator[Proxy]:
    with proxying(Proxy(upstream=server.environment["ACTIONS_RESULTS_URL"].rstrip("/"))) as before:
        yield before


@pytest.fixture
def files(tmp_path: Path) -> list[ArtifactMember]:
    """A wheel of more than one block, which does not get smaller, and a manifest."""
    folder = tmp_path / "dist"
    folder.mkdir()
    (folder / "a.whl").write_bytes(os.urandom(9 << 20))
    (folder / "b.whl").write_bytes(b"PK\3\4PK\7\x08" * 10_000)  # what a reader that streams may take for an end
    (folder / "manywheels.json").write_bytes(b"{}\n" * 1000)
    return [ArtifactMember(name=path.name, path=path) for path in sorted(folder.iterdir())]


def client_of(server: ArtifactServer, proxy: Proxy | None = None) -> Artifacts:
    url = {"ACTIONS_RESULTS_URL": proxy.url} if proxy else {}
    said: list[str] = []
    retries = RetryPolicy(attempts=4, first_pause=0.01)
    return Artifacts(service=find_service({**server.environment, **url}), say=said.append, retries=retries)


def take(artifacts: Artifacts, name: str, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    artifacts.download(artifacts.find(name=name)[0], folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents(files: list[ArtifactMember]) -> dict[str, bytes]:
    return {member.name: member.path.read_bytes() for member in files}


def official_client(server: ArtifactServer, *arguments: str, **more: str) -> None:
    """Run GitHub's own client with the environment of a job."""
    folder = npm_packages()
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment = {**keep, **server.environment, "GITHUB_SERVER_URL": "https://github.com", **more}
    done = subprocess.run(
        ["node", "artifact.mjs", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_what_we_upload_we_download(server: ArtifactServer, files: list[ArtifactMember], tmp_path: Path) -> None:
    artifacts = client_of(server)
    uploaded = artifacts.upload("ours", files, overwrite=False)
    assert uploaded.size == server.zip_of("ours").stat().st_size
    assert take(artifacts, "ours", tmp_path / "taken") == contents(files)


@pytest.mark.network
def test_githubs_own_client_downloads_what_we_upload(
    server: ArtifactServer, files: list[ArtifactMember], tmp_path: Path
) -> None:
    client_of(server).upload("for-them", files, overwrite=False)
    folder = tmp_path / "theirs"
    folder.mkdir()
    official_client(server, "download", "for-them", str(folder))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents(files)


def as_github_has_it(method: str, answer: dict[str, Any]) -> dict[str, Any]:
    """Escape the signature's `=`, as Azure does: the newest client would lose it."""
    if method == "CreateArtifact":
        return {**answer, "signedUploadUrl": answer["signedUploadUrl"].replace("=&", "%3D&", 1)}
    return answer


def as_act_knows_it(method: str, request: dict[str, Any]) -> dict[str, Any]:
    """Leave out the field that the newest client sends and act does not know yet."""
    return {name: value for name, value in request.items() if method != "CreateArtifact" or name != "mime_type"}


@pytest.mark.network
@pytest.mark.parametrize("compression", ["0", "6"])
def test_we_download_what_githubs_own_client_uploads(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember], tmp_path: Path, compression: str
) -> None:
    proxy.adapt_request, proxy.adapt_answer = as_act_knows_it, as_github_has_it
    small = files[1:]  # act's server appends blocks as they come, and their client sends several at once
    folder, names = str(small[0].path.parent), [member.name for member in small]
    url = {"ACTIONS_RESULTS_URL": proxy.url, "COMPRESSION": compression}
    official_client(server, "upload", f"theirs-{compression}", folder, *names, **url)
    assert take(client_of(server), f"theirs-{compression}", tmp_path / "taken") == contents(small)


@pytest.mark.network
def test_what_one_runner_cross_builds_is_published(server: ArtifactServer, proxy: Proxy, tmp_path: Path) -> None:
    """examples/github/cross.yml, without the runner: its commands, GitHub's client, and the action's own program."""
    jobs = yaml.safe_load((ROOT / "examples/github/cross.yml").read_text("utf-8"))["jobs"]
    install, build = (step["run"] for step in jobs["build"]["steps"] if "run" in step)
    wanted = Requirement(shlex.split(install)[-1])
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert wanted.name == declared["name"]
    assert wanted.extras == {"host"} <= declared["optional-dependencies"].keys()

    project, outputs = tmp_path / "spam", tmp_path / "outputs"
    shutil.copytree(ROOT / "examples/spam", project, ignore=shutil.ignore_patterns("dist"))
    job = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    job |= {"GITHUB_OUTPUT": str(outputs), "MANYWHEELS_BUILD": "cp312"}
    shell = ("bash", "-eo", "pipefail", "-c", build)
    built = subprocess.run(shell, cwd=project, env=job, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    name, _, digest = outputs.read_text("utf-8").strip().partition("=")
    assert {name: digest} == {
        "manifest-digest": hashlib.sha256((project / "dist/manywheels.json").read_bytes()).hexdigest()
    }
    wheels = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (project / "dist").glob("*.whl")}
    platforms = {wheel.removesuffix(".whl").rpartition("-")[2] for wheel in wheels}
    assert len(platforms) == 4
    for platform in (
        "manylinux_2_28_x86_64",
        "manylinux_2_28_aarch64",
        "musllinux_1_2_x86_64",
        "musllinux_1_2_aarch64",
    ):
        assert any(platform in tags for tags in platforms)

    given = next(step["with"] for step in jobs["build"]["steps"] if "upload-artifact@" in step.get("uses", ""))
    folder = project / given["path"]
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert any(member.startswith("logs/") for member in names)
    proxy.adapt_request, proxy.adapt_answer = as_act_knows_it, as_github_has_it
    official_client(server, "upload", given["name"], str(folder), *names, ACTIONS_RESULTS_URL=proxy.url)

    (taken,) = jobs["publish"]["steps"]
    inputs = {**taken["with"], "manifest-digest": digest, "attestations": "false"}
    place = tmp_path / "publishing"
    place.mkdir()
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project="spam", workflow="cross.yml", environment=jobs["publish"]["environment"]))
        identity = index.github_environment(workflow="cross.yml", ref="refs/tags/v1.0", environment="pypi")
        service = {key: value for key, value in server.environment.items() if key.startswith("ACTIONS_")}
        variables = {
            f"INPUT_{key.upper()}": value for key, value in (inputs | {"repository-url": index.upload_url}).items()
        }
        published = subprocess.run([sys.executable, ROOT / "entrypoint.py"], cwd=place, capture_output=True, text=True,
                                   check=False, env=os.environ | identity | service | variables)  # fmt: skip
        assert published.returncode == 0, published.stdout + published.stderr
        assert {key: file.sha256 for key, file in index.files().items()} == wheels


@pytest.mark.network
def test_our_requests_have_the_fields_of_githubs_own_client(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember], tmp_path: Path
) -> None:
    """The fake service of the unit tests believes what we send; this is what the real client sends."""
    proxy.adapt_request, proxy.adapt_answer = as_act_knows_it, as_github_has_it
    small = files[1:]
    client_of(server, proxy).upload("fields", small, overwrite=False)
    ours = {method: set(request) for method, request in proxy.seen}
    proxy.seen.clear()
    official_client(
        server, "upload", "fields-2", str(small[0].path.parent), small[0].name, ACTIONS_RESULTS_URL=proxy.url
    )
    for method, request in proxy.seen:
        assert ours[method] == set(request), method


@pytest.mark.parametrize(
    "faults",
    [
        {"CreateArtifact": [Fault.REFUSE, Fault.DROP, Fault.LOSE]},
        {"comp=block&": [Fault.REFUSE, Fault.DROP]},
        {"comp=blocklist": [Fault.REFUSE, Fault.DROP, Fault.LOSE]},
        {"FinalizeArtifact": [Fault.LOSE, Fault.REFUSE]},
        {"ListArtifacts": [Fault.DROP, Fault.REFUSE, Fault.LOSE]},
        {"GetSignedArtifactURL": [Fault.LOSE, Fault.REFUSE]},
        {"DownloadArtifact": [Fault.REFUSE, Fault.LOSE, Fault.DROP]},
    ],
    ids=lambda faults: next(iter(faults)).partition("&")[0],
)
def test_passing_faults_do_no_harm(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember], tmp_path: Path, faults: dict[str, list[Fault]]
) -> None:
    expected = [fault for each in faults.values() for fault in each]
    proxy.faults = faults
    artifacts = client_of(server, proxy)
    artifacts.upload("faulty", files, overwrite=True)
    assert proxy.suffered == expected, "each of them happened"
    assert take(artifacts, "faulty", tmp_path / "taken") == contents(files)


def test_a_service_that_stays_down_is_given_up(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]
) -> None:
    proxy.faults = {"CreateArtifact": [Fault.REFUSE] * 9}
    with pytest.raises(ArtifactServiceDown, match="HTTP status 503"):
        client_of(server, proxy).upload("never", files, overwrite=False)
    with pytest.raises(ArtifactMissing):
        client_of(server).find(name="never")


def test_a_byte_that_changes_on_the_way_back_is_found_out(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]
) -> None:
    proxy.faults = {"DownloadArtifact": [Fault.CHANGE]}
    with pytest.raises(ArtifactDiffers):
        client_of(server, proxy).upload("changed", files, overwrite=False)


def test_a_block_that_is_stored_twice_is_found_out(
    server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]
) -> None:
    """Azure would know it by its number; act's server appends it once more."""
    proxy.faults = {"comp=block&": [Fault.LOSE]}
    with pytest.raises(ArtifactDiffers):
        client_of(server, proxy).upload("twice", files, overwrite=False)


def test_retention_reaches_the_service(server: ArtifactServer, proxy: Proxy, files: list[ArtifactMember]) -> None:
    client_of(server, proxy).upload("kept", files[1:], retention_days=3, overwrite=False)
    (request,) = [request for method, request in proxy.seen if method == "CreateArtifact"]
    until = datetime.strptime(request["expires_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    assert abs(until - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=5)
