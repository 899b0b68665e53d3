"""A strict, bounded reader of zip archives (APPNOTE.TXT 6.3.10, 4.3 to 4.5) that trusts no header.

An irregularity is what readers can see differently, or what no build tool writes; all are reported. Limits
(data/index.toml) keep memory use independent of the headers.
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
    """Open an archive and read its structure; `stop` is called often and may raise.

    Raises OSError, also for a file that is not regular or too large; WheelFileError without a central directory.
    """
    with open_regular(path, largest=table("index")["archive"]["size"]) as file:
        yield Reader(path, ByteSource(file.fileno(), stop)).read()
