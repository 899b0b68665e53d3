"""Copy files of untrusted code into containers and out of them, as tar archives.

Root packs project code's copy of the source, where a link may lead to a file of root, and a file may have any size.
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

LARGEST_TREE: Final = 4 << 30  # bytes of a tree, holes included
_ENTRY_SIZE: Final = 1024  # bytes that each entry counts for
_LONGEST_PATH: Final = 4000  # bytes; the kernel accepts 4,095
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # do not wait for a FIFO
_COPYING: Final = "Copying the project into the container"
Change = Callable[[tarfile.TarInfo], tarfile.TarInfo]


class CannotPack(Exception):
    """A tree cannot be packed; the text says why, without a full stop."""


def pack_tree(
    tar: tarfile.TarFile, folder: Path, inside: str, *, owner: int, change: Change, cancellation: Cancellation
) -> None:
    """Write a folder's regular files, folders and symbolic links into an archive, below the name `inside`.

    Files must be readable for all, or belong to `owner` (a user id), who may run no process meanwhile. `change` gets
    each member. Raises CannotPack and Cancelled.
    """
    packing = _Packing(tar, inside, owner, change, cancellation)
    try:
        walk(folder, packing.pack, packing.leave)
    except OSError as error:
        raise CannotPack(f"it cannot be read ({error.strerror})") from None


class _Packing:
    def __init__(
        self, tar: tarfile.TarFile, inside: str, owner: int, change: Change, cancellation: Cancellation
    ) -> None:
        self._tar, self._owner, self._change, self._cancellation = tar, owner, change, cancellation
        self._path = [inside]
        self._is_inside = False
        self._left = LARGEST_TREE

    def pack(self, at: Walk) -> list[str]:
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
        self._path.pop()

    def _add_file(self, folder: int, name: str) -> None:
        with os.fdopen(os.open(name, _FILE, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            member = self._member(name, status, tarfile.REGTYPE)
            if status.st_uid != self._owner and not status.st_mode & stat.S_IROTH:
                raise CannotPack(f"`{member.name}` belongs to another user")
            member.size = status.st_size
            self._add(member, _CancellableFile(file, self._cancellation))

    def _member(self, name: str, status: os.stat_result, kind: bytes) -> tarfile.TarInfo:
        member = tarfile.TarInfo("/".join(filter(None, [*self._path, name])))
        member.type, member.mode, member.mtime = kind, stat.S_IMODE(status.st_mode), int(status.st_mtime)
        if len(os.fsencode(member.name)) > _LONGEST_PATH:
            raise CannotPack("its folders are nested so deep that their paths are too long")
        return self._change(member)

    def _add(self, member: tarfile.TarInfo, content: _CancellableFile | None = None) -> None:
        self._left -= member.size + _ENTRY_SIZE
        if self._left < 0:
            raise CannotPack(f"it has more than {LARGEST_TREE >> 30} GiB, holes of sparse files included")
        self._tar.addfile(member, content)  # type: ignore[arg-type] # it reads only


class _CancellableFile:
    def __init__(self, file: BinaryIO, cancellation: Cancellation) -> None:
        self._file, self._cancellation = file, cancellation

    def read(self, size: int) -> bytes:
        self._cancellation.stop_if_requested(_COPYING)
        return self._file.read(size)


def take_file(chunks: Iterable[bytes], folder: Path, name: str, largest: int) -> Path | None:
    """Write the regular file that an archive begins with to `name` in a folder of the program's own; return its path.

    None if the archive begins with anything else, or at more than `largest` bytes.
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
