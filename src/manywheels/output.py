"""The output folder: checked before anything is built, filled by atomic renames, owned as its surroundings are.

In a CI container the program runs as root in a workspace of somebody else; what it leaves there belongs to the owner of
the folder that was there before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from manywheels.errors import OutputFolderError, TargetError

_LOGS = "logs"


@dataclass(frozen=True, kw_only=True)
class OutputFolder:
    """A folder that can be written, and the user and group (ids) that own what is put there."""

    path: Path
    owner: tuple[int, int]

    def deliver(self, file: Path) -> Path:
        """Move a finished file in by an atomic rename; nobody ever sees half of it. Raises TargetError."""
        partial = self.path / f".{file.name}.partial"
        try:
            shutil.copyfile(file, partial)
            self.give(partial)
            return partial.replace(self.path / file.name)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise TargetError(
                f"{file.name} cannot be written into `{self.path}`: {error.strerror}.",
                remedy="Make room there, or name another folder with `output-dir`.",
            ) from None
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def log(self, identifier: str) -> Path:
        """Return the path of a target's log, empty."""
        path = self.path / _LOGS / f"{identifier}.log"
        path.write_bytes(b"")
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Hand a file or folder to the owner of the surroundings."""
        if os.geteuid() == 0:
            os.chown(path, *self.owner)


def open_output(path: Path) -> OutputFolder:
    """Make the folder, with its logs below, and prove that it can be written.

    Raises OutputFolderError where it cannot, before anything is built.
    """
    path = path.absolute()
    try:
        existing = next(folder for folder in (path, *path.parents) if folder.exists())
        status = existing.stat()
        output = OutputFolder(path=path, owner=(status.st_uid, status.st_gid))
        for folder in [*reversed([path, *path.parents]), path / _LOGS]:
            if not folder.is_dir():
                folder.mkdir()
                output.give(folder)
        for folder in (path, path / _LOGS):
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise OutputFolderError(
            f"The output folder `{path}` cannot be written: {error.strerror}.",
            remedy="Give another with `output-dir`, or make it writable for this user.",
        ) from None
    return output
