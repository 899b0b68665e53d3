"""Taking over what untrusted code made: files become the program's own before anything is done with them.

Called when no process of that code is left. The folder, and everything in it, was under its control: links are not
followed, and what is not a regular file of the expected owner is refused.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not make us wait


class Suspicious(Exception):
    """What should be taken over is not what honest code leaves. The text says what it is, in half a sentence."""


class NotOne(Exception):
    """There should be one wheel. The text says what there is: "no wheel", "2 wheels (…)"."""


def names_in(folder: Path, suffix: str) -> list[str]:
    """Return the names in a folder that end with `suffix`, sorted. Raises Suspicious where it is no folder any more."""
    with _opened(folder) as descriptor:
        return sorted(name for name in os.listdir(descriptor) if name.endswith(suffix))  # noqa: PTH208


def only_wheel_in(folder: Path) -> str:
    """Return the name of the wheel in a folder. Raises Suspicious, and NotOne where there are others or none."""
    wheels = names_in(folder, ".whl")
    if len(wheels) != 1:
        raise NotOne(f"{len(wheels)} wheels ({', '.join(wheels)})" if wheels else "no wheel")
    return wheels[0]


def take_over(folder: Path, name: str, target: Path, *, owner: int | None = None) -> Path:
    """Copy the file `name` of a folder into the folder `target`, and return the copy. Raises Suspicious.

    Only the last part of `folder` may be under the other's control. `owner` is who must own the file, None for us.
    """
    with open_file(folder, name, owner=owner) as read, (target / name).open("xb") as write:
        shutil.copyfileobj(read, write, 1 << 20)
    return target / name


@contextmanager
def open_file(folder: Path, name: str, *, owner: int | None = None) -> Iterator[BinaryIO]:
    """Open the file `name` of a folder for reading. Raises Suspicious; `folder` and `owner` are as in `take_over`."""
    with _opened(folder) as descriptor:
        try:
            file = os.open(name, _FILE, dir_fd=descriptor)
        except OSError as error:
            raise Suspicious(f"`{name}` cannot be opened ({error.strerror})") from None
    try:
        _require_honest(name, os.fstat(file), os.geteuid() if owner is None else owner)
    except Suspicious:
        os.close(file)
        raise
    with open(file, "rb") as stream:  # noqa: PTH123 - a descriptor, no path
        yield stream


def _require_honest(name: str, status: os.stat_result, owner: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Suspicious(f"`{name}` is not a regular file")
    if status.st_uid != owner:  # a hard link to a file of somebody else's would have that one's owner
        raise Suspicious(f"`{name}` belongs to another user")


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError as error:
        raise Suspicious(f"the folder `{folder.name}` cannot be opened ({error.strerror})") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
