"""Reports as files: paths checked before building, atomic writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manywheels.core.files import require_place
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import OutputFolder


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The reports' paths, None if not requested."""

    html: Path | None = None
    junit: Path | None = None

    def require(self) -> None:
        """Raises OutputFolderError if a report could not be written."""
        for path, option in ((self.html, "report"), (self.junit, "junit")):
            if path:
                require_place(path, option)

    def write(self, manifest: Manifest, output: OutputFolder) -> None:
        """The reports belong to the output folder's owner. Raises OutputFolderError."""
        from manywheels.report.html import write_report
        from manywheels.report.junit import write_junit

        if self.html:
            write_report(manifest, output.path, self.html)
            output.give(self.html)
        if self.junit:
            write_junit(manifest, self.junit)
            output.give(self.junit)
