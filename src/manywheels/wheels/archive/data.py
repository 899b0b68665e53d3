"""An archive's data, inflated in chunks, with size and CRC recomputed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Final

from manywheels.wheels.archive.model import STORED, BadData, ByteSource, Entry, Irregularity

_PIECE: Final = 1 << 20  # bytes inflated at once
_LEAST_PIECE: Final = 1 << 16


class Archive:
    """An open archive. `complete` is false if the directory was not read to its end."""

    def __init__(
        self, source: ByteSource, entries: Sequence[Entry], irregularities: Sequence[Irregularity], *, complete: bool
    ) -> None:
        self._source = source
        self.entries = tuple(entries)
        self.irregularities = tuple(irregularities)
        self.complete = complete

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        return self._source.size

    def digest(self) -> str:
        """Return the sha256 (hex) of the open file, whatever has its name now."""
        digest = hashlib.sha256()
        for piece in self._source.pieces(0, self._source.size):
            digest.update(piece)
        return digest.hexdigest()

    def read(self, entry: Entry) -> Iterator[bytes]:
        """Yield a member's data, in pieces of 64 KiB (but the last) to about 1 MiB.

        Raises BadData, after the last piece at the latest, for a wrong size, CRC or compression: only the end proves
        the pieces good. At most 1 MiB beyond the size in the directory is inflated.
        """
        pieces: list[bytes] = []
        size = crc = waiting = 0
        for piece in self._pieces(entry):
            size, waiting, crc = size + len(piece), waiting + len(piece), zlib.crc32(piece, crc)
            if size > entry.size:
                raise BadData(f"has more than the {entry.size} bytes that its header says")
            pieces.append(piece)
            if waiting >= _LEAST_PIECE:
                yield b"".join(pieces)
                pieces, waiting = [], 0
        if waiting:
            yield b"".join(pieces)
        if size != entry.size:
            raise BadData(f"has {size} bytes; its header says {entry.size}")
        if crc != entry.crc:
            raise BadData(f"has the CRC {crc:08x}; its header says {entry.crc:08x}")

    def _pieces(self, entry: Entry) -> Iterator[bytes]:
        if not entry.is_readable or entry.start is None:
            raise BadData("cannot be read")
        raw = self._source.pieces(entry.start, entry.compressed)
        return raw if entry.method == STORED else _inflated(raw)


def _inflated(raw: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for data in raw:
        if inflate.eof:
            break
        rest = data
        while True:
            try:
                piece = inflate.decompress(rest, _PIECE)
            except zlib.error as error:
                raise BadData(f"cannot be inflated ({error})") from None
            if piece:
                yield piece
            rest = inflate.unconsumed_tail
            if inflate.eof or (not rest and len(piece) < _PIECE):
                break
    else:
        if not inflate.eof:
            raise BadData("cannot be inflated (it is truncated)")
        if not inflate.unused_data:
            return
    raise BadData("has bytes after the end of its compressed data")
