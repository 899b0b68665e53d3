"""A strict, bounded reader of zip archives: the structure is read here, and nothing that a header says is believed.

After APPNOTE.TXT 6.3.10, sections 4.3 to 4.5. Whatever a reader that follows the central directory could see otherwise
than one that follows the local headers is an oddity; so is whatever no build tool writes. Reading goes on after an
oddity as far as it can, so that all of them can be told together. Memory does not depend on what the headers say: the
directory, the number of members and each piece of data are bounded (data/index.toml), and what would inflate beyond
the limits is not inflated.
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
    """Open an archive and read its structure; `stop` is called again and again, and may end the reading by an error.

    Raises OSError, also for what is no regular file, and for files that are larger than what may be in them;
    WheelFileError where there is no list of members.
    """
    with open_regular(path, largest=table("index")["archive"]["size"]) as file:
        yield Reader(path, ByteSource(file.fileno(), stop)).read()
