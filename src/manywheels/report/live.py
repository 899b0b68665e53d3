"""The console on a terminal: a live table of all targets."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.colours import wanted
from manywheels.plan.targets import Plan, Target
from manywheels.report import wording
from manywheels.report.estimate import Estimate
from manywheels.report.rows import (
    HEADINGS,
    in_table,
    logs_of,
    mark,
    missing,
    plan_remarks,
    quoted,
    row,
    total,
    warnings,
)
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table


# What a stage that does nothing waits for.
_IDLE: Final = {"queued": "waiting for a core", "waiting": "waiting for an earlier target's wheel",
                "served": "served by an earlier target's wheel"}  # fmt: skip
# The least columns of a terminal for the table's columns beside target, result and time.
_WIDTHS: Final = {"glibc": 60, "size": 70, "platform": 100}


@dataclass
class _Row:
    """`first` is when the target began, `since` its stage; `record` is there when it has ended."""

    stage: str = "queued"
    since: float = field(default_factory=time.monotonic)
    first: float | None = None
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
        expected: Estimate | None = None,
    ) -> None:
        from rich.console import Console

        self._console = console or Console(highlight=False, file=stream, no_color=not wanted(stream or sys.stdout))
        self._output, self._cancellation, self._verbose = output, cancellation, verbose
        self._live: Live | None = None
        self._rows: dict[str, _Row] = {}
        self._title, self._expected = "", expected or Estimate()
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
            before, now = self._rows[target.identifier], time.monotonic()
            self._rows[target.identifier] = _Row(stage=stage, since=now, first=before.first or now)

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
            self._rows = {record.identifier: _Row(record=record) for record in in_table(manifest)}
        self.stop()
        for line in wording.sdist(manifest):
            self._console.print(line, markup=False, style="red" if manifest.sdist_failure else None)
        for line in missing(manifest, self._output):
            self._console.print(line, style="red", markup=False)
        failed = [record for record in manifest.failures if record.state is not TargetState.NO_INTERPRETER]
        for record, first in wording.with_first_alike(failed):
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
        from rich.console import Group
        from rich.text import Text

        shown = [name for name in HEADINGS if self._console.width >= _WIDTHS.get(name, 0)]
        table: Table = _table(self._title, shown, box.SIMPLE_HEAD)
        with self._lock:
            rows = dict(self._rows)
        for identifier, entry in rows.items():
            style, cells = _finished(entry.record) if entry.record else _unfinished(identifier, entry)
            first, *others = (cells.get(name, "") for name in shown)
            table.add_row(
                Text(first, style=style), *(Text(cell, style="" if entry.record else style) for cell in others)
            )
        return Group(table, Text(left, style="dim")) if (left := self._time_left(rows)) else table

    def _time_left(self, rows: Mapping[str, _Row]) -> str:
        now = time.monotonic()
        elapsed = {name: now - (entry.first or now) for name, entry in rows.items() if entry.record is None}
        left = self._expected.left(elapsed)
        return f"about {text.duration(round(left))} left, as the run before took" if left else ""


def _finished(record: TargetRecord) -> tuple[str, dict[str, str]]:
    """Return a row's style and cells, by heading."""
    sign, colour = mark(record)
    cells = dict(zip(HEADINGS, row(record), strict=True))
    return colour, cells | {"target": f"{sign} {record.identifier}"}


def _unfinished(identifier: str, entry: _Row) -> tuple[str, dict[str, str]]:
    now, cells = time.monotonic(), {"target": f"· {identifier}", "result": _IDLE.get(entry.stage, entry.stage)}
    if entry.first is None:
        return "dim", cells
    if entry.stage not in _IDLE:
        cells["result"] += f" {text.duration(now - entry.since)}"
    return "cyan", cells | {"time": text.duration(now - entry.first)}


def _table(title: str, headings: Iterable[str], box: object) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box, pad_edge=False)  # type: ignore[arg-type]
    for heading in headings:
        table.add_column(heading, justify="right" if heading in {"time", "size"} else "left", overflow="fold")
    return table
