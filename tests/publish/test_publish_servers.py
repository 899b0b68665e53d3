"""Real servers: manywheels uploads the same files and fields as twine and `uv publish`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fetched import no_index
from host.conftest import PROJECTS
from index import LocalIndex
from manywheels.core.files import digest_file
from manywheels.runtime.uv import uv_program
from publish.program import (
    RICH_METADATA,
    clean_environment,
    publish,
    publish_apart,
    read_ledger,
    write_sdist,
    write_set,
)
from publish.servers import PASSWORD, USER, Devpi, as_json, devpi, pypiserver
from unit.helpers import PLATFORM, write_wheel

Client = Callable[[Path, str, str, str], None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished set with rich metadata."""
    folder = tmp_path_factory.mktemp("set") / "dist"
    write_set(folder, "cp312", "cp313", metadata=RICH_METADATA)
    write_sdist(folder, metadata=RICH_METADATA)
    return folder


@pytest.fixture(scope="module")
def devpi_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Devpi]:
    with devpi(tmp_path_factory.mktemp("devpi") / "server") as server:
        yield server


def ours(folder: Path, url: str, user: str, password: str) -> None:
    run = publish(folder, url, "--user", user, environment={"MANYWHEELS_PASSWORD": password})
    assert run.status == 0, run.said
    assert set(run.states.values()) == {"uploaded"}


def _files(folder: Path) -> list[str]:
    return [str(path) for pattern in ("*.whl", "*.tar.gz") for path in folder.glob(pattern)]


def _peer(argv: list[str], environment: Mapping[str, str]) -> None:
    environment = {**clean_environment(), **environment}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def twine(folder: Path, url: str, user: str, password: str) -> None:
    argv = [sys.executable, "-m", "twine", "upload", "--non-interactive", "--repository-url", url, *_files(folder)]
    _peer(argv, {"TWINE_USERNAME": user, "TWINE_PASSWORD": password})


def uv(folder: Path, url: str, user: str, password: str) -> None:
    argv = [uv_program(), "publish", "--no-config", "--trusted-publishing", "never", "--publish-url", url]
    _peer([*argv, *_files(folder)], {"UV_PUBLISH_USERNAME": user, "UV_PUBLISH_PASSWORD": password})


CLIENTS: dict[str, Client] = {"ours": ours, "twine": twine, "uv": uv}


def _digests(folder: Path) -> dict[str, str]:
    return {Path(path).name: digest_file(Path(path)) for path in _files(folder)}


@pytest.mark.xdist_group("devpi")
def test_devpi_stores_the_same_from_every_client(folder: Path, devpi_server: Devpi) -> None:
    kept = {}
    for name, client in CLIENTS.items():
        url = devpi_server.index(name)
        client(folder, url, USER, PASSWORD)
        kept[name] = devpi_server.release(url, "demo", "1.0")
    assert kept["ours"]["files"] == {name: f"sha256={digest}" for name, digest in _digests(folder).items()}
    assert kept["ours"]["metadata"]["summary"] == 'Schöne Wörter, and "quotes"'
    assert as_json(kept["ours"]) == as_json(kept["twine"])
    assert as_json(kept["ours"]) == as_json(kept["uv"])


@pytest.mark.xdist_group("devpi")
def test_devpi_is_asked_first_and_a_conflict_stops_the_upload(
    folder: Path, devpi_server: Devpi, tmp_path: Path
) -> None:
    url = devpi_server.index("again")
    ours(folder, url, USER, PASSWORD)
    password = {"MANYWHEELS_PASSWORD": PASSWORD}
    again = publish(folder, url, "--user", USER, environment=password)
    assert (again.status, set(again.states.values())) == (0, {"identical"})
    other = tmp_path / "other"
    write_set(other, "cp312", "cp314", metadata=RICH_METADATA + "\nchanged\n")
    clash = publish(other, url, "--user", USER, "--skip-existing", environment=password)
    assert clash.status == 4
    assert "error MW326" in clash.err
    assert sorted(clash.states.values()) == ["conflict", "not sent"]
    assert len(devpi_server.release(url, "demo", "1.0")["files"]) == 3


@pytest.mark.parametrize("client", CLIENTS)
def test_pypiserver_stores_what_was_sent(client: str, folder: Path, tmp_path: Path) -> None:
    with pypiserver(tmp_path / "server") as server:
        CLIENTS[client](folder, server.url, USER, PASSWORD)
        assert _digests(server.folder) == _digests(folder)
        if client != "ours":  # a file that another client uploaded is recognised by its sha256
            run = publish(folder, server.url, "--user", USER, environment={"MANYWHEELS_PASSWORD": PASSWORD})
            assert (run.status, set(run.states.values())) == (0, {"identical"})
            assert not [name for name in run.states if "is there already, identical" not in run.out]


def build(package: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `manywheels build` on a project, its wheels going to `dist` beside it."""
    output = f"--output-dir={package.parent / 'dist'}"
    argv = [sys.executable, "-m", "manywheels", "build", str(package), output, *options]
    environment = {**os.environ, **no_index(), "MANYWHEELS_PASSWORD": PASSWORD}
    return subprocess.run(
        argv, env=environment, cwd=package.parent, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.slow
def test_a_build_publishes_only_if_the_command_line_says_so(tmp_path: Path) -> None:
    package = Path(shutil.copytree(PROJECTS / "py3_none", tmp_path / "project"))
    with (package / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tool.manywheels]\npublish = "pypi"\n')
    with pypiserver(tmp_path / "server") as server:
        options = ("--build=cp311", f"--repository-url={server.url}", "--user", USER)
        made = build(package, *options)
        assert (made.returncode, list(server.folder.iterdir())) == (0, []), made.stdout + made.stderr
        made = build(package, *options, "--publish=pypi")
        assert made.returncode == 0, made.stdout + made.stderr
        assert _digests(server.folder) == _digests(tmp_path / "dist")
    refused = build(package, "--publish=artifact")
    assert refused.returncode == 2
    assert "--publish: `artifact` is not a value of `publish`" in refused.stderr


def test_pypiserver_refuses_a_wrong_password(folder: Path, tmp_path: Path) -> None:
    with pypiserver(tmp_path / "server") as server:
        run = publish(folder, server.url, "--user", USER, environment={"MANYWHEELS_PASSWORD": "wrong-password"})
        assert run.status == 4
        assert "refuses the credentials" in run.err
        assert "wrong-password" not in run.said
        # It refuses to list its files, too: of those that were not begun nothing is known.
        assert run.states["demo-1.0.tar.gz"] == "not sent"
        assert set(run.states.values()) <= {"not sent", "unknown"}
        assert list(server.folder.iterdir()) == []


def _fields(index: LocalIndex) -> dict[str, dict[str, Any]]:
    """Return the fields sent with each file; clients differ in blanks between keywords, and in the digests."""
    kept = {}
    for name, file in index.files().items():
        fields: dict[str, Any] = {key: value for key, value in file.fields.items() if not key.endswith("_digest")}
        fields["sha256_digest"] = file.fields["sha256_digest"]
        fields["keywords"] = [word.strip() for value in file.fields["keywords"] for word in value.split(",")]
        kept[name] = fields
    return kept


def test_the_form_is_the_same_as_that_of_other_clients(folder: Path) -> None:
    sent = {}
    for name, client in CLIENTS.items():
        with LocalIndex() as index:
            client(folder, index.upload_url, "__token__", index.api_token())
            sent[name] = _fields(index)
    assert len(sent["ours"]) == 3
    assert as_json(sent["ours"]) == as_json(sent["twine"])
    assert as_json(sent["ours"]) == as_json(sent["uv"])


@pytest.mark.parametrize("name", ["with blanks", "ünïcödé-日本", "-leading", "quo'te\"s", "$(touch x)"])
def test_folders_of_any_name(name: str, tmp_path: Path) -> None:
    """Row 30 of what goes wrong: such paths work, or are refused by name."""
    run_it = publish if name.isascii() else publish_apart  # how a process decodes its arguments
    folder = tmp_path / name
    write_set(folder, "cp312")
    with LocalIndex() as index:
        token = {"MANYWHEELS_PASSWORD": index.api_token()}
        run = run_it(Path(name), index.upload_url, environment=token, cwd=tmp_path)
        assert run.status == 0, run.said
        assert len(index.files()) == 1
    assert {entry["state"] for entry in read_ledger(folder)["files"]} == {"uploaded"}
    assert not (tmp_path / "x").exists()


def test_a_folder_with_a_newline_in_its_name_is_refused(tmp_path: Path) -> None:
    run = publish(tmp_path / "a\n::error::b", "http://127.0.0.1:9/legacy/")
    assert run.status == 2
    assert "not a value of `packages-dir`" in run.err
    assert "\n::error" not in run.said


@pytest.mark.slow
def test_wheels_without_a_manifest_are_verified_with_a_warning(tmp_path: Path) -> None:
    """Wheels made by other tools: nothing is known of them but what is in the files."""
    write_wheel(tmp_path, tags="py3-none-any", metadata=RICH_METADATA)
    (bad := tmp_path / "bad").mkdir()
    write_wheel(bad, tags=f"cp312-cp312-{PLATFORM}", metadata=RICH_METADATA)
    with LocalIndex() as index:
        token = {"TWINE_PASSWORD": index.api_token()}
        run = publish(tmp_path, index.upload_url, environment=token)
        assert (run.status, set(run.states.values())) == (0, {"uploaded"})
        assert "has no manifest" in run.out
        refused = publish(bad, index.upload_url, environment=token)
        assert refused.status == 4
        assert "MW250 has no ELF file" in refused.err
        assert len(index.files()) == 1
