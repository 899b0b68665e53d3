"""Copies of files and folders, made so that a build cannot write through them, and their removal.

Files are cloned where the file system can (`FICLONE`: Btrfs, XFS), else copied; never hard-linked.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from manywheels.sandbox import Cancellation

COPYING: Final = "Copying the source"
_FICLONE: Final = 0x40049409
_CANNOT_CLONE: Final = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})


def copy_tree(source: Path, target: Path, is_left_out: Callable[[Path], bool], cancellation: Cancellation) -> None:
    """Copy a folder with its modes, times and symbolic links; sockets, devices and FIFOs stay behind.

    Raises Cancelled.
    """
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            cancellation.stop_if_requested(COPYING)
            path = source / entry.name
            if is_left_out(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                copy_tree(path, target / entry.name, is_left_out, cancellation)
            else:
                copy_entry(path, target / entry.name)
    shutil.copystat(source, target)
    target.chmod(target.stat().st_mode | stat.S_IRWXU)  # a read-only folder could not be filled or removed


def copy_entry(source: Path, target: Path) -> None:
    """Copy a regular file or a symbolic link, with the folders that it lies in; nothing else is copied."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISREG(mode):
        clone_file(source, target)


def clone_file(source: Path, target: Path) -> None:
    """Copy a regular file's content and mode, sharing its blocks where the file system can."""
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write, _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
            shutil.copyfileobj(read, write, 1 << 20)
    shutil.copystat(source, target)


def give_tree(folder: Path, user: int) -> None:
    """Give a folder, and everything in it, to a user. No process of that user may run meanwhile."""
    for parent, _, names in os.walk(folder):
        os.chown(parent, user, user, follow_symlinks=False)
        for name in names:
            os.chown(Path(parent, name), user, user, follow_symlinks=False)


def remove_tree(folder: Path) -> None:
    """Remove a folder and everything in it, also where a build took away its own rights to it."""

    def make_writable(function: Callable[[str], object], path: str, _error: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(0o700)
            if not Path(path).is_symlink():  # what it leads to is not ours
                Path(path).chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=make_writable)
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
