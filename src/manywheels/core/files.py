"""The user's files and folders: creation, ownership, atomic writes."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.regular_files import open_regular
from manywheels.errors import OutputFolderError

_PIECE: Final = 1 << 20  # bytes read at once


def create(path: Path) -> BinaryIO:
    """Open a new file for writing, in place of any file or link of that name."""
    path.unlink(missing_ok=True)
    return path.open("xb")  # O_EXCL: a link put there meanwhile is not followed


def chown(path: Path, owner: tuple[int, int]) -> None:
    """Do nothing unless root; `owner` is user and group (ids)."""
    if os.geteuid() == 0:
        os.chown(path, *owner, follow_symlinks=False)


def make_folder(path: Path) -> tuple[int, int]:
    """Make a folder and its parents for the owner of the nearest existing one; return that owner (ids).

    Raises OSError, ELOOP where root would follow a symbolic link below the working folder: a repository's may lead to
    what only root can write.
    """
    path = path.absolute()
    folders = (path, *path.parents)
    if os.geteuid() == 0 and (links := [at for at in folders if at.is_relative_to(Path.cwd()) and at.is_symlink()]):
        raise refused_link(links[-1])
    status = next(folder for folder in folders if folder.exists()).stat()
    owner = (status.st_uid, status.st_gid)
    for folder in reversed(folders):
        if not folder.is_dir():
            folder.mkdir()
            chown(folder, owner)
    return owner


def refused_link(path: Path) -> OSError:
    return OSError(errno.ELOOP, f"`{path}` is a symbolic link, which is not followed")


def require_place(path: Path, option: str) -> None:
    """Make a report's folder, and check that the file can be written; `option` gave the path.

    Raises OutputFolderError.
    """
    with _explained(path, option):
        make_folder(path.parent)
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass


@contextmanager
def write_atomically(path: Path, owner: tuple[int, int] | None = None) -> Iterator[BinaryIO]:
    """Open a partial file that replaces `path` at the end of the block; an error removes it.

    It is new (O_EXCL), so no link is followed, and belongs to `owner`, else the folder's owner. Raises OSError.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with create(partial) as file:
            yield file
        folder = path.parent.stat()
        chown(partial, owner or (folder.st_uid, folder.st_gid))
        partial.replace(path)
    except BaseException:
        with suppress(OSError):  # it is a folder, which `create` refused
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def write_report_file(path: Path, option: str) -> Iterator[BinaryIO]:
    """`option` gave the path. Raises OutputFolderError."""
    with _explained(path, option), write_atomically(path) as file:
        yield file


@contextmanager
def _explained(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFolderError(
            f"The report `{path}` cannot be written: {error.strerror}.", remedy=f"Give another place with `{option}`."
        ) from None


def digest_file(path: Path, cancellation: Cancellation | None = None) -> str:
    """Return lower-case hex. The file must be regular. Raises OSError and Cancelled."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            if cancellation is not None:
                cancellation.stop_if_requested(f"Reading `{path.name}`")
    return digest.hexdigest()


def last_written(path: Path) -> tuple[int, int] | None:
    """Return inode and mtime (ns), which differ if a file was written anew; None without a file."""
    with suppress(OSError):
        status = path.stat()
        return status.st_ino, status.st_mtime_ns
    return None


def cache_dir() -> Path:
    """Return $MANYWHEELS_CACHE, else `manywheels` in $XDG_CACHE_HOME (if absolute) or ~/.cache; it may not exist."""
    own = os.environ.get("MANYWHEELS_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "manywheels"
