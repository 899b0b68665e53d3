"""Reading log files that project code wrote: regular files only, and a bounded part of each."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.regular_files import open_regular

BEGINNING: Final = 16 << 20  # bytes
ENDING: Final = 64 << 20
_PIECE: Final = 1 << 18  # bytes read at once


def _open_log(path: Path) -> BinaryIO:
    return open_regular(path, links=False)


def open_ends(path: Path, *, beginning: int = BEGINNING, ending: int = ENDING) -> BinaryIO:
    """Open a log's first and last bytes; a line between them counts those left out.

    Raises OSError, also for links and special files.
    """
    return io.BufferedReader(_Ends(_open_log(path), beginning, ending), buffer_size=_PIECE)


def is_longer(path: Path) -> bool:
    """Whether `open_ends` leaves out a part."""
    return path.lstat().st_size > BEGINNING + ENDING


def last_bytes(path: Path, count: int) -> bytes:
    """Raises OSError as `open_ends` does."""
    with _open_log(path) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - count))
        return file.read(count)


class _Ends(io.RawIOBase):
    def __init__(self, file: BinaryIO, beginning: int, ending: int) -> None:
        self._file, self._rest = file, b""
        self._pieces = _ends(file, beginning, ending)

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # what BufferedReader passes
        piece = self._rest or next(self._pieces, b"")
        count = min(len(piece), len(buffer))
        buffer[:count], self._rest = piece[:count], piece[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _ends(file: BinaryIO, beginning: int, ending: int) -> Iterator[bytes]:
    size = os.fstat(file.fileno()).st_size
    left_out = size - beginning - ending
    if left_out <= 0:
        yield from _part(file, 0, size)
        return
    yield from _part(file, 0, beginning)
    yield b"\n[manywheels: %d bytes of this log are left out here]\n" % left_out
    yield from _part(file, size - ending, ending)


def _part(file: BinaryIO, start: int, count: int) -> Iterator[bytes]:
    file.seek(start)
    while count and (piece := file.read(min(_PIECE, count))):
        count -= len(piece)
        yield piece
