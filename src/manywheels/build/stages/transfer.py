"""What goes into a container and what comes out of it, as tar archives: at both ends, files of untrusted code.

The program packs as root what project code left in its copy of the source: a link there may lead to a file of root's, a
hard link may be one, and a file may have any size. What comes out is what the image's programs left.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.trees import Walk, walk

LARGEST_TREE: Final = 4 << 30  # bytes that a tree may have, those of holes too
_OF_AN_ENTRY: Final = 1024  # bytes that each entry counts for
_LONGEST: Final = 4000  # bytes of a path; the kernel takes 4,095
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait
_COPYING: Final = "Copying the project into the container"
Change = Callable[[tarfile.TarInfo], tarfile.TarInfo]


class NotTaken(Exception):
    """A tree cannot be packed. The text says why, in half a sentence."""


def pack_tree(
    tar: tarfile.TarFile, folder: Path, inside: str, *, owner: int, change: Change, cancellation: Cancellation
) -> None:
    """Write a folder's regular files, folders and links into an archive, below the name `inside`.

    `owner` is the user id whose files are taken, with those that everybody may read; `change` is given each member.
    No process of that user may run meanwhile. Raises NotTaken and Cancelled.
    """
    packing = _Packing(tar, inside, owner, change, cancellation)
    try:
        walk(folder, packing.look, packing.leave)
    except OSError as error:
        raise NotTaken(f"it cannot be read ({error.strerror})") from None


class _Packing:
    """Where the packing of a tree is, and how much room it has left."""

    def __init__(
        self, tar: tarfile.TarFile, inside: str, owner: int, change: Change, cancellation: Cancellation
    ) -> None:
        self._tar, self._owner, self._change, self._cancellation = tar, owner, change, cancellation
        self._path = [inside]
        self._is_inside = False
        self._room = LARGEST_TREE

    def look(self, at: Walk) -> list[str]:
        """Pack a folder with the files in it; return its subfolders."""
        if self._is_inside:
            self._path.append(at.name)
        self._is_inside = True
        self._add(self._member("", os.fstat(at.descriptor), tarfile.DIRTYPE))
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                self._cancellation.stop_if_requested(_COPYING)
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                elif entry.is_symlink():
                    member = self._member(entry.name, entry.stat(follow_symlinks=False), tarfile.SYMTYPE)
                    member.linkname = os.readlink(entry.name, dir_fd=at.descriptor)
                    self._add(member)
                elif entry.is_file(follow_symlinks=False):
                    self._add_file(at.descriptor, entry.name)
        return below

    def leave(self, _at: Walk, _name: str) -> None:
        """Go up again."""
        self._path.pop()

    def _add_file(self, folder: int, name: str) -> None:
        with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            member = self._member(name, status, tarfile.REGTYPE)
            if status.st_uid != self._owner and not status.st_mode & stat.S_IROTH:
                raise NotTaken(f"`{member.name}` belongs to another user")
            member.size = status.st_size
            self._add(member, _Heard(file, self._cancellation))

    def _member(self, name: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        member = tarfile.TarInfo("/".join(filter(None, [*self._path, name])))
        member.type, member.mode, member.mtime = kind, stat.S_IMODE(status.st_mode), int(status.st_mtime)
        if len(os.fsencode(member.name)) > _LONGEST:
            raise NotTaken("its folders are nested so deep that their paths are too long")
        return self._change(member)

    def _add(self, member: tarfile.TarInfo, content: _Heard | None = None) -> None:
        self._room -= member.size + _OF_AN_ENTRY
        if self._room < 0:
            raise NotTaken(f"it has more than {LARGEST_TREE >> 30} GiB, those of sparse files included")
        self._tar.addfile(member, content)  # type: ignore[arg-type] # it reads only


class _Heard:
    """A file that is read no further when the run is stopped."""

    def __init__(self, file: BinaryIO, cancellation: Cancellation) -> None:
        self._file, self._cancellation = file, cancellation

    def read(self, size: int) -> bytes:
        """Return the next bytes. Raises Cancelled."""
        self._cancellation.stop_if_requested(_COPYING)
        return self._file.read(size)


def take_file(chunks: Iterable[bytes], folder: Path, name: str, largest: int) -> Path | None:
    """Write the regular file that an archive begins with into a folder of the program's own, as `name`.

    None where it begins with anything else, or has more than `largest` bytes: then it is not read to its end.
    """
    archive, size = folder / f"{name}.tar", 0
    with archive.open("wb") as written:
        for chunk in chunks:
            size += len(chunk)
            if size > largest + (1 << 16):  # for the archive's own blocks
                return None
            written.write(chunk)
    with suppress(tarfile.TarError, EOFError), tarfile.open(archive, "r:") as tar:
        member = tar.next()
        if member and member.type in tarfile.REGULAR_TYPES and not member.issparse() and member.size <= largest:
            content = tar.extractfile(member)
            if content:
                (folder / name).write_bytes(content.read(largest))
                return folder / name
    return None
