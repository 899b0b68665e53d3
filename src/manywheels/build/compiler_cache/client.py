"""What a compiler's wrapper starts in place of the compiler: ask the program for the object.

Runs as the target's user, once for each translation unit, so it imports as little as possible. Without an answer,
whatever the reason, it becomes the compiler itself.
"""

from __future__ import annotations

import _socket  # without `socket`, whose import takes as long as the rest
import os
import sys

from manywheels.build.compiler_cache import wire

TYPE_CHECKING = False  # `typing` takes longer to import than all that is done here
if TYPE_CHECKING:
    from typing import NoReturn

SOCKET = "MANYWHEELS_COMPILER_CACHE"
_LONGEST_ADDRESS = 100  # bytes of a socket's path, sockaddr_un(7)
# Variables by which a compiler would find other parts of itself.
_STEERING = ("COMPILER_PATH", "GCC_EXEC_PREFIX", "CCC_OVERRIDE_OPTIONS", "CLANG_CONFIG_FILE_USER_DIR")


def main(argv: list[str]) -> NoReturn:
    """`argv` is the compiler's command."""
    _restore_locale()
    try:
        if _compile(os.environ[SOCKET], argv):
            sys.stderr.flush()
            os._exit(0)
    except (OSError, KeyError, wire.Ended):
        pass
    os.execv(argv[0], argv)  # noqa: S606 - an argument list, no shell


def _compile(place: str, argv: list[str]) -> bool:
    """Return whether the object is there."""
    if any(name in os.environ for name in _STEERING):
        return False
    connection = connect(place)
    number = connection.fileno()
    wire.send(number, os.fsencode(os.getcwd()), b"\0".join(map(os.fsencode, argv)))
    answer = wire.receive(number, wire.LARGEST_COMMAND)
    if len(answer) != 2:  # noqa: PLR2004
        return False
    output, command = answer
    said = os.memfd_create("preprocessor")
    text = _preprocess(command.split(b"\0"), said)
    if text is None:
        return False
    wire.send(number, text)
    answer = wire.receive(number, wire.LARGEST_OBJECT + wire.MOST_MESSAGES)
    if len(answer) != 2:  # noqa: PLR2004
        return False
    diagnostics, content = answer
    _write_whole(output, content)
    os.write(2, os.pread(said, wire.LARGEST_TEXT, 0) + diagnostics)
    return True


def _restore_locale() -> None:
    """Remove LC_CTYPE if Python has set it (PEP 538): the compiler would quote in another way."""
    if os.environ.get("LC_CTYPE", "").startswith("C."):
        with open("/proc/self/environ", "rb") as file:
            if not any(entry.startswith(b"LC_CTYPE=") for entry in file.read().split(b"\0")):
                del os.environ["LC_CTYPE"]


def connect(place: str) -> _socket.socket:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    connection.connect(address(place))
    return connection


def address(place: str) -> str:
    """Return a socket's path, through an open folder where the path is longer than an address may be."""
    if len(os.fsencode(place)) <= _LONGEST_ADDRESS:
        return place
    folder, _, name = place.rpartition("/")
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)  # open until the process ends
    return f"/proc/self/fd/{descriptor}/{name}"


def _preprocess(command: list[bytes], said: int) -> bytes | None:
    """Return what the compiler prints; None if it fails, or prints too much. `said` is a file for its messages."""
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, said, 2)]
    child = os.posix_spawn(command[0], command, os.environ, file_actions=actions)
    os.close(writing)
    blocks, size = [], 0
    while size <= wire.LARGEST_TEXT and (block := os.read(reading, 1 << 20)):
        blocks.append(block)
        size += len(block)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return b"".join(blocks) if status == 0 and size <= wire.LARGEST_TEXT else None


def _write_whole(path: bytes, content: bytes) -> None:
    """Write a file under another name first: an interrupted build must leave no part of an object."""
    partial = b"%b.%d.part" % (path, os.getpid())
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.close(descriptor)
        os.replace(partial, path)
    except OSError:
        os.unlink(partial)
        raise
