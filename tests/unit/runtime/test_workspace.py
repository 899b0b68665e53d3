"""Private copies: what comes along, what stays behind, and that nothing is shared with the original."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
import stat
import subprocess
import threading
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, ProjectError
from manywheels.plan.project import read_project
from manywheels.runtime import copying, workspace
from manywheels.runtime.containers import program
from manywheels.runtime.copying import clone_file, copy_tree, remove_tree
from manywheels.runtime.git import share_objects
from manywheels.runtime.workspace import Snapshot, copy_source, public_work_parent, take_snapshot, work_folder
from unit.helpers import write_project


@pytest.fixture(autouse=True)
def _quiet_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody's settings, and one date: the same commits in each run, so that the names of objects are no chance."""
    date = "2026-01-01T00:00:00Z"
    for name, value in {
        "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CEILING_DIRECTORIES": str(tmp_path.parent),
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.invalid",
        "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.invalid",
        "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", folder, *arguments], check=True, capture_output=True, text=True).stdout


def repository(folder: Path) -> Path:
    """Make the folder a repository with all its files in one commit, tagged v1.0."""
    git(folder, "-c", "init.defaultBranch=main", "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    git(folder, "tag", "v1.0")
    return folder


def snapshot_of(package: Path, folder: Path, *, leave_out: tuple[Path, ...] = ()) -> Snapshot:
    return take_snapshot(read_project(package), folder, Cancellation(), leave_out=leave_out)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts}


def put(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_a_plain_project(tmp_path: Path) -> None:
    package = write_project(tmp_path / "demo")
    put(package / "src" / "demo.c", "int x;")
    snapshot = snapshot_of(package, tmp_path / "work")
    assert names(snapshot.root) == {"pyproject.toml", "src", "src/demo.c"}
    assert snapshot.package == Path()
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert (copy / "src/demo.c").read_text() == "int x;"


def test_writing_into_a_copy_changes_neither_the_original_nor_another_copy(tmp_path: Path) -> None:
    package = write_project(tmp_path / "demo")
    original = put(package / "demo.c", "int x;")
    snapshot = snapshot_of(package, tmp_path / "work")
    first, second = (
        copy_source(snapshot, tmp_path / "1", Cancellation()),
        copy_source(snapshot, tmp_path / "2", Cancellation()),
    )
    with (first / "demo.c").open("r+") as file:  # in place, as a hard link would feel it
        file.write("INT")
    assert [path.read_text() for path in (original, snapshot.root / "demo.c", second / "demo.c")] == ["int x;"] * 3
    assert {path.stat().st_nlink for path in (original, snapshot.root / "demo.c", second / "demo.c")} == {1}


@pytest.mark.parametrize(
    "junk",
    ["__pycache__/a.pyc", "pkg/__pycache__/a.pyc", ".tox/x", ".nox/x", ".mypy_cache/x", ".ruff_cache/x",
     ".pytest_cache/x", ".venv/pyvenv.cfg", "env with another name/pyvenv.cfg", "dist/demo-1.0.tar.gz"],
)  # fmt: skip
def test_junk_and_the_output_folder_stay_behind(tmp_path: Path, junk: str) -> None:
    package = write_project(tmp_path / "demo")
    put(package / "pkg" / "__init__.py")
    put(package / junk)
    snapshot = snapshot_of(package, tmp_path / "work", leave_out=(package / "dist",))
    assert names(snapshot.root) == {"pyproject.toml", "pkg", "pkg/__init__.py"}


def test_a_folder_called_dist_comes_along_where_it_is_not_the_output(tmp_path: Path) -> None:
    package = write_project(tmp_path / "demo")
    put(package / "dist" / "needed.c")
    snapshot = snapshot_of(package, tmp_path / "work", leave_out=(tmp_path / "elsewhere",))
    assert "dist/needed.c" in names(snapshot.root)


def test_symbolic_links_stay_what_they_are(tmp_path: Path) -> None:
    package = write_project(tmp_path / "demo")
    put(package / "a.c", "int x;")
    (package / "link.c").symlink_to("a.c")
    (package / "dangling").symlink_to("absent")
    (package / "loop").symlink_to(".", target_is_directory=True)
    copy = copy_source(snapshot_of(package, tmp_path / "work"), tmp_path / "target", Cancellation())
    links = {path.name: str(path.readlink()) for path in copy.iterdir() if path.is_symlink()}
    assert links == {"link.c": "a.c", "dangling": "absent", "loop": "."}


def test_fifos_and_sockets_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_project(tmp_path / "demo")
    os.mkfifo(package / "fifo")
    monkeypatch.chdir(package)  # a socket's name may be too long otherwise
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert names(snapshot_of(package, tmp_path / "work").root) == {"pyproject.toml"}


def test_modes_and_times_are_kept_and_read_only_folders_can_be_written(tmp_path: Path) -> None:
    package = write_project(tmp_path / "demo")
    script = put(package / "sub" / "run.sh")
    script.chmod(0o555)
    os.utime(script, (1_000_000_000, 1_000_000_000))
    (package / "sub").chmod(0o555)
    try:
        copy = copy_source(snapshot_of(package, tmp_path / "work"), tmp_path / "target", Cancellation())
        copied = (copy / "sub" / "run.sh").stat()
        assert stat.S_IMODE(copied.st_mode) == 0o555
        assert copied.st_mtime == 1_000_000_000
        assert stat.S_IMODE((copy / "sub").stat().st_mode) == 0o755
    finally:
        (package / "sub").chmod(0o755)


def test_a_clone_has_its_own_content(tmp_path: Path) -> None:
    source = put(tmp_path / "a", "x" * 100_000)
    clone_file(source, tmp_path / "b")
    source.write_text("changed")
    assert (tmp_path / "b").read_text() == "x" * 100_000
    assert (tmp_path / "b").stat().st_ino != source.stat().st_ino


def test_an_sdist_is_extracted(tmp_path: Path) -> None:
    import tarfile

    package = write_project(tmp_path / "demo-1.0")
    with tarfile.open(tmp_path / "demo-1.0.tar.gz", "w:gz") as archive:
        archive.add(package, "demo-1.0")
    snapshot = snapshot_of(tmp_path / "demo-1.0.tar.gz", tmp_path / "work")
    assert names(copy_source(snapshot, tmp_path / "target", Cancellation())) == {"pyproject.toml"}
    assert snapshot.digest.startswith("sha256:")


def test_the_digest_says_what_was_built(tmp_path: Path) -> None:
    package = write_project(tmp_path / "demo")
    first = snapshot_of(package, tmp_path / "1").digest
    put(package / "__pycache__" / "x.pyc")
    assert snapshot_of(package, tmp_path / "2").digest == first
    put(package / "new.c")
    assert snapshot_of(package, tmp_path / "3").digest != first


@pytest.mark.parametrize("name", ["lib.linux-x86_64-cpython-312", "temp.linux-x86_64-3.12", "bdist.linux-x86_64"])
def test_what_setuptools_compiled_before_stays_behind(tmp_path: Path, name: str) -> None:
    """It would take a file that is newer than its sources for its own, and pack what the host's compiler made."""
    package = write_project(tmp_path / "demo")
    put(package / "build" / name / "demo.cpython-312-x86_64-linux-gnu.so")
    put(package / "build" / "version.h")
    put(package / "src" / "build" / name / "data.c")
    snapshot = snapshot_of(package, tmp_path / "work")
    found = {path for path in names(snapshot.root) if (snapshot.root / path).is_file()}
    assert found == {"pyproject.toml", "build/version.h", f"src/build/{name}/data.c"}


def test_what_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_project(tmp_path / "demo")
    closed = put(package / "closed" / "x").parent

    def scandir(path: Path) -> Any:
        if path == closed:  # root, as whom these tests may run, could read it
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    scan = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ProjectError, match=re.escape(f"`{closed}` cannot be copied: Permission denied.")) as caught:
        snapshot_of(package, tmp_path / "work")
    assert "readable" in caught.value.remedy


def test_a_file_that_vanishes_meanwhile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_project(tmp_path / "demo")
    file = put(package / "a.c")

    def vanishing(source: Path, target: Path, cancellation: Cancellation) -> None:
        file.unlink(missing_ok=True)
        clone_file(source, target, cancellation)

    monkeypatch.setattr(copying, "clone_file", vanishing)
    with pytest.raises(ProjectError, match=re.escape(f"`{file}` cannot be copied: No such file")):
        snapshot_of(package, tmp_path / "work")


def test_a_full_disk_is_not_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_project(tmp_path / "demo")

    def full(_source: Path, target: Path, _cancellation: Cancellation) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(copying, "clone_file", full)
    with pytest.raises(OSError, match="No space left"):
        snapshot_of(package, package / ".cache" / "work")


class After(Cancellation):
    """A switch that is thrown when it has been looked at a number of times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    @property
    def requested(self) -> bool:
        """Whether it was looked at often enough."""
        self._looks -= 1
        return self._looks < 0


@pytest.mark.parametrize("looks", [0, 50, 150])
def test_copying_stops_at_once(tmp_path: Path, looks: int) -> None:
    package = write_project(tmp_path / "demo")
    for number in range(99):
        put(package / f"{number}.c")
    with pytest.raises(Cancelled):
        take_snapshot(read_project(package), tmp_path / "work", After(looks))
    copied = len(list((tmp_path / "work").iterdir()))
    assert copied == min(looks, 100)  # the last 50 of 150 are looks while it is read
    snapshot = snapshot_of(package, tmp_path / "whole")
    if looks < 100:
        with pytest.raises(Cancelled):
            copy_source(snapshot, tmp_path / "target", After(looks))
        assert len(list((tmp_path / "target").iterdir())) == looks


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_extracting_stops_at_once(tmp_path: Path, ending: str) -> None:
    package = write_project(tmp_path / "demo-1.0")
    for number in range(99):
        put(package / f"{number}.c")
    kind = {"tar.gz": "gztar", "zip": "zip"}[ending]
    sdist = shutil.make_archive(str(tmp_path / "demo-1.0"), kind, tmp_path, "demo-1.0")
    with pytest.raises(Cancelled):
        take_snapshot(read_project(Path(sdist)), tmp_path / "work", After(50))
    assert len(list((tmp_path / "work" / "demo-1.0").iterdir())) < 51


# --- git ------------------------------------------------------------------------------------------------------------


def test_a_checkout_stays_one_and_shares_the_snapshots_objects(tmp_path: Path) -> None:
    package = repository(write_project(tmp_path / "demo"))
    snapshot = snapshot_of(package, tmp_path / "work")
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert git(copy, "describe", "--tags").strip() == "v1.0"
    assert git(copy, "status", "--porcelain") == ""
    alternates = (copy / ".git/objects/info/alternates").read_text().splitlines()
    assert alternates == [str(snapshot.root / ".git/objects")]
    assert not [path for path in (copy / ".git/objects").rglob("*") if path.is_file() and path.name != "alternates"]


def test_a_commit_in_a_copy_does_not_reach_the_original(tmp_path: Path) -> None:
    package = repository(write_project(tmp_path / "demo"))
    snapshot = snapshot_of(package, tmp_path / "work")
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    put(copy / "generated.c")
    git(copy, "add", "-A")
    git(copy, "commit", "-qm", "by a build")
    assert git(package, "log", "--oneline").count("\n") == 1
    assert git(snapshot.root, "log", "--oneline").count("\n") == 1


def test_a_repository_with_alternates_of_its_own(tmp_path: Path) -> None:
    origin = repository(write_project(tmp_path / "origin"))
    git(tmp_path, "clone", "-q", "--shared", str(origin), "demo")
    copy = copy_source(snapshot_of(tmp_path / "demo", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy, "describe", "--tags").strip() == "v1.0"
    assert git(copy, "log", "--format=%s").strip() == "first"


def test_a_project_below_the_repositorys_top(tmp_path: Path) -> None:
    top = tmp_path / "repo"
    write_project(top / "python")
    put(top / "core" / "core.c", "int x;")
    put(top / ".gitignore", "ignored*\n")
    repository(top)
    put(top / "untracked.h")
    put(top / "ignored.o")
    put(top / "python" / "ignored.c")
    (top / "link").symlink_to("absent")
    put(top / "gone.c")
    git(top, "add", "gone.c")
    (top / "gone.c").unlink()
    snapshot = snapshot_of(top / "python", tmp_path / "work")
    assert snapshot.package == Path("python")
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert copy == tmp_path / "target" / "python"
    assert (copy / "../core/core.c").read_text() == "int x;"
    found = {path for path in names(tmp_path / "target") if (tmp_path / "target" / path).is_file()}
    assert found == {
        ".gitignore", "core/core.c", "untracked.h", "ignored.o", "python/pyproject.toml", "python/ignored.c",
    }  # fmt: skip
    assert (tmp_path / "target" / "link").is_symlink()
    assert git(copy, "describe", "--tags").strip() == "v1.0"


@pytest.mark.parametrize(
    "junk", ["dist/demo-1.0.tar.gz", "core/__pycache__/x.pyc", ".venv/pyvenv.cfg", ".venv/lib/x.py", ".tox/log"]
)
def test_junk_beside_a_project_below_the_top_stays_behind(tmp_path: Path, junk: str) -> None:
    top = tmp_path / "repo"
    write_project(top / "python")
    put(top / "core" / "core.c")
    repository(top)
    put(top / ".venv" / "pyvenv.cfg")
    put(top / junk)
    snapshot = snapshot_of(top / "python", tmp_path / "work", leave_out=(top / "dist",))
    found = {path for path in names(snapshot.root) if (snapshot.root / path).is_file()}
    assert found == {"core/core.c", "python/pyproject.toml"}


def test_a_submodule_beside_the_project_comes_along(tmp_path: Path) -> None:
    top = tmp_path / "repo"
    write_project(top / "python")
    put(top / "vendor" / "lib.c", "int y;")
    repository(top / "vendor")
    git(top, "-c", "init.defaultBranch=main", "init", "-q")
    git(top, "-c", "advice.addEmbeddedRepo=false", "add", "-A")  # as a gitlink, which is what a submodule is
    git(top, "commit", "-qm", "first")
    copy = copy_source(snapshot_of(top / "python", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert (copy / "../vendor/lib.c").read_text() == "int y;"


DESCRIBE = ("describe", "--dirty", "--tags", "--long", "--match", "*[0-9]*")  # as setuptools-scm asks


def test_a_linked_worktree_becomes_a_checkout_of_its_own(tmp_path: Path) -> None:
    main = repository(write_project(tmp_path / "demo"))
    git(main, "worktree", "add", "-q", "-b", "feature", str(tmp_path / "tree"))
    put(tmp_path / "tree" / "feature.c")
    git(tmp_path / "tree", "add", "-A")
    git(tmp_path / "tree", "commit", "-qm", "second")
    snapshot = snapshot_of(tmp_path / "tree", tmp_path / "work")
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert git(copy, *DESCRIBE).startswith("v1.0-1-g")
    assert git(copy, "status", "--porcelain", "--branch") == "## feature\n"
    assert git(copy, "rev-parse", "--show-toplevel").strip() == str(copy)
    git(copy, "commit", "-q", "--allow-empty", "-m", "by a build")
    assert git(tmp_path / "tree", "log", "--oneline").count("\n") == 2
    assert not (snapshot.root / ".git" / "worktrees").exists()


def test_a_worktree_of_a_bare_repository(tmp_path: Path) -> None:
    repository(write_project(tmp_path / "demo"))
    git(tmp_path, "clone", "-q", "--bare", str(tmp_path / "demo"), "bare.git")
    git(tmp_path / "bare.git", "worktree", "add", "-q", str(tmp_path / "tree"), "main")
    copy = copy_source(snapshot_of(tmp_path / "tree", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert git(copy, *DESCRIBE).startswith("v1.0-0-g")
    assert "-dirty" not in git(copy, *DESCRIBE)


@pytest.mark.parametrize("package", ["", "python"])
def test_a_submodule_as_the_project(tmp_path: Path, package: str) -> None:
    origin = tmp_path / "origin"
    write_project(origin / package)
    put(origin / "core.c", "int x;")
    repository(origin)
    top = tmp_path / "top"
    top.mkdir()
    git(top, "-c", "init.defaultBranch=main", "init", "-q")
    git(top, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(origin), "vendor/demo")
    put(top / "vendor" / "demo" / "new.c")
    assert (top / "vendor/demo/.git").is_file()
    snapshot = snapshot_of(top / "vendor" / "demo" / package, tmp_path / "work")
    copy = copy_source(snapshot, tmp_path / "target", Cancellation())
    assert git(copy, *DESCRIBE).startswith("v1.0-0-g")
    assert git(copy, "status", "--porcelain") == "?? new.c\n"
    assert git(copy, "rev-parse", "--show-toplevel").strip() == str(tmp_path / "target")


def test_a_repository_that_is_not_there(tmp_path: Path) -> None:
    """As where only a submodule's folder is mounted into a container."""
    package = write_project(tmp_path / "demo")
    put(package / ".git", "gitdir: ../absent/.git/modules/demo\n")
    copy = copy_source(snapshot_of(package, tmp_path / "work"), tmp_path / "target", Cancellation())
    assert (copy / "pyproject.toml").exists()


def test_a_repository_of_somebody_else(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    top = tmp_path / "repo"
    write_project(top / "python")
    put(top / "core.c")
    repository(top)
    for path in (top, *top.rglob("*")):
        os.chown(path, 1234, 1234)
    copy = copy_source(snapshot_of(top / "python", tmp_path / "work"), tmp_path / "target", Cancellation())
    assert (copy / "../core.c").exists()
    assert git(copy, "describe", "--tags").strip() == "v1.0"


def test_a_copy_belongs_to_its_user_and_git_accepts_it_there(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    tmp_path.chmod(0o755)
    package = repository(write_project(tmp_path / "demo"))
    (package / "link").symlink_to("/etc/hostname")
    (package / ".git" / "objects").chmod(0o700)
    snapshot = snapshot_of(package, tmp_path / "work")
    share_objects(snapshot.root)
    copy = copy_source(snapshot, tmp_path / "target", Cancellation(), user=1234)
    assert {path.lstat().st_uid for path in (copy, *copy.rglob("*"))} == {1234}
    assert Path("/etc/hostname").stat().st_uid == 0
    assert (copy / ".git/objects/info/alternates").read_text() == f"{snapshot.root}/.git/objects\n"
    objects = [snapshot.root, snapshot.root / ".git", *(snapshot.root / ".git/objects").rglob("*")]
    assert all(path.stat().st_mode & (stat.S_IXOTH if path.is_dir() else stat.S_IROTH) for path in objects)


# --- the work folder --------------------------------------------------------------------------------------------------


def test_the_work_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path))
    with work_folder() as work:
        assert work.is_relative_to(tmp_path)
        put(work / "read-only" / "x")
        (work / "read-only").chmod(0o500)
    assert not work.exists()


def test_targets_are_spread_where_the_file_system_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flags(folder: Path) -> str:
        listed = subprocess.run(["lsattr", "-d", folder], capture_output=True, text=True, check=False)
        return listed.stdout.partition(" ")[0]

    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path))
    (tmp_path / "as-chattr-does-it").mkdir()
    subprocess.run(["chattr", "+T", tmp_path / "as-chattr-does-it"], capture_output=True, check=False)
    with work_folder() as work:
        assert flags(work) == flags(tmp_path / "as-chattr-does-it")


def test_what_killed_runs_left_is_removed_and_what_runs_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path))
    put(tmp_path / "work" / "run-killed" / ".lock")
    lock = put(tmp_path / "work" / "run-alive" / ".lock")
    with lock.open() as held:
        flock(held, LOCK_EX | LOCK_NB)
        with work_folder() as first, work_folder() as second:
            assert first.exists()
            assert second.exists()
            assert sorted(path.name for path in (tmp_path / "work").iterdir()) == sorted(
                ["run-alive", first.name, second.name]
            )


def test_a_work_folder_inside_the_project_is_not_copied_into_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitLab keeps only caches that lie in the project's folder."""
    package = write_project(tmp_path / "demo")
    monkeypatch.setenv("MANYWHEELS_CACHE", str(package / ".cache"))
    put(package / ".cache" / "uv" / "large")
    with work_folder() as work:
        snapshot = snapshot_of(package, work / "source")
        found = {path for path in names(snapshot.root) if (snapshot.root / path).is_file()}
        assert found == {"pyproject.toml"}


@pytest.mark.parametrize(("mode", "closed"), [(0o700, False), (0o755, True)], ids=["private", "closed"])
def test_a_public_work_folder_is_elsewhere_where_others_cannot_get_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: int,
    closed: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workspace, "_PUBLIC", tmp_path / "elsewhere")
    tmp_path.chmod(mode)
    assert public_work_parent([tmp_path] if closed else []) == tmp_path / "elsewhere"
    assert (tmp_path / "elsewhere").is_dir()


def test_removing_does_not_follow_links(tmp_path: Path) -> None:
    """A build may leave a link to what only root may change."""
    victim = put(tmp_path / "victim")
    victim.chmod(0o600)
    put(tmp_path / "a" / "x")
    (tmp_path / "a" / "link").symlink_to(victim)
    (tmp_path / "a").chmod(0o500)
    remove_tree(tmp_path / "a")
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


def test_removing_what_took_its_own_rights_away(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b" / "c")
    (tmp_path / "a" / "b").chmod(0)
    (tmp_path / "a").chmod(0o500)
    remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_copying_leaves_out_what_it_is_told_to(tmp_path: Path) -> None:
    put(tmp_path / "a" / "x")
    put(tmp_path / "a" / "y" / "z")
    copy_tree(tmp_path / "a", tmp_path / "b", lambda path: path == tmp_path / "a" / "y", Cancellation())
    assert names(tmp_path / "b") == {"x"}


def test_waiting_for_another_runs_tidying_hears_the_cancellation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path))
    cancellation = Cancellation()
    with (tmp_path / "work.lock").open("wb") as another_runs:
        flock(another_runs, LOCK_EX)
        threading.Timer(0.2, cancellation.request).start()
        with pytest.raises(Cancelled), work_folder(tmp_path / "work", cancellation):
            pass
    assert [path.name for path in tmp_path.iterdir() if path.name != "CACHEDIR.TAG"] == ["work.lock"]


@pytest.mark.parametrize(
    ("started_in", "expected"),
    [
        (".", "."),
        ("bindings", "bindings"),
        ("bindings/python", "bindings/python"),
        ("bindings/python/src", "."),
        ("other", "."),
        ("..", "."),
    ],
)
def test_commands_run_where_the_run_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_in: str, expected: str
) -> None:
    top = tmp_path / "top"
    package = write_project(top / "bindings/python")
    for folder in ("bindings/python/src", "other"):
        (top / folder).mkdir(exist_ok=True)
    repository(top)
    monkeypatch.chdir(top / started_in)
    snapshot = snapshot_of(package, tmp_path / "snapshot")
    assert (snapshot.project, snapshot.package) == (Path(expected), Path("bindings/python"))
    inside = top if started_in == ".." else top / started_in
    assert Path(program.working_folder(package)) == inside, "a container starts there too"


def test_without_git_they_run_there_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_project(tmp_path / "top/package")
    (tmp_path / "top").chmod(0o755)
    expected = {"top": Path("package"), "top/package": Path(), "other": Path()}
    for number, (place, inside) in enumerate(expected.items()):
        (tmp_path / place).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / place)
        snapshot = snapshot_of(package, tmp_path / f"snapshot-{number}")
        assert (snapshot.project, snapshot.package) == (Path(), inside)
