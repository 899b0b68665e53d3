"""A run's work folder, the snapshot of the source in it, and each target's private copy."""

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
from manywheels.runtime.copying import COPYING, chown_tree, copy_entry, copy_tree, remove_tree
from manywheels.runtime.git import borrow_objects, copy_nested, copy_repository, files_beside, git_top, objects_of
from manywheels.runtime.untrusted_files import open_lock

_LOCK: Final = ".lock"
_LOCK_INTERVAL: Final = 0.05  # seconds
_PUBLIC: Final = Path("/var/lib/manywheels/work")
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, ioctl_iflags(2)
_SET_FLAGS: Final = 0x40086602
_TOP_OF_A_TREE: Final = 0x00020000  # FS_TOPDIR_FL
_JUNK: Final = frozenset({"__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_COMPILED: Final = re.compile(r"(lib|temp|bdist)\..+")
_CREDENTIALS: Final = (".netrc", "_netrc", ".git-credentials", ".pypirc", "gha-creds-*.json")  # put beside the project


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The source at the start of the run; `package` is the package's path in `root`.

    `project` is the path of the folder that commands run in: where the run was started.
    """

    root: Path
    package: Path
    project: Path = Path()
    digest: str


@contextmanager
def work_folder(parent: Path | None = None, cancellation: Cancellation | None = None) -> Iterator[Path]:
    """Make a run's folder in `parent`, or beside uv's cache, for hard links; remove it at the end.

    Killed runs' folders, whose locks are free, are removed, too. After a cancellation, the next run removes what is
    left. Raises DiskError and Cancelled.
    """
    parent = parent or _work_parent()
    parent.mkdir(parents=True, exist_ok=True)
    with open_lock(cache_dir() / "work.lock") as one_at_a_time:
        _wait_for(one_at_a_time, cancellation)
        for abandoned in parent.glob("run-*"):
            # An incomplete removal may have taken the lock file; `open_lock` makes it again.
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
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if cancellation:
                cancellation.stop_if_requested("The build")
            time.sleep(_LOCK_INTERVAL)
        else:
            return


def _work_parent() -> Path:
    """Return the cache's folder, or another if its path has a blank. Raises DiskError.

    MAKEFLAGS, CC, PIP_CONSTRAINT and many configure scripts split at blanks and know no quoting.
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
            f"There is no folder to work in: `{usual}` has a blank in its path, and `{own}` cannot be used.",
            remedy="Name a folder without blanks with MANYWHEELS_CACHE: compilers' variables cannot hold one.",
        )
    own.chmod(0o700)
    return own / "work"


def _has_blank(path: Path) -> bool:
    return any(map(str.isspace, str(path)))


def _spread(folder: Path) -> None:
    """Have ext4 spread subfolders over the disk (chattr +T).

    Otherwise, for each new file, ext4 checks all nearby inodes freed within minutes: 1,000 files can take a second.
    """
    with suppress(OSError):  # another file system, without this problem
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = array("i", [0, 0])  # the kernel writes an int, although it declares a long
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            flags[0] |= _TOP_OF_A_TREE
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
        finally:
            os.close(descriptor)


def public_work_parent(closed: Iterable[Path]) -> Path:
    """Return a parent for a work folder that other users can reach: the usual one, or one of root's.

    They cannot enter `closed` during the run.
    """
    usual = cache_dir() / "work"
    usual.mkdir(parents=True, exist_ok=True)
    ways = (usual, *usual.parents)
    reachable = all(way.stat().st_mode & stat.S_IXOTH for way in ways) and not any(map(ways.__contains__, closed))
    if reachable and not _has_blank(usual):
        return usual
    _PUBLIC.mkdir(mode=0o755, parents=True, exist_ok=True)
    return _PUBLIC


def store_beside(work: Path) -> Path:
    """Return the folder for build requirements kept between runs, on the work folder's disk."""
    return work.parent.parent / "prefetched"


def take_snapshot(
    project: Project, folder: Path, cancellation: Cancellation, *, leave_out: Iterable[Path] = ()
) -> Snapshot:
    """Copy or extract the project into `folder`, which must not exist. Raises Cancelled and ProjectError.

    Of a git checkout, copy all files in the project's folder, and those elsewhere that are tracked or not ignored; but
    no virtual environments, tools' caches, setuptools' compiled files, credentials of the CI, and `leave_out`.
    """
    if project.is_sdist:
        root = extract_sdist(project.path, folder, cancellation)
        return Snapshot(root=root, package=Path(), digest=f"sha256:{digest_file(project.path)}")
    _require_inside_checkout(project.path)
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
    with _explained_errors(source, folder):
        if top:
            copy_repository(top / ".git", folder / ".git", cancellation)
        if top and top != package:
            _copy_beside(top, relative, folder, is_left_out, cancellation)
        copy_tree(package, folder / relative, is_left_out, cancellation)
        for entry in repositories:
            if entry.parent != top:
                copy_nested(entry, folder / entry.relative_to(source), cancellation)
    return Snapshot(
        root=folder,
        package=relative,
        project=_started_in(package, source),
        digest=digest_source(folder / relative, cancellation),
    )


def _started_in(package: Path, source: Path) -> Path:
    """Return the working folder's path in the copied `source`, if it is there and has the package in it; else `.`."""
    here = Path.cwd()
    inside = here.is_relative_to(source) and package.is_relative_to(here)
    return here.relative_to(source) if inside else Path()


def _require_inside_checkout(path: Path) -> None:
    """Raise ProjectError if a link leads root out of a checkout: a pull request can add links.

    Without root, project code has the program's rights anyway.
    """
    for place in (path.absolute(), *path.absolute().parents) if os.geteuid() == 0 else ():
        top = git_top(place.parent) if place.is_symlink() else None
        if top and not place.resolve().is_relative_to(top.resolve()):
            raise ProjectError(
                f"`{place}` is a symbolic link that leads out of the checkout `{top}`, to `{place.resolve()}`.",
                remedy="Name the folder that it leads to with `package-dir`, if that is what you want to build.",
            )


@contextmanager
def _explained_errors(source: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename or "."))
        if not place.is_relative_to(source) or place.is_relative_to(folder):
            raise
        raise ProjectError(
            f"`{place}` cannot be copied: {error.strerror}.",
            remedy="Make it readable for this user, and do not change the project while it is copied.",
        ) from None


def _copy_beside(
    top: Path, package: Path, folder: Path, is_left_out: Callable[[Path], bool], cancellation: Cancellation
) -> None:
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
    """Make folders one by one: `mkdir(parents=True)` is recursive, and there may be 2,000."""
    for part in () if (folder / below).is_dir() else (*reversed(below.parents), below):
        (folder / part).mkdir(exist_ok=True)


def copy_source(snapshot: Snapshot, folder: Path, cancellation: Cancellation, *, user: int | None = None) -> Path:
    """Make a target's private copy in `folder`, which must not exist; return the project's folder in it.

    It belongs to `user` (None: the program's own): git rejects other users' repositories. Raises Cancelled.
    """
    borrowed = objects_of(snapshot.root)
    copy_tree(snapshot.root, folder, lambda path: path == borrowed, cancellation)
    borrow_objects(folder, snapshot.root)
    if user is not None:
        chown_tree(folder, user, cancellation)
    return folder / snapshot.package


def _is_junk(path: Path) -> bool:
    return path.name in _JUNK or (path / "pyvenv.cfg").exists() or _is_of_setuptools(path)


def _is_credential(path: Path) -> bool:
    return any(fnmatchcase(path.name, pattern) for pattern in _CREDENTIALS)


def _is_of_setuptools(path: Path) -> bool:
    """Whether setuptools compiled these files: it would reuse them, whatever their flags."""
    project = path.parent.parent
    return bool(path.parent.name == "build" and _COMPILED.fullmatch(path.name)) and any(
        (project / name).is_file() for name in ("setup.py", "pyproject.toml")
    )
