"""The console: a live table on a terminal, otherwise plain lines in groups."""

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


def _mark(record: TargetRecord) -> tuple[str, str]:
    return _MARKS[TargetState.FAILED if record.has_failed else record.state]


_BEGINNING = 1 << 20  # bytes of a log that are shown
_ENDING = 4 << 20
_LONGEST = 1 << 14  # characters of a line


def console_reporter(
    output: Path, cancellation: Cancellation, *, verbose: bool, stream: TextIO | None = None
) -> Reporter:
    """Return a live reporter on a terminal, else a plain one, which folds on GitHub and GitLab.

    Logs are not shown after a cancellation.
    """
    stream = stream or sys.stdout
    if stream.isatty() and not os.environ.get("CI"):
        return LiveReporter(output, cancellation, verbose=verbose)
    return PlainReporter(output, stream, cancellation, verbose=verbose, fold=_fold_here())


# From a block's head, name and duration in seconds to the lines around the block.
Fold = Callable[[str, str, float], tuple[str, list[str]]]


def unfolded(head: str, _name: str, _seconds: float) -> tuple[str, list[str]]:
    return head, []


def github_group(head: str, _name: str, _seconds: float) -> tuple[str, list[str]]:
    return f"::group::{head}", ["::endgroup::"]


def gitlab_section(head: str, name: str, seconds: float) -> tuple[str, list[str]]:
    before, after = section(name, head, seconds)
    return before, [after]


def _fold_here() -> Fold:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return github_group
    return gitlab_section if os.environ.get("GITLAB_CI") == "true" else unfolded


class PlainReporter:
    """Prints a line when a build begins, a block when a target has ended."""

    def __init__(
        self, output: Path, stream: TextIO, cancellation: Cancellation, *, verbose: bool, fold: Fold = unfolded
    ) -> None:
        self._output, self._stream, self._cancellation = output, stream, cancellation
        self._verbose, self._fold = verbose, fold
        self._failed: list[TargetRecord] = []
        self._lock = threading.Lock()

    def prepared(self, name: str, log: Path, seconds: float) -> None:
        """If verbose, print the log."""
        if self._verbose:
            self._block(self._fold(name, name, seconds), _quoted(log, self._cancellation), [])

    def started(self, plan: Plan, title: str) -> None:
        names = " ".join(dict.fromkeys(planned.target.tag for planned in plan.targets if planned.interpreter))
        self._say(text.sanitize(f"{title}: {names}"), *plan_remarks(plan))

    def entered(self, target: Target, stage: str) -> None:
        if stage == "build":
            self._say(f"{target.identifier}: building")

    def finished(self, record: TargetRecord) -> None:
        with self._lock:
            first = wording.first_alike(record, self._failed)
            if record.failure:
                self._failed.append(record)
        details = wording.explain(record, self._output)
        if first:
            details = [text.sanitize(f"  same as {first.identifier}; log: {self._output / wording.log_of(record)}")]
        wheel = [f"  {text.sanitize(record.wheel.name)} ({text.size(record.wheel.size)})"] if record.wheel else []
        head = f"{_mark(record)[0]} {wording.headline(record)}"
        fold = self._fold(head, record.identifier, wording.total(record))
        if self._verbose and record.log and not record.kept:
            logs = (_quoted(log, self._cancellation) for log in _logs(self._output, record))
            self._block(fold, chain(*logs, wheel), details)
        else:
            self._block(fold if wheel else (head, []), wheel, details)

    def closed(self, manifest: Manifest) -> None:
        """Print the targets, the warnings and the total."""
        rows = [tuple(map(text.sanitize, _row(record))) for record in manifest.targets]
        widths = [max(len(row[column]) for row in [_HEADINGS, *rows]) for column in range(len(_HEADINGS))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                 for row in [_HEADINGS, *rows]]  # fmt: skip
        self._say(
            "",
            *lines,
            "",
            *wording.sdist(manifest),
            *_missing(manifest, self._output),
            *warnings(manifest),
            _total(manifest, self._output),
        )

    def stop(self) -> None:
        """Printed lines stay."""

    def _block(self, marks: tuple[str, list[str]], folded: Iterable[str], details: list[str]) -> None:
        """Details of a failure come after the fold, to be visible."""
        before, after = marks
        self._write(chain([before], folded, after, details))

    def _say(self, *lines: str) -> None:
        self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        with self._lock:
            try:
                self._stream.writelines(f"{line}\n" for line in lines)
                self._stream.flush()
            except BrokenPipeError:
                # The reader has gone (`| head`); go on without output.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _logs(output: Path, record: TargetRecord) -> list[Path]:
    """Return the logs of a target's build and its tests."""
    return [output / log for log in (record.log, record.tests.log if record.tests else None) if log]


def _quoted(log: Path, cancellation: Cancellation) -> Iterator[str]:
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
    """Shows every target's stage in a table, which stays as the result."""

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
            self._print_logs(wording.headline(record), _logs(self._output, record))

    def _print_logs(self, head: str, paths: list[Path]) -> None:
        with self._one_log_at_a_time:
            self._console.print(head, markup=False)
            for line in chain.from_iterable(_quoted(path, self._cancellation) for path in paths):
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
        self._console.print(_total(manifest, self._output), markup=False)

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
        for identifier, row in rows.items():
            if row.record:
                mark, colour = _mark(row.record)
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


def _total(manifest: Manifest, output: Path) -> str:
    return text.sanitize(f"{wording.summary(manifest)}; {output}")


def plan_remarks(plan: Plan) -> list[str]:
    remarks = []
    if plan.missing:
        names = " ".join(dict.fromkeys(planned.target.tag for planned in plan.missing))
        remarks.append(f"warning: no interpreter on this machine for {names}: these wheels will be missing")
    excluded = [target.tag for target, refusal in plan.excluded if refusal is Refusal.REQUIRES_PYTHON]
    if excluded:
        remarks.append(f"left out by the project's requires-python: {' '.join(dict.fromkeys(excluded))}")
    others = [target.tag for target, refusal in plan.excluded if refusal is Refusal.NOT_DEFAULT]
    if others:
        remarks.append(f"not in the default `build`, but here: {' '.join(dict.fromkeys(others))}")
    return remarks


def warnings(manifest: Manifest) -> list[str]:
    """Return each warning once, with its targets."""
    by_text = wording.target_warnings(manifest).items()
    found = [text.sanitize(f"warning: {warning} ({wording.tags(records)})") for warning, records in by_text]
    return found + [text.sanitize(f"warning: {warning}") for warning in manifest.warnings]


def _missing(manifest: Manifest, output: Path) -> list[str]:
    """Return the targets that could not even begin, with the ways out once."""
    missing = [record for record in manifest.failures if record.state is TargetState.NO_INTERPRETER]
    lines = [f"{_mark(record)[0]} {wording.headline(record)}" for record in missing]
    return lines + (wording.explain(missing[0], output) if missing else [])


def section(name: str, head: str, seconds: float) -> tuple[str, str]:
    """Return GitLab's markers around a section titled `head` that has just ended after `seconds`."""
    ended = int(time.time())
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    before = f"{_CLEAR}section_start:{ended - round(seconds)}:{name}[collapsed=true]\r{_CLEAR}{head}"
    return before, f"{_CLEAR}section_end:{ended}:{name}\r{_CLEAR}"
