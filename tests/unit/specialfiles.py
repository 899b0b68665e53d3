"""Files that are none to read: FIFOs, sockets, devices, links to them, and files of a size that no disk has."""

from __future__ import annotations

import os
import signal
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

TEBIBYTE = 1 << 40


def sparse(path: Path, size: int = TEBIBYTE) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the address of a socket has no room for long paths
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def _endless_device(path: Path) -> None:
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("only root can make devices")


MAKERS: dict[str, Callable[[Path], None]] = {
    "fifo": os.mkfifo,
    "socket": _socket,
    "device": _endless_device,
    "folder": Path.mkdir,
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path: path.symlink_to(path.parent / "absent"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


@contextmanager
def ending(within: int = 60) -> Iterator[None]:
    """Fail where the block does not end: what reads a FIFO or an endless device waits for ever."""

    def fail(_number: int, _frame: object) -> None:
        raise AssertionError(f"it did not end within {within} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(within)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
