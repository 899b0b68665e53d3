"""The values that reading an archive gives, and the bytes it is read from."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STORED: Final = 0
DEFLATED: Final = 8
ENCRYPTED: Final = 0x2041  # traditional, strong, and with masked headers
HINTS: Final = 0x6  # how hard it was to compress
DESCRIPTOR: Final = 0x8
UTF8: Final = 0x800
_INPUT: Final = 1 << 18  # bytes read at once
_MOST_TOLD: Final = 50  # oddities of one kind that are kept


class Kind(StrEnum):
    """What is odd: the archive's build, two headers of one member, a size, or the data."""

    STRUCTURE = "structure"
    HEADERS = "headers"
    SIZE = "size"
    DATA = "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Irregularity:
    """What no honest archive has, as a clause that goes on after the member's name (None: the archive as a whole)."""

    kind: Kind
    message: str
    member: str | None = None


class Irregularities:
    """Collects oddities, and of each kind no more than can be told."""

    def __init__(self) -> None:
        self._kept: list[Irregularity] = []
        self._counts: Counter[Kind] = Counter()

    def add(self, kind: Kind, message: str, member: str | None = None) -> None:
        """Take in one oddity."""
        self._counts[kind] += 1
        if self._counts[kind] <= _MOST_TOLD:
            self._kept.append(Irregularity(kind=kind, message=message, member=member))

    def all(self) -> tuple[Irregularity, ...]:
        """Return what was kept, and for each kind how much was not."""
        more = [(kind, count - _MOST_TOLD) for kind, count in self._counts.items() if count > _MOST_TOLD]
        return (
            *self._kept,
            *(Irregularity(kind=kind, message=f"there are {count} more problems like these") for kind, count in more),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A member as the central directory has it; folders end in `/`.

    `name` is fit to be shown, `raw` is what stands in the archive. `mode` holds the Unix permission and type bits (0
    where there are none), `start` the offset of the data: None where it cannot, or for its size must not, be read.
    """

    name: str
    raw: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    mode: int
    dos_attributes: int
    start: int | None = None

    @property
    def is_folder(self) -> bool:
        """Whether installers take it for a folder."""
        return self.raw.endswith(b"/")

    @property
    def is_encrypted(self) -> bool:
        """Whether the data is encrypted, in any of the ways."""
        return bool(self.flags & ENCRYPTED)

    @property
    def is_utf8(self) -> bool:
        """Whether the name is marked as UTF-8."""
        return bool(self.flags & UTF8)

    @property
    def unknown_flags(self) -> int:
        """The flags that no installer needs to know: patched data, and those that have no meaning."""
        return self.flags & ~(ENCRYPTED | HINTS | DESCRIPTOR | UTF8)

    @property
    def is_readable(self) -> bool:
        """Whether `Archive.read` can give the data."""
        return self.start is not None and not self.is_encrypted and self.method in {STORED, DEFLATED}


class BadData(ValueError):
    """A member's data is not what its headers say."""


def printable(name: str) -> str:
    """Return a name with everything escaped that a terminal would not print as it is."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


class ByteSource:
    """The file's bytes, by offset. What lies outside is empty, not an error.

    Whatever reads an archive comes by here for every header and every piece of data: `stop` is called each time, and
    raises what shall end the reading.
    """

    def __init__(self, descriptor: int, stop: Callable[[], None]) -> None:
        self._descriptor, self._stop = descriptor, stop
        self.size = os.fstat(descriptor).st_size

    def at(self, offset: int, count: int) -> bytes:
        """Return as many of these bytes as there are."""
        self._stop()
        if not 0 <= offset < self.size or count <= 0:
            return b""
        return os.pread(self._descriptor, min(count, self.size - offset), offset)

    def pieces(self, offset: int, count: int) -> Iterator[bytes]:
        """Yield these bytes in pieces."""
        end = min(offset + count, self.size)
        while offset < end:
            piece = self.at(offset, min(_INPUT, end - offset))
            if not piece:
                return
            offset += len(piece)
            yield piece
