"""Copy, give away and remove trees of project code, of any depth: nothing is recursive.

Files are cloned (`FICLONE`) or copied, never hard-linked: a build could write through the link.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.trees import Walk, walk

COPYING: Final = "Copying the source"
_FICLONE: Final = 0x40049409
_CANNOT_CLONE: Final = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})
_BLOCK: Final = 8 << 20  # bytes between two checks for cancellation
_REMOVAL_GRACE: Final = 3.0  # seconds from cancellation


def copy_tree(
    source: Path,
    target: Path,
    is_left_out: Callable[[Path], bool],
    cancellation: Cancellation,
    *,
    pass_over: Callable[[Path, OSError], None] | None = None,
) -> None:
    """Copy files, folders and links, with modes and times. Raises Cancelled and OSError.

    `pass_over` gets what cannot be read, or is gone meanwhile; it may raise.
    """
    pending: list[tuple[str, bool]] = [("", False)]  # relative paths; whether the content is copied
    while pending:
        name, is_filled = pending.pop()
        read, written = source / name, target / name
        if is_filled:
            with suppress(FileNotFoundError) if pass_over else nullcontext():
                shutil.copystat(read, written)
            written.chmod(written.stat().st_mode | stat.S_IRWXU)  # a read-only folder could not be filled or removed
            continue
        written.mkdir(parents=True, exist_ok=True)
        pending.append((name, True))
        for entry in _entries(read, pass_over):
            if is_left_out(read / entry.name):
                continue
            cancellation.stop_if_requested(COPYING)
            if entry.is_dir(follow_symlinks=False):
                pending.append((f"{name}/{entry.name}".lstrip("/"), False))
                continue
            try:
                copy_entry(read / entry.name, written / entry.name, cancellation)
            except (PermissionError, FileNotFoundError) as error:
                if pass_over is None:
                    raise
                pass_over(read / entry.name, error)


def _entries(folder: Path, pass_over: Callable[[Path, OSError], None] | None) -> Iterator[os.DirEntry[str]]:
    try:
        entries = os.scandir(folder)
    except (PermissionError, FileNotFoundError) as error:
        if pass_over is None:
            raise
        pass_over(folder, error)
        return
    with entries:
        yield from entries


def copy_entry(source: Path, target: Path, cancellation: Cancellation | None = None) -> None:
    """Copy a regular file or link, with missing parents; ignore others. Raises Cancelled."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())
        shutil.copystat(source, target, follow_symlinks=False)
    elif stat.S_ISREG(mode):
        clone_file(source, target, cancellation)


def clone_file(source: Path, target: Path, cancellation: Cancellation | None = None) -> None:
    """Copy a regular file's content and mode; holes stay holes. Raises Cancelled."""
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write, _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
            _copy_content(read, write, cancellation)
    shutil.copystat(source, target)


def _copy_content(read: BinaryIO, write: BinaryIO, cancellation: Cancellation | None) -> None:
    size = os.fstat(read.fileno()).st_size
    for start, end in _extents(read.fileno(), size):
        read.seek(start)
        write.seek(start)
        while block := read.read(min(_BLOCK, end - read.tell())):
            if cancellation:
                cancellation.stop_if_requested(COPYING)
            write.write(block)
    write.truncate(size)


def _extents(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the start and end of each part that is not a hole (lseek(2))."""
    end = 0
    while end < size:
        try:
            start = os.lseek(file, end, os.SEEK_DATA)
            end = os.lseek(file, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.EINVAL:  # not supported by the file system
                yield end, size
            return
        yield start, min(end, size)


# --- giving away and removing -----------------------------------------------------------------------------------------


def chown_tree(folder: Path, user: int, cancellation: Cancellation | None = None) -> None:
    """The user must have no running processes. Raises Cancelled."""

    def give(at: Walk) -> list[str]:
        os.fchown(at.descriptor, user, user)
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                if cancellation:
                    cancellation.stop_if_requested(COPYING)
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    os.chown(entry.name, user, user, dir_fd=at.descriptor, follow_symlinks=False)
        return below

    walk(folder, give)


def remove_tree(folder: Path, cancellation: Cancellation | None = None) -> None:
    """Remove a tree, whatever its permissions, but no mount points.

    What cannot be removed, or not soon after cancellation, is named in a note on stderr, not raised.
    """
    removal = _Removal(cancellation)
    try:
        walk(folder, removal.clear, removal.leave, removal.failed, removing=True)
        if removal.kept == 0:
            folder.rmdir()
    except _OutOfTime:
        _note(f"`{folder}` is not removed completely, because the run was stopped: the next run removes it")
    except FileNotFoundError:
        pass
    except OSError as error:
        removal.keep(str(folder), error)
    if removal.kept:
        more = f", nor {removal.kept - 1} other things in `{folder}`" if removal.kept > 1 else ""
        _note(f"{removal.first} cannot be removed{more}")


class _OutOfTime(Exception):
    """The grace is over."""


class _Removal:
    def __init__(self, cancellation: Cancellation | None) -> None:
        self._cancellation = cancellation
        self._until: float | None = None
        self.kept = 0
        self.first = ""

    def clear(self, at: Walk) -> list[str]:
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                self._check_time()
                try:
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    else:
                        os.unlink(entry.name, dir_fd=at.descriptor)
                except OSError as error:
                    self.failed(at, entry.name, error)
        return below

    def leave(self, at: Walk, name: str) -> None:
        self._check_time()
        try:
            os.rmdir(name, dir_fd=at.descriptor)
        except OSError as error:
            if error.errno != errno.ENOTEMPTY or not self.kept:  # otherwise, its content is counted
                self.failed(at, name, error)

    def failed(self, at: Walk, name: str, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # another process has removed it
            self.keep(f"{at.here}/{name}", error)

    def keep(self, place: str, error: OSError) -> None:
        self.first = self.first or f"`{place}` ({error.strerror})"
        self.kept += 1

    def _check_time(self) -> None:
        if self._cancellation and self._cancellation.requested:
            self._until = self._until or time.monotonic() + _REMOVAL_GRACE
            if time.monotonic() > self._until:
                raise _OutOfTime


def _note(text: str) -> None:
    from manywheels.core.text import sanitize

    print(sanitize(f"note: {text}."), file=sys.stderr, flush=True)
