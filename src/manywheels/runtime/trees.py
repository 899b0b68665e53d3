"""Walks through trees that project code made: as deep, wide and closed as it likes, and with links anywhere.

A walk holds one descriptor, however deep it is, and calls no function again for a subfolder. It makes no paths: these
would be longer than the kernel takes (PATH_MAX), and their links would be followed.
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
_SHOWN: Final = 20  # folders of a path that a message shows

_Identity = tuple[int, int]  # device and inode


class Walk:
    """Where a walk is: `descriptor` is the folder's, `name` its name in the one above."""

    def __init__(self, top: Path, *, removing: bool) -> None:
        self._top, self._removing = top, removing
        self._mounts = _mounts_below(top) if removing else frozenset()
        self.descriptor = self._opened(str(top), None)
        self._names = [top.name]
        self._above: list[_Identity] = []

    @property
    def name(self) -> str:
        """The name of the folder in the one above."""
        return self._names[-1]

    @property
    def here(self) -> str:
        """The folder's path, cut to what a message can show."""
        names = self._names[1 : _SHOWN + 1] + (["…"] if len(self._names) > _SHOWN + 1 else [])
        return "/".join([str(self._top), *names])

    def enter(self, name: str) -> None:
        """Go into a subfolder. Raises OSError."""
        below = self._opened(name, self.descriptor)
        self._above.append(_identity(self.descriptor))
        os.close(self.descriptor)
        self.descriptor = below
        self._names.append(name)

    def leave(self) -> str:
        """Go up again; return the name of the folder that was left. Raises OSError where that was moved meanwhile."""
        above = os.open("..", _FOLDER, dir_fd=self.descriptor)
        os.close(self.descriptor)
        self.descriptor = above
        if _identity(above) != self._above.pop():
            raise OSError(errno.ESTALE, "A folder was moved meanwhile", self.here)
        return self._names.pop()

    def close(self) -> None:
        """Close the descriptor."""
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
        """Raise OSError where something is mounted, which stays; take the rights to remove what is in there."""
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in self._mounts:
            raise OSError(errno.EBUSY, "Something is mounted there")
        if self._removing and ~status.st_mode & stat.S_IRWXU:
            os.fchmod(descriptor, stat.S_IRWXU)


def walk(
    top: Path,
    look: Callable[[Walk], list[str]],
    left: Callable[[Walk, str], None] | None = None,
    refused: Callable[[Walk, str, OSError], None] | None = None,
    *,
    removing: bool = False,
) -> None:
    """Go through a folder and those below it.

    `look` is called in each, and returns the names of the subfolders to go into; `left` is called with the name of each
    when the walk is back in the one above; `refused` with those that cannot be entered, whose error is raised
    otherwise. For `removing`, a walk gives its user all rights to the folders, and enters nothing that is mounted.

    Raises OSError where the walk cannot go on, and whatever is raised by what it calls.
    """
    at = Walk(top, removing=removing)
    try:
        pending = [look(at)]
        while pending:
            if not pending[-1]:
                pending.pop()
                if pending:
                    name = at.leave()
                    if left:
                        left(at, name)
                continue
            name = pending[-1].pop()
            try:
                at.enter(name)
            except OSError as error:
                if refused is None:
                    raise
                refused(at, name, error)
            else:
                pending.append(look(at))
    finally:
        at.close()


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _give_rights(name: str, parent: int | None) -> None:
    """Give its owner all rights to a folder that cannot be opened; no link in its place is followed."""
    descriptor = os.open(name, _NO_RIGHTS, dir_fd=parent)
    try:
        Path(f"/proc/self/fd/{descriptor}").chmod(stat.S_IRWXU)
    finally:
        os.close(descriptor)


def _mounts_below(top: Path) -> frozenset[_Identity]:
    """Return what is mounted below a folder; one that is bound there has the device of what it comes from."""
    found = set()
    for line in _MOUNTS.read_bytes().splitlines():
        escaped = line.split()[4]
        place = Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), escaped)))
        if place != top and place.is_relative_to(top):
            status = place.lstat()
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)
