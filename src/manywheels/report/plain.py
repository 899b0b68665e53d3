"""The console without a terminal: a line when a stage begins, a block when a target has ended, and a sign of life."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Final, TextIO

from manywheels.core import colours, text
from manywheels.core.cancellation import Cancellation
from manywheels.core.colours import Paint
from manywheels.core.text import natural
from manywheels.plan.targets import Plan, Target
from manywheels.report import wording
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
from manywheels.wheels.manifest import Manifest, TargetRecord

_CLEAR: Final = "\x1b[0K"
_PULSE: Final = 60.0  # seconds without a line, after which it is said what runs
_STAGES: Final = {
    "before-build": "running before-build", "build": "building", "repair": "repairing", "audit": "auditing",
    "test": "testing",
}  # fmt: skip

_IDLE: Final = {"waiting", "served"}  # stages in which a target does nothing

# From a block's head, name and duration in seconds to the lines around the block.
Fold = Callable[[str, str, float], tuple[str, list[str]]]


def unfolded(head: str, _name: str, _seconds: float) -> tuple[str, list[str]]:
    return head, []


def github_group(head: str, _name: str, _seconds: float) -> tuple[str, list[str]]:
    return f"::group::{head}", ["::endgroup::"]


def gitlab_section(head: str, name: str, seconds: float) -> tuple[str, list[str]]:
    before, after = section(name, head, seconds)
    return before, [after]


class PlainReporter:
    """Prints a line when a stage begins, a block when a target has ended, and a sign of life in between."""

    def __init__(
        self,
        output: Path,
        stream: TextIO,
        cancellation: Cancellation,
        *,
        verbose: bool,
        fold: Fold = unfolded,
        paint: Paint = colours.plain,
    ) -> None:
        self._output, self._stream, self._cancellation = output, stream, cancellation
        self._verbose, self._fold, self._paint = verbose, fold, paint
        self._failed: list[TargetRecord] = []
        self._lock = threading.Lock()
        self._running: dict[str, tuple[str, float]] = {}  # the stage of each target, and since when
        self._pulse = _Pulse(self._tell_what_runs)

    def prepared(self, name: str, log: Path, seconds: float) -> None:
        """If verbose, print the log."""
        if self._verbose:
            self._block(self._fold(name, name, seconds), quoted(log, self._cancellation), [])

    def started(self, plan: Plan, title: str) -> None:
        names = " ".join(dict.fromkeys(planned.target.tag for planned in plan.targets if planned.interpreter))
        self._say(text.sanitize(f"{title}: {names}"), *plan_remarks(plan))
        self._pulse.start()

    def entered(self, target: Target, stage: str) -> None:
        with self._lock:
            self._running[target.identifier] = (_STAGES.get(stage, stage), time.monotonic())
        if stage in _STAGES:
            self._say(f"{target.identifier}: {_STAGES[stage]}")

    def finished(self, record: TargetRecord) -> None:
        with self._lock:
            self._running.pop(record.identifier, None)
            first = wording.first_alike(record, self._failed)
            if record.failure:
                self._failed.append(record)
        details = wording.explain(record, self._output)
        if first:
            details = [text.sanitize(f"  same as {first.identifier}; log: {self._output / wording.log_of(record)}")]
        wheel = [f"  {text.sanitize(record.wheel.name)} ({text.size(record.wheel.size)})"] if record.wheel else []
        sign, colour = mark(record)
        head = self._paint(f"{sign} {wording.headline(record)}", colour)
        fold = self._fold(head, record.identifier, wording.total(record))
        if self._verbose and record.log and not record.kept:
            logs = (quoted(log, self._cancellation) for log in logs_of(self._output, record))
            self._block(fold, chain(*logs, wheel), details)
        else:
            self._block(fold if wheel else (head, []), wheel, details)

    def closed(self, manifest: Manifest) -> None:
        """Print the targets, the warnings and the total."""
        self._pulse.stop()
        rows = [HEADINGS, *(tuple(map(text.sanitize, row(record))) for record in in_table(manifest))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows]
        self._say(
            "",
            *lines,
            "",
            *wording.sdist(manifest),
            *self._conclusion(manifest),
        )

    def _conclusion(self, manifest: Manifest) -> Iterator[str]:
        yield from missing(manifest, self._output)
        yield from (self._paint(line, "yellow") for line in warnings(manifest))
        yield self._paint(total(manifest, self._output), "red" if manifest.failures else "green")

    def stop(self) -> None:
        """Printed lines stay."""
        self._pulse.stop()

    def _tell_what_runs(self) -> None:
        with self._lock:
            running = sorted(
                (entry for entry in self._running.items() if entry[1][0] not in _IDLE),
                key=lambda entry: natural(entry[0]),
            )
        now = time.monotonic()
        parts = [f"{name} {text.sanitize(stage)} for {text.duration(now - since)}" for name, (stage, since) in running]
        self._say(f"still running: {', '.join(parts)}" if parts else "still running")

    def _block(self, marks: tuple[str, list[str]], folded: Iterable[str], details: list[str]) -> None:
        """Details of a failure come after the fold, to be visible."""
        before, after = marks
        self._write(chain([before], folded, after, details))

    def _say(self, *lines: str) -> None:
        self._write(lines)

    def _write(self, lines: Iterable[str]) -> None:
        self._pulse.beat()
        with self._lock:
            try:
                self._stream.writelines(f"{line}\n" for line in lines)
                self._stream.flush()
            except BrokenPipeError:
                # The reader has gone (`| head`); go on without output.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class QuietReporter(PlainReporter):
    """Prints failures, warnings and the total only."""

    def started(self, plan: Plan, title: str) -> None:
        """Nothing is said of what is as planned."""

    def entered(self, target: Target, stage: str) -> None:
        """Nothing is said of stages."""

    def finished(self, record: TargetRecord) -> None:
        if record.has_failed:
            super().finished(record)

    def closed(self, manifest: Manifest) -> None:
        lines = wording.sdist(manifest) if manifest.sdist_failure else []
        self._say(*lines, *self._conclusion(manifest))


class _Pulse:
    """Calls `tell` when nothing was printed for a minute, from its start on."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._last = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="pulse")

    def start(self) -> None:
        self._thread.start()

    def beat(self) -> None:
        """Note that something is printed."""
        self._last = time.monotonic()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(max(0.0, self._last + _PULSE - time.monotonic())):
            if time.monotonic() - self._last >= _PULSE:
                self._tell()


def section(name: str, head: str, seconds: float) -> tuple[str, str]:
    """Return GitLab's markers around a section titled `head` that has just ended after `seconds`."""
    ended = int(time.time())
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    before = f"{_CLEAR}section_start:{ended - round(seconds)}:{name}[collapsed=true]\r{_CLEAR}{head}"
    return before, f"{_CLEAR}section_end:{ended}:{name}\r{_CLEAR}"
