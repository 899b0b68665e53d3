"""Messages between a compiler's wrapper, the program and its workers: some fields of bytes, each after its length.

For processes that must start fast: it imports nothing but `os`.
"""

from __future__ import annotations

import os

OBJECT = "unit.o"  # the file that a worker's compiler makes
# In bytes. What is larger, a target compiles by itself.
LARGEST_COMMAND = 1 << 20
LARGEST_TEXT = 1 << 25  # preprocessed
LARGEST_OBJECT = 1 << 26
MOST_MESSAGES = 1 << 20  # of a compiler: the rest is left out
_LENGTH = 8  # bytes of a number, big-endian
_MOST_FIELDS = 8
_BLOCK = 1 << 20


class Ended(Exception):
    """The other side has gone, or does not keep to the protocol."""


def send(descriptor: int, *fields: bytes) -> None:
    """Raises Ended."""
    numbers = (len(fields), *map(len, fields))
    head = b"".join(number.to_bytes(_LENGTH, "big") for number in numbers)
    for data in (head, *fields):
        _write(descriptor, memoryview(data))


def receive(descriptor: int, limit: int) -> list[bytes]:
    """Return a message's fields, of together at most `limit` bytes. Raises Ended."""
    return receive_fields(descriptor, receive_lengths(descriptor, limit))


def receive_lengths(descriptor: int, limit: int) -> list[int]:
    """Return the lengths of a message's fields, which come next. Raises Ended."""
    count = _number(descriptor)
    if count > _MOST_FIELDS:
        raise Ended
    lengths = [_number(descriptor) for _ in range(count)]
    if sum(lengths) > limit:
        raise Ended
    return lengths


def receive_fields(descriptor: int, lengths: list[int]) -> list[bytes]:
    """Return the fields of a message whose lengths have been received. Raises Ended."""
    return [_read(descriptor, length) for length in lengths]


def _number(descriptor: int) -> int:
    return int.from_bytes(_read(descriptor, _LENGTH), "big")


def _read(descriptor: int, length: int) -> bytes:
    blocks = []
    while length:
        try:
            block = os.read(descriptor, min(length, _BLOCK))
        except OSError:  # also BlockingIOError, after the socket's time limit
            block = b""
        if not block:
            raise Ended
        blocks.append(block)
        length -= len(block)
    return b"".join(blocks)


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except OSError:
            raise Ended from None
