"""The progress of an upload: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from manywheels.core import printing, text
from manywheels.deliver.index.ledger import UploadState
from manywheels.deliver.index.upload import Progress
from manywheels.verify.distributions import Distribution

LONGEST: Final = 300  # characters of a reason on the console; the ledger has all of it


def in_brackets(reason: str) -> str:
    return f" ({text.shorten(reason, LONGEST)})" if reason else ""


class _LineProgress:
    """A line for each finished file and failed attempt; with `verbose`, for each attempt."""

    def __init__(self, total: int, stream: TextIO, *, verbose: bool) -> None:
        self._total, self._stream, self._verbose = total, stream, verbose
        self._ended = 0
        self._lock = threading.Lock()

    def began(self, file: Distribution) -> None:
        if self._verbose:
            self._print(f"sending {file.name} ({text.size(file.size)}, sha256 {file.sha256})")

    def sent(self, file: Distribution, count: int) -> None:
        pass

    def waits(self, file: Distribution, reason: str) -> None:
        self._print(f"  {file.name}: {text.shorten(reason, LONGEST)}")

    def ended(self, file: Distribution, state: UploadState, reason: str) -> None:
        with self._lock:
            self._ended += 1
            number = self._ended
        mark = "✓" if state.is_there else "✗"
        self._print(f"{mark} [{number}/{self._total}] {file.name}: {state}{in_brackets(reason)}")

    def _print(self, line: str) -> None:
        printing.say(line, stream=self._stream)


class _BarProgress(_LineProgress):
    def __init__(self, total: int, stream: TextIO, *, verbose: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        super().__init__(total, stream, verbose=verbose)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        self._bars = Progress(*columns, console=Console(file=stream, highlight=False), transient=True)
        self._tasks: dict[str, object] = {}

    @contextmanager
    def shown(self) -> Iterator[_BarProgress]:
        with self._bars:
            yield self

    def began(self, file: Distribution) -> None:
        with self._lock:
            if file.name in self._tasks:
                self._bars.reset(self._tasks[file.name])  # type: ignore[arg-type]
            else:
                self._tasks[file.name] = self._bars.add_task(text.sanitize(file.name), total=file.size)

    def sent(self, file: Distribution, count: int) -> None:
        self._bars.advance(self._tasks[file.name], count)  # type: ignore[arg-type]

    def ended(self, file: Distribution, state: UploadState, reason: str) -> None:
        with self._lock:
            task = self._tasks.pop(file.name, None)
        if task is not None:
            self._bars.remove_task(task)  # type: ignore[arg-type]
        super().ended(file, state, reason)

    def _print(self, line: str) -> None:
        with self._lock:
            self._bars.console.print(text.sanitize(line), markup=False)


@contextmanager
def progress(files: Sequence[Distribution], *, verbose: bool, stream: TextIO | None = None) -> Iterator[Progress]:
    """Show bars on a terminal outside of a CI, lines elsewhere."""
    stream = stream or sys.stdout
    if stream.isatty() and not os.environ.get("CI"):
        with _BarProgress(len(files), stream, verbose=verbose).shown() as bars:
            yield bars
    else:
        yield _LineProgress(len(files), stream, verbose=verbose)
