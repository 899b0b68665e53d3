"""A copy has what a build in place finds beside its package, but nothing that is large, secret or no source."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from manywheels.errors import Cancelled
from manywheels.plan.project import read_project
from manywheels.runtime import left_out
from manywheels.runtime.containers.program import mounts_and_arguments
from manywheels.runtime.workspace import take_snapshot
from unit.helpers import write_project
from unit.runtime.test_workspace import After, _quiet_git, names, put, repository, snapshot_of  # noqa: F401 - a fixture

TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# by a tool\n"


@pytest.fixture(params=["with git", "without git"])
def top(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a package in a folder of it, in which the program is started."""
    top = tmp_path / "repo"
    write_project(top / "bindings" / "python")
    if request.param == "with git":
        repository(top)
        put(top / ".gitignore", "*\n")
    top.chmod(0o755)
    monkeypatch.chdir(top)
    return top


def copied(top: Path) -> set[str]:
    root = snapshot_of(top / "bindings/python", top.parent / "work").root
    return {name for name in names(root) if (root / name).is_file()} - {".gitignore", "bindings/python/pyproject.toml"}


@pytest.mark.parametrize(
    "name",
    ["third_party/include/fetched.h", "bindings/lib.h", "bindings/python/ignored.c", "build/libcore.a",
     "target/release/libcore.a", "target/CACHEDIR.TAG", "target/cxxbridge/a.h", "deps/a.c", "a.env", "CACHEDIR.TAG",
     "bindings/python/.env", "bindings/python/node_modules/a.js"],
)  # fmt: skip
def test_what_a_build_in_place_finds_is_copied(top: Path, name: str) -> None:
    put(top / "target/.rustc_info.json")
    put(top / "target/release/.cargo-lock")
    put(top / name, TAG)
    assert copied(top) - {"target/.rustc_info.json", "target/release/.cargo-lock"} == {name}


@pytest.mark.parametrize(
    "name",
    ["keys/id_ed25519", "deploy/server.key", ".npmrc", ".aws/config", "node_modules/a/index.js",
     "web/node_modules/a", ".env", "services/api/.env.local", "deploy/.netrc", ".envrc",
     ".venv/pyvenv.cfg", "conda/conda-meta/history", ".cache/uv/CACHEDIR.TAG", "core/__pycache__/a.pyc", ".tox/a",
     "target/release/deps/libcore-1234.rlib", "target/release/incremental/a", "target/release/build/a/out/b"],
)  # fmt: skip
def test_what_is_no_source_or_secret_stays_behind(top: Path, name: str) -> None:
    put(top / "target/release/.cargo-lock")
    put(top / name, TAG)
    assert copied(top) == {"target/release/.cargo-lock"}


def test_large_ignored_folders_stay_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The small ones are copied first, and what git does not ignore in any case."""
    monkeypatch.setattr(left_out, "LARGEST", 10_000)
    monkeypatch.setattr(left_out, "MOST", 10)
    top = tmp_path / "repo"
    write_project(top / "python")
    put(top / "large.c", "x" * 20_000)
    put(top / ".gitignore", "*.o\n/data/\n/many/\n/small/\npython/own/\n")
    repository(top)
    put(top / "untracked.c", "x" * 20_000)
    put(top / "data" / "a", "x" * 9_995)
    put(top / "small" / "a.h", "int a;")
    put(top / "python" / "own" / "a", "x" * 20_000)
    for number in range(11):
        put(top / "many" / f"{number}", "x")
    snapshot = snapshot_of(top / "python", tmp_path / "work")
    found = {name for name in names(snapshot.root) if (snapshot.root / name).is_file()}
    assert found == {
        ".gitignore", "large.c", "untracked.c", "small/a.h", "python/pyproject.toml", "python/own/a"
    }  # fmt: skip
    note = capsys.readouterr().err
    assert "no copy of `many`, `data`, which git ignores" in note
    assert set(snapshot.left_out) == {top / "data", top / "many"}


@pytest.mark.parametrize("reason", ["LARGEST", "MOST"])
def test_without_git_a_large_working_folder_is_not_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    monkeypatch.setattr(left_out, reason, 1)
    package = write_project(tmp_path / "demo")
    put(package / "a.c", "int a;")
    put(tmp_path / "other" / "a", "xx")
    put(tmp_path / "other" / "b", "xx")
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    snapshot = snapshot_of(package, tmp_path / "work")
    assert names(snapshot.root) == {"pyproject.toml", "a.c"}
    assert f"a copy of `{package}` only" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["home", "above home", "open to others", "elsewhere"])
def test_without_git_nobodys_home_and_no_shared_folder_is_a_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = tmp_path / "folder"
    package = write_project(folder / "demo")
    put(folder / "beside.c")
    folder.chmod(0o1777 if kind == "open to others" else 0o755)
    homes = {"home": folder, "above home": folder / "me"}
    monkeypatch.setenv("HOME", str(homes.get(kind, tmp_path / "me")))
    monkeypatch.chdir(tmp_path / "folder" if kind != "elsewhere" else package)
    assert names(snapshot_of(package, tmp_path / "work").root) == {"pyproject.toml"}


def test_a_container_gets_the_same_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_project(tmp_path / "repo" / "python")
    (tmp_path / "repo").chmod(0o755)
    monkeypatch.chdir(tmp_path / "repo")
    mounts, arguments = mounts_and_arguments(package, tmp_path / "dist")
    assert (mounts[0]["Source"], mounts[0]["ReadOnly"]) == (str(tmp_path / "repo"), True)
    assert arguments[0] == str(package)


def test_commands_run_where_the_run_was_started_with_git_and_without(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(top)
    snapshot = snapshot_of(top / "bindings/python", top.parent / "work")
    assert (snapshot.project, snapshot.package) == (Path(), Path("bindings/python"))


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_cannot_be_read_beside_the_package_is_a_note(
    top: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """As a database's folder, which belongs to its container's user."""
    closed = put(top / "pgdata" / "base").parent if kind == "folder" else put(top / "pgdata")
    put(top / "a.h")

    def refuse(function: Any) -> Any:
        def refusing(path: Any, *arguments: Any, **options: Any) -> Any:
            if str(path) == str(closed):  # root, as whom these tests may run, could read it
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return function(path, *arguments, **options)

        return refusing

    monkeypatch.setattr(os, "scandir", refuse(os.scandir))
    monkeypatch.setattr(Path, "open", refuse(Path.open))
    assert copied(top) == {"a.h"}
    assert f"no copy of `{closed}`, which this user cannot read" in capsys.readouterr().err


def test_measuring_stops_at_once(top: Path) -> None:
    for number in range(20):
        put(top / "third_party" / f"{number}.h")
    with pytest.raises(Cancelled):
        take_snapshot(read_project(top / "bindings/python"), top.parent / "work", After(10))
    assert not list((top.parent / "work").rglob("*.h"))


def test_links_beside_the_package_lead_nowhere(top: Path) -> None:
    put(top.parent / "secret" / "a", "SECRET")
    (top / "link").symlink_to(top.parent / "secret")
    (top / ".cache").mkdir()
    (top / ".cache" / "CACHEDIR.TAG").symlink_to(put(top.parent / "tag", TAG))
    root = snapshot_of(top / "bindings/python", top.parent / "work").root
    assert (root / "link").is_symlink()
    assert (root / ".cache" / "CACHEDIR.TAG").is_symlink()  # what it says is not read
