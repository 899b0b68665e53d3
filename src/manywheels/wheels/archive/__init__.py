"""A strict, bounded reader of zip archives (APPNOTE.TXT 6.3.10, sections 4.3 to 4.5) that trusts no header.

An irregularity is what readers of the central directory and of the local headers see differently, or what no build
tool writes. Reading goes on after one if possible, so that all are reported together. The directory, the number of
members and the data have limits (data/index.toml): memory use does not depend on the headers, and data beyond the
limits is not inflated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manywheels.core.regular_files import open_regular
from manywheels.data import table
from manywheels.wheels.archive.data import Archive
from manywheels.wheels.archive.model import (
    DEFLATED,
    STORED,
    BadData,
    ByteSource,
    Entry,
    Irregularities,
    Irregularity,
    Kind,
    printable,
)
from manywheels.wheels.archive.structure import Reader

__all__ = [
    "DEFLATED",
    "STORED",
    "Archive",
    "BadData",
    "Entry",
    "Irregularities",
    "Irregularity",
    "Kind",
    "open_archive",
    "printable",
]  # fmt: skip


@contextmanager
def open_archive(path: Path, stop: Callable[[], None] = lambda: None) -> Iterator[Archive]:
    """Open an archive and read its structure; `stop` is called often, and may raise to end the reading.

    Raises OSError, also if it is no regular file or too large; WheelFileError if there is no central directory.
    """
    with open_regular(path, largest=table("index")["archive"]["size"]) as file:
        yield Reader(path, ByteSource(file.fileno(), stop)).read()
