"""The console on a terminal: a live table of all targets."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.colours import wanted
from manywheels.plan.targets import Plan, Target
from manywheels.report import wording
from manywheels.report.rows import HEADINGS, logs_of, mark, plan_remarks, quoted, row, total, warnings
from manywheels.wheels.manifest import Manifest, TargetRecord

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table


@dataclass
class _Row:
    stage: str = "queued"
    since: float = field(default_factory=time.monotonic)
    record: TargetRecord | None = None


class LiveReporter:
    """Shows every target's stage in a table, which stays as the result."""

    def __init__(
        self,
        output: Path,
        cancellation: Cancellation,
        *,
        verbose: bool,
        console: Console | None = None,
        stream: TextIO | None = None,
    ) -> None:
        from rich.console import Console

        self._console = console or Console(highlight=False, file=stream, no_color=not wanted(stream or sys.stdout))
        self._output, self._cancellation, self._verbose = output, cancellation, verbose
        self._live: Live | None = None
        self._rows: dict[str, _Row] = {}
        self._title = ""
        self._lock = threading.Lock()
        self._one_log_at_a_time = threading.Lock()

    def prepared(self, name: str, log: Path, _seconds: float) -> None:
        """If verbose, print the log."""
        if self._verbose:
            self._print_logs(name, [log])

    def started(self, plan: Plan, title: str) -> None:
        from rich.live import Live

        for remark in plan_remarks(plan):
            self._console.print(remark, style="yellow", markup=False)
        self._title = text.sanitize(title)
        self._rows = {planned.target.identifier: _Row() for planned in plan.targets if planned.interpreter}
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=8)
        self._live.start()

    def entered(self, target: Target, stage: str) -> None:
        with self._lock:
            self._rows[target.identifier] = _Row(stage=stage)

    def finished(self, record: TargetRecord) -> None:
        """If verbose, print the target's logs."""
        with self._lock:
            self._rows[record.identifier] = _Row(stage="", record=record)
        if self._verbose and record.log and not record.kept:
            self._print_logs(wording.headline(record), logs_of(self._output, record))

    def _print_logs(self, head: str, paths: list[Path]) -> None:
        with self._one_log_at_a_time:
            self._console.print(head, markup=False)
            for line in chain.from_iterable(quoted(path, self._cancellation) for path in paths):
                self._console.print(line, markup=False, style="dim")

    def closed(self, manifest: Manifest) -> None:
        """Draw the last table; print failures, warnings and the total."""
        with self._lock:
            self._rows = {record.identifier: _Row(record=record) for record in manifest.targets}
        self.stop()
        for line in wording.sdist(manifest):
            self._console.print(line, markup=False, style="red" if manifest.sdist_failure else None)
        for record, first in wording.with_first_alike(manifest.failures):
            self._console.print(f"\n{wording.headline(record)}", style="red", markup=False)
            for line in [f"  same as {first.identifier}"] if first else wording.explain(record, self._output):
                self._console.print(line, markup=False, style="dim" if line.startswith("  │") else None)
        for warning in warnings(manifest):
            self._console.print(warning, style="yellow", markup=False)
        self._console.print(total(manifest, self._output), markup=False)

    def stop(self) -> None:
        """Stop drawing, and restore the cursor."""
        if self._live:
            self._live.stop()

    def _draw(self) -> RenderableType:
        from rich import box
        from rich.text import Text

        table: Table = _table(self._title, box.SIMPLE_HEAD)
        with self._lock:
            rows = dict(self._rows)
        for identifier, shown in rows.items():
            if shown.record:
                sign, colour = mark(shown.record)
                first, *others = (f"{sign} {identifier}", *row(shown.record)[1:])
                table.add_row(Text(first, style=colour), *map(Text, others))
            else:
                elapsed = text.duration(time.monotonic() - shown.since) if shown.stage not in {"queued"} else ""
                style = "cyan" if elapsed else "dim"
                table.add_row(Text(f"· {identifier}", style=style), Text(shown.stage, style=style), elapsed, "", "", "")
        return table


def _table(title: str, box: object) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box, pad_edge=False)  # type: ignore[arg-type]
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in {"time", "size"} else "left", overflow="fold")
    return table
