"""Walk through project code's trees, which can have any depth, width, permissions and links.

A walk holds one descriptor. Paths could exceed PATH_MAX, and would follow links.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_RIGHTS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MOUNTS: Final = Path("/proc/self/mountinfo")
_SHOWN: Final = 20  # folders in a message

_Identity = tuple[int, int]  # device and inode


class Walk:
    """The current folder of a walk, as a descriptor."""

    def __init__(self, top: Path, *, removing: bool) -> None:
        self._top, self._removing = top, removing
        self._mounts = _mounts_below(top) if removing else frozenset()
        self.descriptor = self._opened(str(top), None)
        self._names = [top.name]
        self._above: list[_Identity] = []

    @property
    def name(self) -> str:
        return self._names[-1]

    @property
    def below_top(self) -> tuple[str, ...]:
        """The names of the folders from the top, without it."""
        return tuple(self._names[1:])

    @property
    def here(self) -> str:
        """The folder's path, shortened for messages."""
        names = self._names[1 : _SHOWN + 1] + (["…"] if len(self._names) > _SHOWN + 1 else [])
        return "/".join([str(self._top), *names])

    def enter(self, name: str) -> None:
        """Raises OSError."""
        below = self._opened(name, self.descriptor)
        self._above.append(_identity(self.descriptor))
        os.close(self.descriptor)
        self.descriptor = below
        self._names.append(name)

    def leave(self) -> str:
        """Go back to the parent; return the folder's name. Raises OSError if the folder was moved."""
        above = os.open("..", _FOLDER, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = above
        if _identity(above) != self._above.pop():
            raise OSError(errno.ESTALE, "A folder was moved meanwhile", self.here)
        return self._names.pop()

    def close(self) -> None:
        os.close(self.descriptor)

    def _opened(self, name: str, parent: int | None) -> int:
        try:
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
        except PermissionError:
            if not self._removing:
                raise
            _give_rights(name, parent)
            descriptor = os.open(name, _FOLDER, dir_fd=parent)
        try:
            self._require_removable(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _require_removable(self, descriptor: int) -> None:
        """Take all permissions. Raises OSError for a mount point, which must stay."""
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in self._mounts:
            raise OSError(errno.EBUSY, "Something is mounted there")
        if self._removing and ~status.st_mode & stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)


def walk(
    top: Path,
    visit: Callable[[Walk], list[str]],
    leave: Callable[[Walk, str], None] | None = None,
    failed: Callable[[Walk, str, OSError], None] | None = None,
    *,
    removing: bool = False,
) -> None:
    """Call `visit` with each folder; it returns the subfolders to enter.

    `leave` gets the parent and a finished folder's name. `failed` gets a folder that cannot be entered; otherwise, the
    error is raised. With `removing`, the user gets all permissions, and mount points are not entered. Raises OSError,
    and what the functions raise.
    """
    at = Walk(top, removing=removing)
    try:
        pending = [visit(at)]
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    name = at.leave()
                    if leave:
                        leave(at, name)
                continue
            name = pending[-1].pop()
            try:
                at.enter(name)
            except OSError as error:
                if failed is None:
                    raise
                failed(at, name, error)
            else:
                pending.append(visit(at))
    finally:
        at.close()


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _give_rights(name: str, parent: int | None) -> None:
    """Give the owner all permissions for a folder that cannot be opened, without following a link."""
    descriptor = os.open(name, _NO_RIGHTS, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
    finally:
        os.close(descriptor)


def _mounts_below(top: Path) -> frozenset[_Identity]:
    """Return the mount points; a bind mount's device number does not show that it is one."""
    found = set()
    for line in _MOUNTS.read_bytes().splitlines():
        escaped = line.split()[4]
        place = Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), escaped)))
        if place != top and place.is_relative_to(top):
            status = place.lstat()
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
