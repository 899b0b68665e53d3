"""A run's work folder, the snapshot of the source in it, and each target's private copy."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import stat
import sys
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir, digest_file
from manywheels.core.text import sanitize
from manywheels.errors import DiskError, ProjectError
from manywheels.plan.project import Project, digest_source, extract_sdist
from manywheels.runtime import git_commands, gitconfig
from manywheels.runtime.cache_folder import LOCK, PUBLIC, blank_fallback, mark, wait_for
from manywheels.runtime.copying import COPYING, chown_tree, copy_entry, copy_tree, remove_tree
from manywheels.runtime.git import (
    borrow_objects,
    copy_nested,
    copy_repository,
    git_top,
    may_be_source,
    objects_of,
    source_root,
)
from manywheels.runtime.git_commands import Checkout
from manywheels.runtime.gitconfig import UsersSettings
from manywheels.runtime.left_out import BOUNDS, LeftOut
from manywheels.runtime.untrusted_files import open_lock

_LOCK: Final = ".lock"
_PUBLIC: Final = PUBLIC / "work"
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, ioctl_iflags(2)
_SET_FLAGS: Final = 0x40086602
_TOP_OF_A_TREE: Final = 0x00020000  # FS_TOPDIR_FL
_SHOWN: Final = 5  # places in a note
_LEVELS: Final = 3  # above a package without git, in which a file is looked for that a build misses


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The source at the start of the run; `package` is the package's path in `root`.

    `project` is the path of the folder that commands run in: where the run was started. `left_out` are places of the
    source that were not copied. `digest` is of the package's files, `checkout` of all that builds see:
    also of the files beside the package, and of what git says of its version.
    """

    root: Path
    package: Path
    project: Path = Path()
    digest: str
    checkout: str
    left_out: tuple[Path, ...] = ()


@contextmanager
def work_folder(parent: Path | None = None, cancellation: Cancellation | None = None) -> Iterator[Path]:
    """Make a run's folder in `parent`, or beside uv's cache, for hard links; remove it at the end.

    Killed runs' folders, whose locks are free, are removed, too. After a cancellation, the next run removes what is
    left. Raises DiskError and Cancelled.
    """
    parent = parent or _work_parent()
    cache_dir().mkdir(parents=True, exist_ok=True)
    mark(cache_dir())
    with open_lock(cache_dir() / LOCK) as one_at_a_time:
        wait_for(one_at_a_time, "The build", cancellation)
        parent.mkdir(parents=True, exist_ok=True)  # now, as `clean` may have removed it meanwhile
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


def _work_parent() -> Path:
    """Return the cache's folder, or another if its path has a blank. Raises DiskError.

    MAKEFLAGS, CC, PIP_CONSTRAINT and many configure scripts split at blanks and know no quoting.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    usual = cache_dir() / "work"
    if not _has_blank(usual):
        return usual
    own = blank_fallback()
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

    Copy what a build in place finds in `source_root`, but for what `left_out` lists, and `leave_out`. What git tracks
    is copied in any case.
    """
    if project.is_sdist:
        root = extract_sdist(project.path, folder, cancellation)
        digest = f"sha256:{digest_file(project.path)}"
        return Snapshot(root=root, package=Path(), digest=digest, checkout=digest)
    _require_inside_checkout(project.path)
    package = project.path.resolve()
    top = source_root(package)
    never = {path.resolve() for path in (*leave_out, folder, cache_dir())}
    left_out = LeftOut(top=top, package=package, never=never)
    folder.mkdir(parents=True)
    with _explained_errors(top, folder):
        if (top / ".git").exists():
            _copy_checkout(left_out, folder, cancellation)
        else:
            _copy_folder(left_out, folder, cancellation)
    relative, started_in = package.relative_to(left_out.top), _started_in(package, left_out.top)
    digest = digest_source(folder / relative, cancellation)
    files = digest if relative == Path() else digest_source(folder, cancellation)
    return Snapshot(
        root=folder,
        package=relative,
        project=started_in,
        digest=digest,
        checkout=_digest((files, str(relative), str(started_in), *_git_state(folder, cancellation))),
        left_out=tuple(left_out.places),
    )


def _git_state(folder: Path, cancellation: Cancellation) -> tuple[str, ...]:
    """Return what of a copied repository may be in a version, or decide which files a package has."""
    repository = folder / ".git"
    if not repository.is_dir():
        return ()
    texts = (gitconfig.read_text(repository / name) for name in ("HEAD", "shallow", "info/attributes", "info/grafts"))
    state = git_commands.versions_and_files(Checkout(repository=repository, files=folder), cancellation)
    return (*texts, *(state if state is not None else [secrets.token_hex()]))  # unknown: like no other


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d\0%b" % (len(content := os.fsencode(part)), content))
    return f"sha256:{digest.hexdigest()}"


def _copy_checkout(left_out: LeftOut, folder: Path, cancellation: Cancellation) -> None:
    top, package = left_out.top, left_out.package
    user = git_commands.read_users_settings(cancellation)
    copy_repository(top / ".git", folder / ".git", user, cancellation)
    if package != top:
        here = Checkout(repository=folder / ".git", files=top)
        ignored = git_commands.ignored_files(here, package.relative_to(top), cancellation)
        _note_large(left_out.leave_large(ignored, cancellation), top)
    _copy_files(left_out, folder, cancellation)
    outer = Checkout(repository=folder / ".git", files=folder)
    _add_tracked(top, outer, cancellation)
    for entry in left_out.repositories:
        if entry.parent != top:
            inner = folder / entry.parent.relative_to(top)
            if repository := copy_nested(entry, inner / ".git", folder, user, cancellation):
                _add_tracked(entry.parent, Checkout(repository=repository, files=inner), cancellation)
    git_commands.keep_state(outer, cancellation)


def _copy_folder(left_out: LeftOut, folder: Path, cancellation: Cancellation) -> None:
    """Copy a source without git: all of its root, unless that is large."""
    top, package = left_out.top, left_out.package
    if package != top and not left_out.size_beside(top, cancellation).is_small:
        _note(
            f"builds get a copy of `{package}` only: the rest of `{top}` has more than {BOUNDS}; "
            "start in the smallest folder that has all that the build needs"
        )
        left_out.top = package
    if package == left_out.top:
        above = [top] if top != package else list(takewhile(may_be_source, list(package.parents)[:_LEVELS]))
        left_out.places += above[-1:]
    _copy_files(left_out, folder, cancellation)
    for entry in left_out.repositories:
        copy_nested(entry, folder / entry.relative_to(left_out.top), folder, UsersSettings(), cancellation)


def _copy_files(left_out: LeftOut, folder: Path, cancellation: Cancellation) -> None:
    copy_tree(left_out.top, folder, left_out, cancellation, pass_over=left_out.pass_over)
    if left_out.unreadable:
        first, others = left_out.unreadable[0], len(left_out.unreadable) - 1
        more = f" and {others} other places" if others else ""
        _note(f"builds get no copy of `{first}`{more}, which this user cannot read")


def _note_large(paths: list[Path], top: Path) -> None:
    if paths:
        shown = ", ".join(f"`{path.relative_to(top)}`" for path in paths[:_SHOWN])
        more = f" and {len(paths) - _SHOWN} others" if len(paths) > _SHOWN else ""
        _note(
            f"builds get no copy of {shown}{more}, which git ignores: more than {BOUNDS}; "
            "put what a build needs of it into the package's folder"
        )


def _add_tracked(source: Path, copy: Checkout, cancellation: Cancellation) -> None:
    """Copy what git tracks, whatever it is called: without it, the version would be that of a changed checkout."""
    for name in git_commands.missing_files(copy, cancellation):
        cancellation.stop_if_requested(COPYING)
        if git_commands.is_in(source, name) and not git_commands.is_below_a_link(copy.files, name):
            _make_folders(copy.files, Path(name).parent)
            copy_entry(source / name, copy.files / name, cancellation)


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
        if error.errno == errno.ENAMETOOLONG and place.is_relative_to(folder):
            place = source / place.relative_to(folder)
        if not place.is_relative_to(source) or place.is_relative_to(folder):
            raise
        raise ProjectError(
            f"`{place}` cannot be copied: {error.strerror}.",
            remedy="Make it readable for this user, and do not change the project while it is copied.",
        ) from None


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


def _note(text: str) -> None:
    print(sanitize(f"note: {text}."), file=sys.stderr, flush=True)
