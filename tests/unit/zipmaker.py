"""A small zip writer that can lie in every field: a truth, and for each header what it says instead.

The layout is APPNOTE.TXT's, sections 4.3 to 4.5. Without lies the archive is one that every reader takes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

STORED: Final = 0
DEFLATED: Final = 8
ENCRYPTED: Final = 0x1
DESCRIPTOR: Final = 0x8
UTF8: Final = 0x800

_TIME, _DATE = 0, 0x5A21  # 2025-01-01, midnight
_IN_ZIP64: Final = 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True)
class Lies:
    """What one header says in place of the truth; None: the truth. `offset`, `disk` and `comment` are central only."""

    signature: bytes | None = None
    version: int | None = None
    name: bytes | None = None
    flags: int | None = None
    method: int | None = None
    crc: int | None = None
    compressed: int | None = None
    size: int | None = None
    extra: bytes | None = None
    offset: int | None = None
    disk: int = 0
    comment: bytes = b""


@dataclass(frozen=True, kw_only=True)
class MemberSpec:
    """A member. `data` is what lies in the archive in place of the compressed content, `before` and `descriptor` are
    bytes before its header and after its data; `zip64` puts the sizes into the local header's zip64 field.
    """

    name: str | bytes
    content: bytes = b""
    method: int = DEFLATED
    mode: int = 0o100644
    dos_attributes: int = 0
    flags: int | None = None  # None: none, and UTF-8 where the name needs it
    data: bytes | None = None
    zip64: bool = False
    before: bytes = b""
    descriptor: bytes = b""
    listed: bool = True  # in the central directory
    present: bool = True  # with a local header and data
    local: Lies = Lies()
    central: Lies = Lies()

    @cached_property
    def raw_name(self) -> bytes:
        """The name as it is written."""
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @cached_property
    def raw_data(self) -> bytes:
        """The data as it is written."""
        if self.data is not None:
            return self.data
        if self.method != DEFLATED:
            return self.content
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return deflate.compress(self.content) + deflate.flush()

    @cached_property
    def crc(self) -> int:
        """The content's checksum."""
        return zlib.crc32(self.content)

    def lying(self, **lies: object) -> MemberSpec:
        """Return the member with both headers saying the same untruth."""
        both = replace(self.local, **lies)  # type: ignore[arg-type]
        return replace(self, local=both, central=both)


@dataclass(frozen=True, kw_only=True)
class ZipFileSpec:
    """An archive. `prefix` stands before it (the offsets count it where `counted`), `gap` before the directory, `after`
    between the directory and its end; numbers that are None are the truth.
    """

    members: tuple[MemberSpec, ...] = ()
    prefix: bytes = b""
    counted: bool = True
    gap: bytes = b""
    after: bytes = b""
    comment: bytes = b""
    tail: bytes = b""
    zip64: bool = False
    count: int | None = None
    count_here: int | None = None
    directory_size: int | None = None
    directory_offset: int | None = None
    comment_size: int | None = None
    disk: int = 0
    locator_offset: int | None = None

    def to_bytes(self) -> bytes:
        """Return the archive."""
        parts, length, directory = [self.prefix], len(self.prefix), bytearray()
        uncounted = 0 if self.counted else len(self.prefix)
        for member in self.members:
            here = [member.before]
            if member.present:
                here += (_local(member), member.raw_data, member.descriptor)
            directory += _central(member, length + len(member.before) - uncounted) * member.listed
            parts += here
            length += sum(map(len, here))
        end = self._end(length + len(self.gap) - uncounted, len(directory))
        return b"".join((*parts, self.gap, directory, self.after, end, self.comment, self.tail))

    def _end(self, start: int, length: int) -> bytes:
        count = sum(member.listed for member in self.members)
        count = count if self.count is None else self.count
        here = count if self.count_here is None else self.count_here
        size = length if self.directory_size is None else self.directory_size
        offset = start if self.directory_offset is None else self.directory_offset
        comment = len(self.comment) if self.comment_size is None else self.comment_size
        if not self.zip64:
            return struct.pack("<4s4H2LH", b"PK\5\6", self.disk, self.disk, here, count, size, offset, comment)
        place = start + length + len(self.after) if self.locator_offset is None else self.locator_offset
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, self.disk, self.disk, here, count, size, offset)
        locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
        classic = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, _IN_ZIP64, _IN_ZIP64, comment)
        return record + locator + classic


def _fields(member: MemberSpec, lies: Lies) -> tuple[int, int, int, int, int, int, bytes]:
    """Return version, flags, method, CRC, compressed size, size and name, as a header is to say them."""
    flags = member.flags if member.flags is not None else 0 if member.raw_name.isascii() else UTF8
    truth = (20, flags, member.method, member.crc, len(member.raw_data), len(member.content))
    told = (lies.version, lies.flags, lies.method, lies.crc, lies.compressed, lies.size)
    version, flags, method, crc, compressed, size = (
        true if lie is None else lie for true, lie in zip(truth, told, strict=True)
    )
    return version, flags, method, crc, compressed, size, member.raw_name if lies.name is None else lies.name


def _local(member: MemberSpec) -> bytes:
    lies = member.local
    version, flags, method, crc, compressed, size, name = _fields(member, lies)
    extra = lies.extra or b""
    if member.zip64:
        extra, size, compressed = struct.pack("<HHQQ", 1, 16, size, compressed) + extra, _IN_ZIP64, _IN_ZIP64
    header = struct.pack("<4s5H3L2H", lies.signature or b"PK\3\4", version, flags, method, _TIME, _DATE, crc,
                         compressed, size, len(name), len(extra))  # fmt: skip
    return header + name + extra


def _central(member: MemberSpec, offset: int) -> bytes:
    lies = member.central
    version, flags, method, crc, compressed, size, name = _fields(member, lies)
    extra, offset = lies.extra or b"", offset if lies.offset is None else lies.offset
    header = struct.pack(
        "<4s6H3L5H2L", lies.signature or b"PK\1\2", 3 << 8 | 20, version, flags, method, _TIME, _DATE, crc, compressed,
        size, len(name), len(extra), len(lies.comment), lies.disk, 0, member.mode << 16 | member.dos_attributes, offset,
    )  # fmt: skip
    return header + name + extra + lies.comment
