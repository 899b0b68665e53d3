"""Reports as files: their place is proved before anything is built, and they appear whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from manywheels.errors import OutputFolderError
from manywheels.manifest import Manifest
from manywheels.output import OutputFolder, make_folder


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The files that were asked for: `html` for people, `junit` for a CI; None for what was not."""

    html: Path | None = None
    junit: Path | None = None

    def require(self) -> None:
        """Raise OutputFolderError where one of them could not be written."""
        for path, option in ((self.html, "report"), (self.junit, "junit")):
            if path:
                require_place(path, option)

    def write(self, manifest: Manifest, output: OutputFolder) -> None:
        """Write them, owned as the output folder's files are. Raises OutputFolderError."""
        from manywheels.report.html import write_report
        from manywheels.report.junit import write_junit

        if self.html:
            write_report(manifest, output.path, self.html)
            output.give(self.html)
        if self.junit:
            write_junit(manifest, self.junit)
            output.give(self.junit)


def require_place(path: Path, option: str) -> None:
    """Make the folder of a report and prove that it can be written.

    Raises OutputFolderError where it cannot, or where the path is a folder; `option` is what gave the path.
    """
    with _explained(path, option):
        make_folder(path.parent)
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass


@contextmanager
def whole_file(path: Path, option: str) -> Iterator[Path]:
    """Give a path to write to; what is there at the end becomes the report by a rename. Raises OutputFolderError."""
    partial = path.with_name(f".{path.name}.partial")
    with _explained(path, option):
        try:
            partial.unlink(missing_ok=True)  # a link, which whoever opens it would follow
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _explained(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFolderError(
            f"The report `{path}` cannot be written: {error.strerror}.", remedy=f"Give another place with `{option}`."
        ) from None
