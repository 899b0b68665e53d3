"""Reports as files: paths checked before building, atomic writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from manywheels.build.trace import NO_TRACE, Trace
from manywheels.core.files import require_place
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import OutputFolder


@dataclass(frozen=True, kw_only=True)
class Reports:
    """The reports' paths, None if not requested."""

    html: Path | None = None
    junit: Path | None = None
    trace: Path | None = None

    def require(self) -> None:
        """Raises OutputFolderError if a report could not be written."""
        for path, option in ((self.html, "report"), (self.junit, "junit"), (self.trace, "trace")):
            if path:
                require_place(path, option)

    def write(self, manifest: Manifest, output: OutputFolder, trace: Trace = NO_TRACE) -> None:
        """The reports belong to the output folder's owner. Raises OutputFolderError."""
        from manywheels.report.html import write_report
        from manywheels.report.junit import write_junit
        from manywheels.report.trace import write_trace

        if self.html:
            write_report(manifest, output.path, self.html, trace)
            output.give(self.html)
        if self.junit:
            write_junit(manifest, self.junit)
            output.give(self.junit)
        if self.trace:
            write_trace(trace, manifest, self.trace)
            output.give(self.trace)
