"""Where targets are built: a folder for the run, one snapshot of the source in it, and a copy of that for each target.

What a build does to its copy, no other target sees. Where targets are built by users of their own, each copy belongs to
the target's.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir, digest_file
from manywheels.errors import DiskError, ProjectError
from manywheels.plan.project import Project, digest_source, extract_sdist
from manywheels.runtime.copying import COPYING, copy_entry, copy_tree, give_tree, remove_tree
from manywheels.runtime.git import borrow_objects, copy_nested, copy_repository, files_beside, git_top, objects_of
from manywheels.runtime.untrusted_files import open_lock

_LOCK: Final = ".lock"
_MOMENT: Final = 0.05  # seconds between two looks at a lock
_ELSEWHERE: Final = Path("/var/lib/manywheels/work")
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, ioctl_iflags(2)
_SET_FLAGS: Final = 0x40086602
_TOP_OF_A_TREE: Final = 0x00020000  # FS_TOPDIR_FL
_JUNK: Final = frozenset({"__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_COMPILED: Final = re.compile(r"(lib|temp|bdist)\..+")
_CREDENTIALS: Final = (".netrc", "_netrc", ".git-credentials", ".pypirc", "gha-creds-*.json")  # put beside the project


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The source as it was when the run began: `root` is the whole tree, `package` the project's place in it."""

    root: Path
    package: Path
    digest: str


@contextmanager
def work_folder(parent: Path | None = None, cancellation: Cancellation | None = None) -> Iterator[Path]:
    """Make a folder for one run, beside uv's cache so that files can be hard-linked from it; remove it afterwards.

    `parent` is another place for it. Folders that killed runs left behind are known by their lock, which nobody holds,
    and are removed too. When `cancellation` is requested, what is left of a folder is for the next run to remove.
    Raises DiskError, and Cancelled.
    """
    parent = parent or _work_parent()
    parent.mkdir(parents=True, exist_ok=True)
    with open_lock(cache_dir() / "work.lock") as one_at_a_time:
        _wait_for(one_at_a_time, cancellation)
        for abandoned in parent.glob("run-*"):
            # Where a removal had no time to end, the lock may be gone already: it is made anew.
            with suppress(OSError), open_lock(abandoned / _LOCK) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(abandoned, cancellation)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        _spread(folder)
        held = open_lock(folder / _LOCK)
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        remove_tree(folder, cancellation)
        held.close()


def _wait_for(lock: BinaryIO, cancellation: Cancellation | None) -> None:
    """Hold a lock that another run may have while it removes what killed ones left behind. Raises Cancelled."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if cancellation:
                cancellation.stop_if_requested("The build")
            time.sleep(_MOMENT)
        else:
            return


def _work_parent() -> Path:
    """Return where work folders are made: in the cache, unless its path has a blank. Raises DiskError.

    MAKEFLAGS, CC, PIP_CONSTRAINT and many a configure script are split at blanks, and have no way to quote one.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    usual = cache_dir() / "work"
    if not _has_blank(usual):
        return usual
    own = Path(tempfile.gettempdir(), f"manywheels-{os.geteuid()}")
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    status = own.lstat()
    if _has_blank(own) or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise DiskError(
            f"There is no place to work in: `{usual}` has a blank in it, and `{own}` cannot be used.",
            remedy="Name a folder without blanks with MANYWHEELS_CACHE; compilers' variables cannot hold one.",
        )
    own.chmod(0o700)
    return own / "work"


def _has_blank(path: Path) -> bool:
    return any(map(str.isspace, str(path)))


def _spread(folder: Path) -> None:
    """Let ext4 give each subfolder a part of the disk of its own, as it does at the top of a file system (chattr +T).

    Where many inodes were freed within the last minutes, as by the end of a build environment, ext4 looks at each of
    them again for every file that is made there: 1,000 files can take a second then.
    """
    with suppress(OSError):  # another file system, which has no such trouble
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = array("i", [0, 0])  # the kernel writes an int; its own declaration says a long
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            flags[0] |= _TOP_OF_A_TREE
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
        finally:
            os.close(descriptor)


def public_work_parent(closed: Iterable[Path]) -> Path:
    """Return where a work folder can be that other users reach: the usual place if they can, and it has no blank.

    `closed` are folders that they cannot enter during the run. The other place belongs to root, like all of its kind.
    """
    usual = cache_dir() / "work"
    usual.mkdir(parents=True, exist_ok=True)
    ways = (usual, *usual.parents)
    reachable = all(way.stat().st_mode & stat.S_IXOTH for way in ways) and not any(map(ways.__contains__, closed))
    if reachable and not _has_blank(usual):
        return usual
    _ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    return _ELSEWHERE


def store_beside(work: Path) -> Path:
    """Return where what was fetched for builds is kept between runs, on the same disk as the run's work folder."""
    return work.parent.parent / "prefetched"


def take_snapshot(
    project: Project, folder: Path, cancellation: Cancellation, *, leave_out: Iterable[Path] = ()
) -> Snapshot:
    """Copy or extract the project into `folder`, which must not exist. Raises Cancelled and ProjectError.

    For a project inside a git repository the whole repository is taken: the project's own folder with everything in
    it, the rest as git sees it (tracked files, and untracked ones that are not ignored). Virtual environments, tools'
    caches, what setuptools compiled here before, the CI's credentials, and the folders in `leave_out` stay behind.
    """
    if project.is_sdist:
        root = extract_sdist(project.path, folder, cancellation)
        return Snapshot(root=root, package=Path(), digest=f"sha256:{digest_file(project.path)}")
    _require_no_way_out(project.path)
    package = project.path.resolve()
    top = git_top(package)
    left_out = {path.resolve() for path in (*leave_out, folder, cache_dir())}
    repositories: list[Path] = []

    def is_left_out(path: Path) -> bool:
        if path.name == ".git":
            repositories.append(path)
            return True
        return path in left_out or _is_junk(path) or (path.parent in {top, package} and _is_credential(path))

    source = top or package
    relative = package.relative_to(source)
    folder.mkdir(parents=True)
    with _told_by_name(source, folder):
        if top:
            copy_repository(top / ".git", folder / ".git", cancellation)
        if top and top != package:
            _copy_beside(top, relative, folder, is_left_out, cancellation)
        copy_tree(package, folder / relative, is_left_out, cancellation)
        for entry in repositories:
            if entry.parent != top:
                copy_nested(entry, folder / entry.relative_to(source), cancellation)
    return Snapshot(root=folder, package=relative, digest=digest_source(folder / relative, cancellation))


def _require_no_way_out(path: Path) -> None:
    """Raise ProjectError where a symbolic link of a checkout leads root out of it: a pull request can change that link.

    Where the program is not root, project code has the same rights, and can go there by itself.
    """
    for place in (path.absolute(), *path.absolute().parents) if os.geteuid() == 0 else ():
        top = git_top(place.parent) if place.is_symlink() else None
        if top and not place.resolve().is_relative_to(top.resolve()):
            raise ProjectError(
                f"`{place}` is a symbolic link that leads out of the checkout `{top}`, to `{place.resolve()}`.",
                remedy="Name the folder that it leads to with `package-dir`, if that is what you want to build.",
            )


@contextmanager
def _told_by_name(source: Path, folder: Path) -> Iterator[None]:
    """Make a ProjectError of what cannot be read below `source`, unless it is below `folder`."""
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename or "."))
        if not place.is_relative_to(source) or place.is_relative_to(folder):
            raise
        raise ProjectError(
            f"`{place}` cannot be copied: {error.strerror}.",
            remedy="Make it readable for this user, and let nothing change the project while it is copied.",
        ) from None


def _copy_beside(
    top: Path, package: Path, folder: Path, is_left_out: Callable[[Path], bool], cancellation: Cancellation
) -> None:
    """Copy what git sees of a repository beside the package."""
    for name in files_beside(folder / ".git", top, package, cancellation):
        if any(is_left_out(top / part) for part in (Path(name), *Path(name).parents[:-1])):
            continue
        cancellation.stop_if_requested(COPYING)
        _make_folders(folder, Path(name).parent)
        if (top / name).is_dir() and not (top / name).is_symlink():
            copy_tree(top / name, folder / name, is_left_out, cancellation)  # a submodule
        else:
            copy_entry(top / name, folder / name, cancellation)


def _make_folders(folder: Path, below: Path) -> None:
    """Make the folders of a relative path; `mkdir` would call itself for each, and a path may have 2,000."""
    for part in () if (folder / below).is_dir() else (*reversed(below.parents), below):
        (folder / part).mkdir(exist_ok=True)


def copy_source(snapshot: Snapshot, folder: Path, cancellation: Cancellation, *, user: int | None = None) -> Path:
    """Make a target's private copy in `folder`, which must not exist; return the project's own folder in it.

    The copy belongs to `user`, None for the program's own; git accepts no repository of somebody else.

    Raises Cancelled.
    """
    borrowed = objects_of(snapshot.root)
    copy_tree(snapshot.root, folder, lambda path: path == borrowed, cancellation)
    borrow_objects(folder, snapshot.root)
    if user is not None:
        give_tree(folder, user, cancellation)
    return folder / snapshot.package


def _is_junk(path: Path) -> bool:
    return path.name in _JUNK or (path / "pyvenv.cfg").exists() or _is_of_setuptools(path)


def _is_credential(path: Path) -> bool:
    """Whether that is a file of the CI's, as actions put them into a workspace; project code can read the copy."""
    return any(fnmatchcase(path.name, pattern) for pattern in _CREDENTIALS)


def _is_of_setuptools(path: Path) -> bool:
    """Whether setuptools put compiled files there. It takes newer ones for its own, whoever compiled them and how."""
    project = path.parent.parent
    return bool(path.parent.name == "build" and _COMPILED.fullmatch(path.name)) and any(
        (project / name).is_file() for name in ("setup.py", "pyproject.toml")
    )
