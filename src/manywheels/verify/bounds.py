"""Bounds for distributions before twine, which trusts the sizes in archives, reads them.

A tar is inflated once, in pieces, and each header is checked: `tarfile` holds long names and extended headers in
memory, whatever their size.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.regular_files import open_regular
from manywheels.data import table
from manywheels.errors import WheelFileError
from manywheels.wheels.archive import open_archive

_PIECE: Final = 1 << 20  # bytes
_DESCRIBING: Final = (b"x", b"g", b"X", b"L", b"K")  # types of members that describe the next (pax, GNU)
_OTHER_SIZES: Final = (b" size=", b" GNU.sparse.")  # pax keywords
_MOST_MEMBERS: Final = 200_000
_LONGEST_HEADER: Final = _PIECE  # bytes of a describing member
_DECLARATIONS: Final = ("METADATA", "PKG-INFO")


class Unbounded(Exception):
    """A file cannot be read within bounds; the text says why, as a clause."""


def require_bounded(path: Path, cancellation: Cancellation) -> None:
    """Raises Unbounded if reading a distribution could take unbounded time or memory, and Cancelled."""
    if path.name.endswith(".tar.gz"):
        _require_bounded_tar(path, cancellation)
    else:
        _require_bounded_zip(path, cancellation)


def _require_bounded_zip(path: Path, cancellation: Cancellation) -> None:
    longest: int = table("index")["archive"]["text"]
    try:
        with open_archive(path, lambda: cancellation.stop_if_requested("Reading the distributions")) as archive:
            if not archive.complete:
                raise Unbounded("it has more members than can be read")
            for entry in archive.entries:
                if entry.size > longest and any(name in entry.name for name in _DECLARATIONS):
                    raise Unbounded(f"its `{entry.name}` has {entry.size:,} bytes, more than {longest:,}")
    except WheelFileError:
        return  # not an archive: twine reports it
    except OSError as error:
        raise Unbounded(str(error.strerror)) from None


def _require_bounded_tar(path: Path, cancellation: Cancellation) -> None:
    limits: dict[str, int] = table("index")["archive"]
    try:
        with open_regular(path, largest=limits["size"]) as file, gzip.open(file) as stream:
            _require_bounded_members(_BoundedStream(stream, limits["size"], cancellation), limits["text"])
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError):
        return  # not an archive, or damaged: twine reports it
    except OSError as error:
        raise Unbounded(str(error.strerror or error)) from None


class _BoundedStream:
    """A stream of at most `most` bytes. Reading raises Unbounded beyond them, and Cancelled."""

    def __init__(self, stream: gzip.GzipFile, most: int, cancellation: Cancellation) -> None:
        self._stream, self._left, self._most, self._cancellation = stream, most, most, cancellation

    def read(self, count: int) -> bytes:
        self._cancellation.stop_if_requested("Reading the distributions")
        piece = self._stream.read(min(count, _PIECE))
        self._left -= len(piece)
        if self._left < 0:
            raise Unbounded(f"it inflates to more than {self._most:,} bytes")
        return piece

    def skip(self, count: int) -> None:
        while count > 0 and (piece := self.read(count)):
            count -= len(piece)


def _require_bounded_members(stream: _BoundedStream, longest: int) -> None:
    """Check every header (POSIX pax, "ustar Interchange Format"; the GNU tar manual)."""
    described = b""  # an extended header's text on the next member
    for _ in range(_MOST_MEMBERS):
        block = stream.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE or block.count(0) == tarfile.BLOCKSIZE:
            return
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        padded = -(-header.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        is_declaration = header.name.endswith(_DECLARATIONS) or any(
            name.encode() in described for name in _DECLARATIONS
        )
        if header.type in _DESCRIBING and header.size > _LONGEST_HEADER:
            raise Unbounded(f"it has a header of {header.size:,} bytes")
        if header.type in _DESCRIBING:
            described = stream.read(padded)
        elif is_declaration and header.size > longest:
            raise Unbounded(f"its `{header.name}` has {header.size:,} bytes, more than {longest:,}")
        else:
            described = b""
            stream.skip(padded)
        if header.type == tarfile.GNUTYPE_SPARSE or any(word in described for word in _OTHER_SIZES):
            raise Unbounded("a member declares another size than it has bytes")
    raise Unbounded(f"it has more than {_MOST_MEMBERS:,} members")
