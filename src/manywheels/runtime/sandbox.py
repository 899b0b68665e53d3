"""Run project code: build back ends, hooks and tests are started here and nowhere else.

It gets a scrubbed environment, a private copy of the source, time limits, a log of bounded size, and its own user where
`isolation` has one.
"""

from __future__ import annotations

import os
import select
import signal
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.child_end import end_of
from manywheels.runtime import process_trees, untrusted_files

LARGEST_LOG: Final = 1 << 30  # bytes, holes included, which readers of a log read too
_LOG_INTERVAL: Final = 1.0  # seconds between checks of a log's size
_CHECKS: Final = 20  # checks within the silence limit
_IDLE: Final = 0.01  # processor seconds per second of an idle tree: scripts wait in loops


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run in a sandbox; its output is appended to `log`, outside the user's folders.

    `timeout` is in seconds; `silence` is how many seconds it may neither write output nor use a processor, nor be
    served by others who do (`is_served`). `user` is
    the user id to run as, which needs root; None is the program's own.
    """

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    timeout: float
    silence: float | None = None
    is_served: Callable[[], bool] | None = None
    user: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended: its exit status, or 128 + n for signal n; `seconds` is wall-clock time.

    `wrote_too_much` means that the log exceeded LARGEST_LOG, and was cut off there.
    """

    status: int
    seconds: float
    timed_out: bool = False
    fell_silent: bool = False
    wrote_too_much: bool = False
    cancelled: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the command ended by itself, with status 0."""
        was_ended = self.timed_out or self.fell_silent or self.wrote_too_much or self.cancelled
        return self.status == 0 and not was_ended


def run(command: Command, cancellation: Cancellation) -> Outcome:
    """Run a command and wait until none of its processes is left.

    On a limit or cancellation, the tree gets SIGTERM, and SIGKILL after `process_trees.GRACE` seconds.
    """
    with _exclusive(command.user):
        return _run(command, cancellation)


def _run(command: Command, cancellation: Cancellation) -> Outcome:
    started = time.monotonic()
    if cancellation.requested:
        return Outcome(status=128 + signal.SIGTERM, seconds=0.0, cancelled=True)
    with untrusted_files.open_log(command.log, command.user) as log:
        with _environment_file(command.environment) as environment:
            process = process_trees.start(
                command.argv, command.folder, command.user, environment=environment, log=log
            )  # fmt: skip
        ended = None
        try:
            ended = _wait(process.pid, cancellation, command, log.fileno())
        finally:
            status = process_trees.end(process, command.user, terminate=ended is not _End.BY_ITSELF)
        wrote_too_much = _cut_off(log.fileno())
    return Outcome(
        status=status if status >= 0 else 128 - status,
        seconds=time.monotonic() - started,
        timed_out=ended is _End.TIMEOUT,
        fell_silent=ended is _End.SILENCE,
        wrote_too_much=wrote_too_much,
        cancelled=ended is _End.CANCELLED,
    )


_users: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)


def _exclusive(user: int | None) -> AbstractContextManager[object]:
    """Run one command at a time as a user: at its end, all of the user's processes are killed."""
    return nullcontext() if user is None else _users[user]


def _environment_file(environment: Mapping[str, str]) -> BinaryIO:
    """Raises ValueError for NUL in a variable."""
    entries = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    if any(b"\0" in entry for entry in entries):
        raise ValueError("a variable holds a NUL character")
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it; not all Pythons have memfd_create
    file.writelines(entry + b"\0" for entry in entries)
    file.seek(0)
    return file


def _cut_off(log: int) -> bool:
    if os.fstat(log).st_size <= LARGEST_LOG:
        return False
    os.ftruncate(log, LARGEST_LOG)
    os.pwrite(log, b"\n[manywheels: this log was longer than its limit, and was cut off here]\n", LARGEST_LOG)
    return True


# --- waiting --------------------------------------------------------------------------------------------------------


class _End(Enum):
    BY_ITSELF = auto()
    TIMEOUT = auto()
    SILENCE = auto()
    OUTPUT = auto()
    CANCELLED = auto()


def _wait(pid: int, cancellation: Cancellation, command: Command, log: int) -> _End:
    """`log` is a descriptor: the name may lead elsewhere by now."""
    deadline = time.monotonic() + command.timeout
    activity = _Activity(pid, log, command)
    with end_of(pid) as end:
        poll = select.poll()
        poll.register(end, select.POLLIN)
        poll.register(cancellation, select.POLLIN)
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready = [file for file, _ in poll.poll(min(left, activity.next_check, _LOG_INTERVAL) * 1000)]
            if end in ready:
                return _End.BY_ITSELF
            if ready:
                return _End.CANCELLED
            if time.monotonic() >= deadline:
                return _End.TIMEOUT
            if os.fstat(log).st_size > LARGEST_LOG:
                return _End.OUTPUT
            if activity.next_check <= 0 and activity.has_ceased():
                return _End.SILENCE


class _Activity:
    def __init__(self, pid: int, log: int, command: Command) -> None:
        self._pid, self._log, self._limit, self._is_served = pid, log, command.silence, command.is_served
        self._last, self._size, self._used = time.monotonic(), -1, 0.0
        self._checked = self._last

    @property
    def next_check(self) -> float:
        return max(0.0, self._checked + self._limit / _CHECKS - time.monotonic()) if self._limit else float("inf")

    def has_ceased(self) -> bool:
        if self._limit is None:
            return False
        now, size, used = time.monotonic(), os.fstat(self._log).st_size, process_trees.processor_seconds(self._pid)
        self._checked = now
        is_active = size != self._size or used - self._used > _IDLE * (now - self._last)
        if is_active or (self._is_served and self._is_served()):
            self._last, self._size, self._used = now, size, used
        return now - self._last >= self._limit
