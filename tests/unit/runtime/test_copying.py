"""Trees as project code can make them: copied, given, measured and removed within bounds, whatever is in them."""

from __future__ import annotations

import array
import errno
import fcntl
import io
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import pytest

from manywheels.build import disk_space
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.errors import Cancelled, ProjectError
from manywheels.plan.project import digest_source, read_project
from manywheels.runtime import copying
from manywheels.runtime.copying import chown_tree, clone_file, copy_tree, remove_tree
from manywheels.runtime.workspace import take_snapshot, work_folder
from unit.helpers import nest, write_project

TERABYTE = 1 << 40
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can")


def owners(folder: Path) -> set[int]:
    """Return who owns the folders of a nested tree and its file."""
    found = set()
    at = os.open(folder, os.O_RDONLY)
    while True:
        found.add(os.fstat(at).st_uid)
        inside = os.listdir(at)  # noqa: PTH208 - a descriptor
        if not inside or inside == ["file"]:
            break
        below = os.open(inside[0], os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    found.add(os.stat("file", dir_fd=at).st_uid)
    os.close(at)
    return found


def told(work: Callable[[], object]) -> str:
    """Return what is written to stderr meanwhile."""
    stream = io.StringIO()
    with redirect_stderr(stream):
        work()
    return stream.getvalue()


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Leave this process some twenty descriptors more than it has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path's own makes paths
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def thrown() -> Cancellation:
    """Return a switch that is thrown."""
    cancellation = Cancellation()
    cancellation.request()
    return cancellation


# --- removing ---------------------------------------------------------------------------------------------------------


DEEP = 1_200  # too deep for a function that calls itself


def test_a_tree_of_any_depth_is_removed(deep_folder: Path) -> None:
    """So many folders are too many for Python's stack, for the kernel's paths and for the descriptors."""
    tree = nest(deep_folder / "a", 8_000)
    with few_descriptors():
        assert told(lambda: remove_tree(tree)) == ""
    assert not tree.exists()


def as_nobody(work: Callable[[], None]) -> None:
    """Do something as another user, in a process of its own."""
    if (child := os.fork()) == 0:
        status = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0


@as_root
def test_a_user_removes_what_its_builds_closed_to_it() -> None:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o777)

        def make_and_remove() -> None:
            nest(top / "a", 40)
            for mode in (0o000, 0o100, 0o200, 0o400, 0o500):
                (top / "a" / str(mode) / "inside").mkdir(parents=True)
                (top / "a" / str(mode) / "inside" / "file").touch()
                (top / "a" / str(mode) / "inside").chmod(mode)
                (top / "a" / str(mode)).chmod(mode)
            (top / "a").chmod(0)
            remove_tree(top / "a")

        as_nobody(make_and_remove)
        assert list(top.iterdir()) == []


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Make a file one that nobody can change or remove (chattr +i), root included."""
    flags = array.array("i", [0, 0])
    with path.open("rb") as file:
        try:
            fcntl.ioctl(file, 0x80086601, flags)
            before = flags[0]
            flags[0] |= 0x10
            fcntl.ioctl(file, 0x40086602, flags)
        except OSError:
            pytest.skip("the file system knows no such files, or this user may not make any")
        try:
            yield
        finally:
            flags[0] = before
            fcntl.ioctl(file, 0x40086602, flags)


def test_what_cannot_be_removed_is_a_note(tmp_path: Path) -> None:
    stays = tmp_path / "a" / "b" / "c\n::error::x"
    stays.parent.mkdir(parents=True)
    stays.touch()
    (tmp_path / "a" / "other").touch()
    with immutable(stays):
        note = told(lambda: remove_tree(tmp_path / "a"))
    assert note == f"note: `{tmp_path}/a/b/c ::error::x` (Operation not permitted) cannot be removed.\n"
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", stays.name]


@as_root
def test_what_is_mounted_in_a_tree_stays(tmp_path: Path) -> None:
    """As `before-all` can mount something: the same disk's folder, and another file system."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    for name in ("bound place", "other"):
        (tmp_path / "a" / name).mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    script = f"""
import subprocess, sys
from pathlib import Path
from manywheels.runtime.copying import remove_tree
subprocess.run(["mount", "--bind", {str(elsewhere)!r}, {str(tmp_path / "a/bound place")!r}], check=True)
subprocess.run(["mount", "-t", "tmpfs", "none", {str(tmp_path / "a/other")!r}], check=True)
Path({str(tmp_path / "a/other/inside")!r}).touch()
remove_tree(Path({str(tmp_path / "a")!r}))
print(Path({str(tmp_path / "a/other/inside")!r}).exists())
"""
    done = subprocess.run(["unshare", "-m", sys.executable, "-c", script], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr[-200:]}")
    assert (elsewhere / "precious").exists()
    assert done.stdout == "True\n"
    assert "Something is mounted there" in done.stderr
    assert not (tmp_path / "a" / "file").exists()


def test_a_cancelled_run_leaves_the_rest_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it has no time at all; it would have seconds."""
    monkeypatch.setattr(copying, "_REMOVAL_GRACE", 0.0)
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path))
    cancellation = Cancellation()

    def run() -> None:
        with work_folder(cancellation=cancellation) as work:
            for number in range(1_000):
                (work / f"{number}").touch()
            (work / ".lock").unlink()  # as if the removal had come so far
            cancellation.request()

    assert "the next run removes it" in told(run)
    (left,) = (tmp_path / "work").glob("run-*")
    with work_folder():
        assert not left.exists()


def test_what_another_removes_at_the_same_time_is_no_trouble(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / "a" / str(number)).mkdir(parents=True)
    other = subprocess.Popen(["rm", "-rf", tmp_path / "a"])
    assert told(lambda: remove_tree(tmp_path / "a")) == ""
    other.wait()  # it may have stumbled over what was gone
    assert told(lambda: remove_tree(tmp_path / "a")) == ""
    assert not (tmp_path / "a").exists()


# --- giving and measuring ---------------------------------------------------------------------------------------------


@as_root
def test_a_tree_of_any_depth_is_given(deep_folder: Path) -> None:
    tree = nest(deep_folder / "a", DEEP)
    with few_descriptors():
        chown_tree(tree, 1234)
    assert owners(tree) == {1234}
    remove_tree(tree)


@as_root
def test_giving_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").touch()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "folder").symlink_to(tmp_path / "outside")
    (tmp_path / "a" / "file").symlink_to(tmp_path / "outside" / "file")
    chown_tree(tmp_path / "a", 1234)
    assert {path.lstat().st_uid for path in (tmp_path / "a").iterdir()} == {1234}
    assert {path.lstat().st_uid for path in (tmp_path / "outside", tmp_path / "outside" / "file")} == {0}


def test_a_tree_of_any_depth_is_measured(deep_folder: Path) -> None:
    tree = nest(deep_folder / "a", DEEP)
    (tree / "file").write_bytes(bytes(1_000))
    with few_descriptors():
        assert disk_space._size_of(tree, Cancellation()) == 1_000
    remove_tree(tree)


def test_measuring_and_giving_stop_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").touch()
    with pytest.raises(Cancelled):
        disk_space._size_of(tmp_path / "a", thrown())
    with pytest.raises(Cancelled):
        chown_tree(tmp_path / "a", os.getuid(), thrown())


# --- copying ----------------------------------------------------------------------------------------------------------


def everything(_path: Path) -> bool:
    return False


def test_a_deep_project_is_copied(deep_folder: Path) -> None:
    package = write_project(deep_folder / "demo")
    nest(package / "a", DEEP)
    snapshot = take_snapshot(read_project(package), deep_folder / "work", Cancellation())
    assert Path(snapshot.root, "a", *["d"] * DEEP, "file").is_file()
    assert snapshot.digest == digest_source(package, Cancellation())


def test_a_project_deeper_than_the_kernels_paths_is_refused_in_words(deep_folder: Path) -> None:
    package = write_project(deep_folder / "demo")
    nest(package / "a", 2_100)
    with pytest.raises(ProjectError, match="cannot be copied: File name too long"):
        take_snapshot(read_project(package), deep_folder / "work", Cancellation())


def test_modes_and_times_of_folders_are_copied(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    inner.parent.chmod(0o750)
    os.utime(inner.parent, (1e9, 1e9))
    copy_tree(tmp_path / "a", tmp_path / "x", everything, Cancellation())
    status = (tmp_path / "x" / "b").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o750, 1e9)


def sparse(path: Path) -> Path:
    """Make a file of a terabyte that has two places with content, and occupies no more than these."""
    with path.open("wb") as file:
        file.write(b"first")
        file.seek(TERABYTE // 2)
        file.write(b"middle")
        file.truncate(TERABYTE)
    return path


@pytest.mark.timeout(300)
def test_holes_stay_holes(tmp_path: Path) -> None:
    clone_file(sparse(tmp_path / "a"), tmp_path / "b")
    status = (tmp_path / "b").stat()
    assert status.st_size == TERABYTE
    assert status.st_blocks * 512 < 1 << 20
    with (tmp_path / "b").open("rb") as file:
        assert file.read(5) == b"first"
        file.seek(TERABYTE // 2)
        assert file.read(6) == b"middle"
    for name in ("a", "b"):
        (tmp_path / name).unlink()  # pytest keeps its folders


@pytest.mark.parametrize("size", [0, 1, copying._BLOCK, 2 * copying._BLOCK + 1])
def test_what_is_copied_is_the_same(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    clone_file(tmp_path / "a", tmp_path / "b", Cancellation())
    assert (tmp_path / "b").read_bytes() == content


def test_a_file_system_that_knows_no_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def seek(_file: int, _position: int, _whence: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    (tmp_path / "a").write_bytes(b"content")
    monkeypatch.setattr(os, "lseek", seek)
    assert list(copying._extents(0, 7)) == [(0, 7)]


@pytest.mark.timeout(300)
def test_one_large_file_is_copied_and_read_no_further_than_the_switch(tmp_path: Path) -> None:
    file = sparse(tmp_path / "a")
    with pytest.raises(Cancelled):
        clone_file(file, tmp_path / "b", thrown())
    with pytest.raises(Cancelled):
        digest_file(file, thrown())
    file.unlink()  # pytest keeps its folders
