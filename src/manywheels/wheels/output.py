"""The output folder, filled by atomic renames, owned by its parent's owner.

In a CI container the program is root in another user's workspace: new files get the owner of the nearest existing
folder. No symbolic link is followed: root could write through a repository's.
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

# Files besides the wheels.
MANIFEST: Final = "manywheels.json"
LEDGER: Final = "manywheels-ledger.json"
REPORT: Final = "manywheels-report.html"
JUNIT: Final = "manywheels-junit.xml"  # the default name
LOGS: Final = "logs"
BEFORE_ALL: Final = "before-all"  # a log of no target
RUN_LOGS: Final = (f"{BEFORE_ALL}*.log", "sdist*.log", "*-from-sdist.log")  # patterns for those that no target has
_CHUNK: Final = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class OutputFolder:
    """A writable folder, and the owner (ids) of new files in it."""

    path: Path
    owner: tuple[int, int]

    def deliver(self, file: Path, *, sha256: str | None = None, cancellation: Cancellation | None = None) -> Path:
        """Copy a finished file into the folder, atomically.

        `sha256` (hex) is that of the verified bytes. Raises TargetError, also if the file has changed since; Cancelled.
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
        """Create a target's empty log; return its path."""
        path = self.path / LOGS / f"{identifier}.log"
        create(path).close()
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Give a file or folder to the folder's owner."""
        chown(path, self.owner)


def _require_same(file: Path, found: str, sha256: str | None) -> None:
    if sha256 not in {None, found}:
        raise TargetError(
            f"{file.name} has the sha256 {found}; the verified file had {sha256}.",
            remedy="It was changed after verification: find out by what, and build again.",
        )


def copy(read: IO[bytes], write: IO[bytes], cancellation: Cancellation | None = None) -> str:
    """Return the copy's sha256 (hex). Raises Cancelled."""
    digest = hashlib.sha256()
    while piece := read.read(_CHUNK):
        if cancellation is not None:
            cancellation.stop_if_requested("The delivery")
        digest.update(piece)
        write.write(piece)
    return digest.hexdigest()


def open_output(path: Path) -> OutputFolder:
    """Create the folder and its log folder. Raises OutputFolderError if unwritable."""
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
            remedy="Name another with `output-dir`, or make it writable for this user.",
        ) from None
    return output
