"""The output folder: checked before anything is built, filled by atomic renames, owned as its surroundings are.

In a CI container the program runs as root in a workspace of somebody else; what it leaves there belongs to the owner of
the folder that was there before. A repository can bring symbolic links along, and root can write wherever they lead:
none is followed.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import chown, create, make_folder, refused_link, write_atomically
from manywheels.core.regular_files import open_regular
from manywheels.errors import OutputFolderError, TargetError

# The files of an output folder, besides the wheels.
MANIFEST: Final = "manywheels.json"
LEDGER: Final = "manywheels-ledger.json"
REPORT: Final = "manywheels-report.html"
JUNIT: Final = "manywheels-junit.xml"  # where nobody names another
LOGS: Final = "logs"
BEFORE_ALL: Final = "before-all"  # a log that is of no target
_PIECE: Final = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class OutputFolder:
    """A folder that can be written, and the user and group (ids) that own what is put there."""

    path: Path
    owner: tuple[int, int]

    def deliver(self, file: Path, *, sha256: str | None = None, cancellation: Cancellation | None = None) -> Path:
        """Move a finished file in by an atomic rename; nobody ever sees half of it.

        `sha256` (hex) is that of the bytes that were verified. Raises TargetError, also where the file has others by
        now; and Cancelled.
        """
        path = self.path / file.name
        try:
            with open_regular(file, links=False) as read, write_atomically(path, self.owner) as write:
                _require_same(file, copy(read, write, cancellation), sha256)
        except OSError as error:
            raise TargetError(
                f"{file.name} cannot be written into `{self.path}`: {error.strerror}.",
                remedy="Make room there, or name another folder with `output-dir`.",
            ) from None
        return path

    def log(self, identifier: str) -> Path:
        """Return the path of a target's log, empty."""
        path = self.path / LOGS / f"{identifier}.log"
        create(path).close()
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Hand a file or folder to the owner of the surroundings."""
        chown(path, self.owner)


def _require_same(file: Path, found: str, sha256: str | None) -> None:
    if sha256 not in {None, found}:
        raise TargetError(
            f"{file.name} has the sha256 {found}; verified was {sha256}.",
            remedy="Something changed it after it was verified: find out what, and build again.",
        )


def copy(read: IO[bytes], write: IO[bytes], cancellation: Cancellation | None = None) -> str:
    """Copy a stream, and return the sha256 (hex) of what was copied. Raises Cancelled between two pieces of it."""
    digest = hashlib.sha256()
    while piece := read.read(_PIECE):
        if cancellation is not None:
            cancellation.stop_if_requested("The delivery")
        digest.update(piece)
        write.write(piece)
    return digest.hexdigest()


def open_output(path: Path) -> OutputFolder:
    """Make the folder, with its logs below, and prove that it can be written.

    Raises OutputFolderError where it cannot, before anything is built.
    """
    path = path.absolute()
    try:
        output = OutputFolder(path=path, owner=make_folder(path))
        logs = path / LOGS
        if logs.is_symlink():
            raise refused_link(logs)
        if not logs.is_dir():
            logs.mkdir()
            output.give(logs)
        for folder in (path, logs):
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise OutputFolderError(
            f"The output folder `{path}` cannot be written: {error.strerror}.",
            remedy="Give another with `output-dir`, or make it writable for this user.",
        ) from None
    return output
