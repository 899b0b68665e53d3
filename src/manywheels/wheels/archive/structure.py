"""An archive's end record, central directory and local headers, compared with each other."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manywheels.data import table
from manywheels.errors import WheelFileError
from manywheels.wheels.archive.data import Archive
from manywheels.wheels.archive.model import (
    DESCRIPTOR,
    HINTS,
    STORED,
    ByteSource,
    Entry,
    Irregularities,
    Kind,
    printable,
)

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
_LOCAL_SIGN, _CENTRAL_SIGN, _DESCRIPTOR_SIGN = b"PK\3\4", b"PK\1\2", b"PK\7\x08"
_END_SIGN, _END64_SIGN, _LOCATOR64_SIGN = b"PK\5\6", b"PK\6\6", b"PK\6\7"


_ZIP64_FIELD: Final = 0x0001
_UNICODE_PATH_FIELD: Final = 0x7075
_IN_ZIP64: Final = 0xFFFFFFFF
_ONE_SIZE: Final = 8  # bytes of a zip64 field
_COUNT_IN_ZIP64: Final = 0xFFFF
_HIGHEST_VERSION: Final = 63  # the highest that CPython's zipfile reads


@dataclass(frozen=True, kw_only=True)
class _Directory:
    """Where the central directory is; `shift` is added to each offset in it."""

    start: int
    size: int
    shift: int
    count: int


class Reader:
    """Reads one archive's structure."""

    def __init__(self, path: Path, source: ByteSource) -> None:
        self._path, self._source = path, source
        self._irregularities = Irregularities()
        self._limits: dict[str, int] = table("index")["archive"]
        self._header_budget = self._limits["directory"]  # bytes of names and extra fields in local headers
        self._complete = True

    def read(self) -> Archive:
        """Raises WheelFileError if there is no central directory."""
        directory = self._directory()
        entries = self._bounded(self._located(list(self._entries(directory)), directory))
        return Archive(self._source, entries, self._irregularities.all(), complete=self._complete)

    def _structure(self, message: str, member: str | None = None) -> None:
        self._irregularities.add(Kind.STRUCTURE, message, member)

    # --- the end record ----------------------------------------------------------------------------------------------

    def _end(self) -> int:
        """Return the offset of the last end record, preferably of one whose comment ends with the file."""
        start = max(0, self._source.size - _END.size - 0xFFFF)
        tail = self._source.at(start, _END.size + 0xFFFF)
        place, last = len(tail) - _END.size + len(_END_SIGN), -1
        while (place := tail.rfind(_END_SIGN, 0, max(place, 0))) >= 0:
            last = max(place, last)
            if place + _END.size + int.from_bytes(tail[place + 20 : place + 22], "little") == len(tail):
                return start + place
            place += len(_END_SIGN) - 1
        if last < 0:
            raise WheelFileError(
                f"`{self._path}` cannot be read as a wheel: it is no zip archive, or its end is missing.",
                remedy="Build it again, or download it again.",
            )
        return start + last

    def _directory(self) -> _Directory:
        end = self._end()
        _, disk, first_disk, here, count, size, offset, comment = _END.unpack(self._source.at(end, _END.size))
        after = self._source.size - end - _END.size
        if _END_SIGN in self._source.at(end + _END.size, comment):
            self._structure("the comment on the archive can be read as the archive's end")
        if after > comment:
            self._structure(f"there are {after - comment} bytes after the archive")
        elif after < comment:
            self._structure("the archive is truncated within its comment")
        claims, end, record64 = self._zip64((here, count, size, offset), end)
        here, count, size, offset = claims
        if disk or first_disk or here != count:
            self._structure("the archive says that it is one of several parts")
        start = end - size
        if not self._begins_directory(start, size):
            if not self._begins_directory(offset, size) or offset > end:
                raise WheelFileError(
                    f"`{self._path}` cannot be read as a wheel: there is no list of members where its end says.",
                    remedy="Build it again, or download it again.",
                )
            self._structure("the list of members does not end where the archive's end says")
            return _Directory(start=offset, size=min(size, end - offset), shift=0, count=count)
        shift = start - offset
        if shift > 0:
            self._structure(
                f"there are {shift} bytes before the archive, or the offset of its list of members is wrong"
            )
        elif shift < 0:
            self._structure("the offset of the list of members is wrong")
        if record64 is not None and record64 + shift != end:
            self._structure("the zip64 locator does not point to the zip64 record")
        return _Directory(start=start, size=size, shift=shift, count=count)

    def _begins_directory(self, offset: int, size: int) -> bool:
        return self._source.at(offset, 4) == _CENTRAL_SIGN if size else 0 <= offset <= self._source.size

    def _zip64(self, claims: tuple[int, ...], end: int) -> tuple[tuple[int, ...], int, int | None]:
        """Return the claims corrected by the zip64 record, the directory's end, and the record's offset."""
        locator = self._source.at(end - _LOCATOR64.size, _LOCATOR64.size)
        if not locator.startswith(_LOCATOR64_SIGN):
            return claims, end, None
        _, disk, offset, disks = _LOCATOR64.unpack(locator)
        place = end - _LOCATOR64.size - _END64.size
        record = self._source.at(place, _END64.size)
        if len(record) < _END64.size or not record.startswith(_END64_SIGN):
            self._structure("there is a zip64 locator without the zip64 record before it")
            return claims, end - _LOCATOR64.size, None
        _, length, _, _, this_disk, first_disk, *found = _END64.unpack(record)
        if length != _END64.size - 12 or disk or disks > 1 or this_disk or first_disk:
            self._structure("the zip64 record is not as build tools write it")
        in_64 = (_COUNT_IN_ZIP64, _COUNT_IN_ZIP64, _IN_ZIP64, _IN_ZIP64)
        if any(claim not in {mark, value} for claim, mark, value in zip(claims, in_64, found, strict=True)):
            self._structure("the zip64 record and the end record disagree")
        return tuple(found), place, offset

    # --- the directory ------------------------------------------------------------------------------------------------

    def _entries(self, directory: _Directory) -> Iterator[Entry]:
        content = self._source.at(directory.start, min(directory.size, self._limits["directory"]))
        self._complete = directory.size <= len(content)
        place = count = 0
        while place < len(content):
            if count == self._limits["members"]:
                self._complete = False
                break
            fields = content[place : place + _CENTRAL.size]
            if len(fields) < _CENTRAL.size or not fields.startswith(_CENTRAL_SIGN):
                break
            length = _CENTRAL.size + sum(struct.unpack("<3H", fields[28:34]))
            if place + length > len(content):
                break
            yield self._entry(content[place : place + length], directory.shift)
            place, count = place + length, count + 1
        if not self._complete:
            self._irregularities.add(
                Kind.SIZE,
                f"the archive has more than {self._limits['members']} members, or more than {self._limits['directory']}"
                " bytes of headers: the rest was not read",
            )
        elif place < len(content):
            self._complete = False
            self._structure(f"the list of members cannot be read after {count}")
        elif count != directory.count:
            self._structure(f"the archive has {count} members; its end says {directory.count}")

    def _entry(self, record: bytes, shift: int) -> Entry:
        (_, _, version, flags, method, _, _, crc, compressed, size, name_size, extra_size, _, disk, _, attributes,
         offset) = _CENTRAL.unpack_from(record)  # fmt: skip
        raw = record[_CENTRAL.size : _CENTRAL.size + name_size]
        name = printable(_decoded(raw))
        extra = record[_CENTRAL.size + name_size : _CENTRAL.size + name_size + extra_size]
        if len(record) > _CENTRAL.size + name_size + extra_size:
            self._structure("has a comment", name)
        if disk not in {0, _COUNT_IN_ZIP64} or version & 0xFF > _HIGHEST_VERSION:
            self._structure("needs another disk, or a newer version of zip than exists", name)
        size, compressed, offset = self._extra(name, raw, extra, (size, compressed, offset))
        return Entry(name=name, raw=raw, flags=flags, method=method, crc=crc, compressed=compressed, size=size,
                     offset=offset + shift, mode=attributes >> 16, dos_attributes=attributes & 0xFF)  # fmt: skip

    def _extra(
        self, name: str, raw: bytes, extra: bytes, values: tuple[int, ...], *, one_size_is_both: bool = True
    ) -> tuple[int, ...]:
        """Return sizes (and offset) corrected by the zip64 field; report ambiguous fields.

        Some readers use a field with one size for the compressed size, too.
        """
        seen: set[int] = set()
        place, found = 0, values
        while place + 4 <= len(extra):
            field, length = struct.unpack_from("<HH", extra, place)
            content = extra[place + 4 : place + 4 + length]
            place += 4 + length
            if field in seen and field in {_ZIP64_FIELD, _UNICODE_PATH_FIELD}:
                self._irregularities.add(Kind.HEADERS, "has an extra field twice", name)
            elif field == _UNICODE_PATH_FIELD and content[5:] != raw:
                self._irregularities.add(Kind.HEADERS, "has a second name in its extra fields", name)
            elif field == _ZIP64_FIELD:
                corrected = _zip64_values(content, values)
                if corrected is None or (len(content) == _ONE_SIZE and not one_size_is_both):
                    self._irregularities.add(Kind.HEADERS, "has a zip64 field that can be read in two ways", name)
                found = corrected or found
            seen.add(field)
        if place != len(extra):
            self._irregularities.add(Kind.HEADERS, "has a damaged extra field", name)
        elif _ZIP64_FIELD not in seen and _IN_ZIP64 in values:
            self._irregularities.add(Kind.HEADERS, "refers to a zip64 field that is missing", name)
        return found

    # --- the members --------------------------------------------------------------------------------------------------

    def _located(self, entries: list[Entry], directory: _Directory) -> list[Entry]:
        """Read every local header; members must follow one another, up to the directory."""
        expected: int | None = max(directory.shift, 0)
        for index in sorted(range(len(entries)), key=lambda index: entries[index].offset):
            entry = entries[index]
            if expected is not None and entry.offset < expected:
                self._structure("shares its bytes with another member", entry.name)
                continue
            self._report_gap(expected, entry.offset)
            start = self._data_start(entry)
            expected = None
            if start is None:
                continue
            expected = start + entry.compressed + self._descriptor_size(entry, start + entry.compressed)
            if expected > directory.start:
                self._structure("extends into the list of members", entry.name)
                expected = None
                continue
            entries[index] = replace(entry, start=start)
        if self._complete or not entries:
            self._report_gap(expected, directory.start)
        return entries

    def _report_gap(self, begin: int | None, end: int) -> None:
        if begin is None or begin >= end:
            return
        is_member = self._source.at(begin, 4) == _LOCAL_SIGN
        what = "a member that is not in the list" if is_member else "of no member"
        self._structure(f"the {end - begin} bytes at offset {begin} are {what}")

    def _data_start(self, entry: Entry) -> int | None:
        header = self._source.at(entry.offset, _LOCAL.size)
        if len(header) < _LOCAL.size or not header.startswith(_LOCAL_SIGN):
            self._irregularities.add(Kind.HEADERS, "has no local header where the list of members says", entry.name)
            return None
        _, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = _LOCAL.unpack(header)
        self._header_budget -= name_size + extra_size
        if self._header_budget < 0:  # a sparse file can have any number
            self._irregularities.add(Kind.SIZE, "has headers beyond the limit for all members together", entry.name)
            return None
        rest = self._source.at(entry.offset + _LOCAL.size, name_size + extra_size)
        if len(rest) < name_size + extra_size:
            self._irregularities.add(Kind.HEADERS, "has a truncated local header", entry.name)
            return None
        name, extra = rest[:name_size], rest[name_size:]
        stored = entry.method == STORED
        size, compressed = self._extra(entry.name, entry.raw, extra, (size, compressed), one_size_is_both=stored)
        streamed = bool((flags | entry.flags) & DESCRIPTOR)
        if streamed:
            self._irregularities.add(Kind.HEADERS, "has a data descriptor", entry.name)
        unknown = streamed and not crc and not size and not compressed
        pairs = {
            "name": (name, entry.raw),
            "flags": (flags & ~HINTS, entry.flags & ~HINTS),
            "compression method": (method, entry.method),
            "CRC": (crc, entry.crc if not unknown else 0),
            "size": (size, entry.size if not unknown else 0),
            "compressed size": (compressed, entry.compressed if not unknown else 0),
        }
        differing = [what for what, (local, central) in pairs.items() if local != central]
        if differing:
            self._irregularities.add(
                Kind.HEADERS, f"has two headers that disagree ({', '.join(differing)})", entry.name
            )
        return entry.offset + _LOCAL.size + len(rest)

    def _descriptor_size(self, entry: Entry, offset: int) -> int:
        if not entry.flags & DESCRIPTOR:
            return 0
        found = self._source.at(offset, 24)
        for form in ("<LLL", "<LQQ"):
            fits = entry.size <= _IN_ZIP64 and entry.compressed <= _IN_ZIP64
            values = struct.pack(form, entry.crc, entry.compressed, entry.size) if fits or "Q" in form else b""
            for descriptor in (_DESCRIPTOR_SIGN + values, values):
                if values and found.startswith(descriptor):
                    return len(descriptor)
        return 0

    # --- sizes --------------------------------------------------------------------------------------------------------

    def _bounded(self, entries: list[Entry]) -> list[Entry]:
        """If all together inflates too far, keep only small *.dist-info files."""
        ratio, ratio_from = self._limits["ratio"], self._limits["ratio-from"]
        total = sum(entry.size for entry in entries if entry.start is not None)
        if total <= self._limits["size"] and (total <= ratio_from or total <= ratio * self._source.size):
            return entries
        self._irregularities.add(
            Kind.SIZE,
            f"the members inflate to {total} bytes together, more than {ratio} times the archive's size"
            f" or more than {self._limits['size']}",
        )
        left = self._limits["texts"]
        for index, entry in enumerate(entries):
            kept = b".dist-info/" in entry.raw and entry.size <= left
            left -= entry.size if kept else 0
            entries[index] = entry if kept else replace(entry, start=None)
        return entries


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _zip64_values(content: bytes, values: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the values completed from the field (4.5.3); None if ambiguous."""
    numbers = list(struct.unpack_from(f"<{len(content) // 8}Q", content))
    missing = sum(value == _IN_ZIP64 for value in values)
    if len(content) not in {0, 8, 16, 24, 28} or len(numbers) < missing:
        return None
    remaining = iter(numbers)
    found = tuple(next(remaining) if value == _IN_ZIP64 else value for value in values)
    # Some readers use the fields in order, whatever the header says: both must get the same.
    if len(numbers) > missing and numbers != list(found[: len(numbers)]):
        return None
    return found
