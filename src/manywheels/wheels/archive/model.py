"""Archives' data model, and access to their bytes."""

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
HINTS: Final = 0x6  # the compression level
DESCRIPTOR: Final = 0x8
UTF8: Final = 0x800
_INPUT: Final = 1 << 18  # bytes per read
_MOST_REPORTED: Final = 50  # irregularities of one kind that are kept


class Kind(StrEnum):
    """Where an irregularity is: the layout, a member's two headers, a size, or the data."""

    STRUCTURE = "structure"
    HEADERS = "headers"
    SIZE = "size"
    DATA = "data"


@dataclass(frozen=True, kw_only=True, slots=True)
class Irregularity:
    """A clause that follows the member's name; `member` is None for the whole archive."""

    kind: Kind
    message: str
    member: str | None = None


class Irregularities:
    """Collects irregularities, a limited number of each kind."""

    def __init__(self) -> None:
        self._kept: list[Irregularity] = []
        self._counts: Counter[Kind] = Counter()

    def add(self, kind: Kind, message: str, member: str | None = None) -> None:
        """Beyond the limit of its kind, an irregularity is only counted."""
        self._counts[kind] += 1
        if self._counts[kind] <= _MOST_REPORTED:
            self._kept.append(Irregularity(kind=kind, message=message, member=member))

    def all(self) -> tuple[Irregularity, ...]:
        """Return the irregularities, and one for each kind that had more."""
        more = [(kind, count - _MOST_REPORTED) for kind, count in self._counts.items() if count > _MOST_REPORTED]
        return (
            *self._kept,
            *(Irregularity(kind=kind, message=f"there are {count} more problems like these") for kind, count in more),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A member in the central directory; folders end in `/`.

    `name` is printable, `raw` as in the archive. `mode` has Unix permission and type bits, 0 if absent. `start` is the
    data's offset, None if unreadable or too large.
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
        """Whether installers treat it as a folder."""
        return self.raw.endswith(b"/")

    @property
    def is_encrypted(self) -> bool:
        return bool(self.flags & ENCRYPTED)

    @property
    def is_utf8(self) -> bool:
        """Whether the name is marked as UTF-8."""
        return bool(self.flags & UTF8)

    @property
    def unknown_flags(self) -> int:
        """Flags that installers need not support: patched data, and reserved ones."""
        return self.flags & ~(ENCRYPTED | HINTS | DESCRIPTOR | UTF8)

    @property
    def is_readable(self) -> bool:
        return self.start is not None and not self.is_encrypted and self.method in {STORED, DEFLATED}


class BadData(ValueError):
    """A member's data contradicts its headers."""


def printable(name: str) -> str:
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in name)


class ByteSource:
    """The file's bytes by offset; none outside of the file.

    `stop` is called before each read and may raise.
    """

    def __init__(self, descriptor: int, stop: Callable[[], None]) -> None:
        self._descriptor, self._stop = descriptor, stop
        self.size = os.fstat(descriptor).st_size

    def at(self, offset: int, count: int) -> bytes:
        self._stop()
        if not 0 <= offset < self.size or count <= 0:
            return b""
        return os.pread(self._descriptor, min(count, self.size - offset), offset)

    def pieces(self, offset: int, count: int) -> Iterator[bytes]:
        end = min(offset + count, self.size)
        while offset < end:
            piece = self.at(offset, min(_INPUT, end - offset))
            if not piece:
                return
            offset += len(piece)
            yield piece
