"""The console: a live table on a terminal, plain grouped lines elsewhere."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from manywheels.build.reporter import Reporter
from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import open_ends
from manywheels.plan.targets import Plan, Refusal, Target
from manywheels.report import wording
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table

_CLEAR = "\x1b[0K"


_MARKS = {
    TargetState.BUILT: ("✓", "green"),
    TargetState.REUSED: ("✓", "green"),
    TargetState.FAILED: ("✗", "red"),
    TargetState.NO_INTERPRETER: ("-", "yellow"),
    TargetState.CANCELLED: ("-", "yellow"),
}


_BEGINNING = 1 << 20  # bytes of a log that are shown; all of it is in its file
_ENDING = 4 << 20
_LONGEST = 1 << 14  # characters of a line


def console_reporter(
    output: Path, cancellation: Cancellation, *, verbose: bool, stream: TextIO | None = None
) -> Reporter:
    """Return the reporter for where the program runs: live on a terminal, in groups on GitHub, else plain.

    No more of a log is shown once `cancellation` is requested.
    """
    stream = stream or sys.stdout
    if stream.isatty() and not os.environ.get("CI"):
        return LiveReporter(output, cancellation, verbose=verbose)
    return PlainReporter(output, stream, cancellation, verbose=verbose, fold=_fold_here())


Fold = Callable[[str, TargetRecord], tuple[str, list[str]]]  # a block's head becomes the lines before and after it


def unfolded(head: str, _record: TargetRecord) -> tuple[str, list[str]]:
    """Leave a block as it is."""
    return head, []


def github_group(head: str, _record: TargetRecord) -> tuple[str, list[str]]:
    """Make a block a group of GitHub's log."""
    return f"::group::{head}", ["::endgroup::"]


def gitlab_section(head: str, record: TargetRecord) -> tuple[str, list[str]]:
    """Make a block a section of GitLab's log."""
    before, after = section(record.identifier, head, wording.total(record))
    return before, [after]


def _fold_here() -> Fold:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return github_group
    return gitlab_section if os.environ.get("GITLAB_CI") == "true" else unfolded


class PlainReporter:
    """One line when a target enters its build, and one block when it has ended; nothing is mixed."""

    def __init__(
        self, output: Path, stream: TextIO, cancellation: Cancellation, *, verbose: bool, fold: Fold = unfolded
    ) -> None:
        self._output, self._stream, self._cancellation = output, stream, cancellation
        self._verbose, self._fold = verbose, fold
        self._failed: list[TargetRecord] = []
        self._lock = threading.Lock()

    def started(self, plan: Plan, title: str) -> None:
        """Say what will be done."""
        names = " ".join(planned.target.tag for planned in plan.targets if planned.interpreter)
        self._say(text.sanitize(f"{title}: {names}"), *plan_remarks(plan))

    def entered(self, target: Target, stage: str) -> None:
        """Say that a target's build began."""
        if stage == "build":
            self._say(f"{target.identifier}: building")

    def finished(self, record: TargetRecord) -> None:
        """Say how a target ended, in one block."""
        with self._lock:
            twin = wording.like(record, self._failed)
            if record.failure:
                self._failed.append(record)
        told = wording.explain(record, self._output)
        if twin:
            told = [text.sanitize(f"  as {twin.identifier}; log: {self._output / wording.log_of(record)}")]
        wheel = [f"  {text.sanitize(record.wheel.name)} ({text.size(record.wheel.size)})"] if record.wheel else []
        head = f"{_MARKS[record.state][0]} {wording.headline(record)}"
        if self._verbose and record.log:
            log = _quoted(self._output / record.log, self._cancellation)
            self._block(self._fold(head, record), chain(log, wheel), told)
        else:
            self._block(self._fold(head, record) if wheel else (head, []), wheel, told)

    def closed(self, manifest: Manifest) -> None:
        """Print the table and the sum."""
        rows = [tuple(map(text.sanitize, _row(record))) for record in manifest.targets]
        widths = [max(len(row[column]) for row in [_HEADINGS, *rows]) for column in range(len(_HEADINGS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in [_HEADINGS, *rows]]  # fmt: skip
        self._say("", *lines, "", *warnings(manifest), _sum(manifest, self._output))

    def stop(self) -> None:
        """Nothing is left to do: what was said stands."""

    def _block(self, marks: tuple[str, list[str]], folded: Iterable[str], told: list[str]) -> None:
        """Print a block; what went wrong follows the fold, so that nobody has to open it to see why."""
        before, after = marks
        self._write(chain([before], folded, after, told))

    def _say(self, *lines: str) -> None:
        self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        with self._lock:
            try:
                self._stream.writelines(f"{line}\n" for line in lines)
                self._stream.flush()
            except BrokenPipeError:
                # Whoever read has gone (`| head`). The run goes on; what else is printed goes nowhere.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _quoted(log: Path, cancellation: Cancellation) -> Iterator[str]:
    """Yield the lines of a log, the first and the last of a long one; a target that was stopped before has none."""
    with suppress(OSError), open_ends(log, beginning=_BEGINNING, ending=_ENDING) as stream:
        file = io.TextIOWrapper(stream, encoding="utf-8", errors="replace")
        while (line := file.readline(_LONGEST)) and not cancellation.requested:
            yield text.quote(line.rstrip("\n"))


@dataclass
class _Row:
    stage: str = "queued"
    since: float = field(default_factory=time.monotonic)
    record: TargetRecord | None = None


class LiveReporter:
    """A table on the terminal that shows every target's stage, and stays as the result."""

    def __init__(
        self, output: Path, cancellation: Cancellation, *, verbose: bool, console: Console | None = None
    ) -> None:
        from rich.console import Console

        self._console = console or Console(highlight=False)
        self._output, self._cancellation, self._verbose = output, cancellation, verbose
        self._live: Live | None = None
        self._rows: dict[str, _Row] = {}
        self._title = ""
        self._lock = threading.Lock()
        self._one_log_at_a_time = threading.Lock()

    def started(self, plan: Plan, title: str) -> None:
        """Begin to draw."""
        from rich.live import Live

        for remark in plan_remarks(plan):
            self._console.print(remark, style="yellow", markup=False)
        self._title = text.sanitize(title)
        self._rows = {planned.target.identifier: _Row() for planned in plan.targets if planned.interpreter}
        self._live = Live(get_renderable=self._draw, console=self._console, refresh_per_second=8)
        self._live.start()

    def entered(self, target: Target, stage: str) -> None:
        """Note the stage that a target is in."""
        with self._lock:
            self._rows[target.identifier] = _Row(stage=stage)

    def finished(self, record: TargetRecord) -> None:
        """Note how a target ended; where everything is to be said, its log goes above the table."""
        with self._lock:
            self._rows[record.identifier] = _Row(stage="", record=record)
        if self._verbose and record.log:
            self._print_log(self._output / record.log, wording.headline(record))

    def _print_log(self, path: Path, head: str) -> None:
        with self._one_log_at_a_time:
            self._console.print(head, markup=False)
            for line in _quoted(path, self._cancellation):
                self._console.print(line, markup=False, style="dim")

    def closed(self, manifest: Manifest) -> None:
        """Draw for the last time, and explain what failed below the table."""
        with self._lock:
            self._rows = {record.identifier: _Row(record=record) for record in manifest.targets}
        self.stop()
        for record, twin in wording.alike(manifest.failures):
            self._console.print(f"\n{wording.headline(record)}", style="red", markup=False)
            for line in [f"  as {twin.identifier}"] if twin else wording.explain(record, self._output):
                self._console.print(line, markup=False, style="dim" if line.startswith("  │") else None)
        for warning in warnings(manifest):
            self._console.print(warning, style="yellow", markup=False)
        self._console.print(_sum(manifest, self._output), markup=False)

    def stop(self) -> None:
        """Draw no more, and give the terminal its cursor back."""
        if self._live:
            self._live.stop()

    def _draw(self) -> RenderableType:
        from rich import box
        from rich.text import Text

        table: Table = _table(self._title, box.SIMPLE_HEAD)
        with self._lock:
            rows = dict(self._rows)
        for identifier, row in rows.items():
            if row.record:
                mark, colour = _MARKS[row.record.state]
                cells = [f"{mark} {identifier}", *_row(row.record)[1:]]
                table.add_row(Text(cells[0], style=colour), *map(Text, cells[1:]))
            else:
                elapsed = text.duration(time.monotonic() - row.since) if row.stage not in {"queued"} else ""
                style = "cyan" if elapsed else "dim"
                table.add_row(Text(f"· {identifier}", style=style), Text(row.stage, style=style), elapsed, "", "", "")
        return table


_HEADINGS = ("target", "result", "time", "glibc", "size", "platform")


def _table(title: str, box: object) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=box, pad_edge=False)  # type: ignore[arg-type]
    for heading in _HEADINGS:
        table.add_column(heading, justify="right" if heading in {"time", "size"} else "left", overflow="fold")
    return table


def _row(record: TargetRecord) -> tuple[str, ...]:
    wheel = record.wheel
    return (
        record.identifier,
        wording.outcome(record),
        text.duration(wording.total(record)) if record.seconds else "",
        (wheel.glibc or "any") if wheel else "",
        text.size(wheel.size) if wheel else "",
        wording.platforms(record),
    )


def _sum(manifest: Manifest, output: Path) -> str:
    return text.sanitize(f"{wording.summary(manifest)}; {output}")


def plan_remarks(plan: Plan) -> list[str]:
    """Return what the user should know of the plan before it is executed."""
    remarks = []
    if plan.missing:
        names = " ".join(planned.target.tag for planned in plan.missing)
        remarks.append(f"warning: no interpreter on this machine for {names}: these wheels will be missing")
    excluded = [target.tag for target, refusal in plan.excluded if refusal is Refusal.REQUIRES_PYTHON]
    if excluded:
        remarks.append(f"left out by the project's requires-python: {' '.join(excluded)}")
    return remarks


def warnings(manifest: Manifest) -> list[str]:
    """Return the warnings that the table does not show, each once, with the targets that it is about."""
    about = wording.about(manifest).items()
    found = [text.sanitize(f"warning: {warning} ({wording.tags(records)})") for warning, records in about]
    found += [text.sanitize(f"warning: {warning}") for warning in manifest.warnings]
    missing = [record.identifier for record in manifest.targets if record.state is TargetState.NO_INTERPRETER]
    if missing:
        found.append(f"warning: not built, for want of an interpreter: {' '.join(missing)} (see `manywheels doctor`)")
    return found


def section(name: str, head: str, seconds: float) -> tuple[str, str]:
    """Return the markers around a section, `head` its title, that has just ended and took this many seconds."""
    ended = int(time.time())
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    before = f"{_CLEAR}section_start:{ended - round(seconds)}:{name}[collapsed=true]\r{_CLEAR}{head}"
    return before, f"{_CLEAR}section_end:{ended}:{name}\r{_CLEAR}"
