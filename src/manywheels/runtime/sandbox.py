"""The one door to project code: build back ends, hooks and tests are started here and nowhere else.

Project code is code that nobody vouches for. It gets a scrubbed environment (the names in `data/environment.toml` and
what the user passes), a private copy of the source, a time limit, its output in a file, a user of its own where
`isolation` has one for it, and a process tree that is empty when `run` returns: `sandbox_init` reaps whatever the
command left behind.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.runtime import sandbox_init, untrusted_files

GRACE: Final = 2.0  # seconds between asking a process tree to end and killing it
LARGEST_LOG: Final = 1 << 30  # bytes that a log may have, those of holes too: whoever reads it reads these as well
_LOG_LOOKS: Final = 1.0  # seconds between looks at the size of a log
_MOMENT: Final = 0.002  # seconds between looks at processes that were killed
_LOOKS: Final = 20  # how often signs of life are looked for in the time that a command may be silent
_IDLE: Final = 0.01  # processor seconds per second up to which a tree of processes is idle
_inits: set[int] = set()  # the first processes of the sandboxes that run now
_starting = threading.Lock()  # held while there may be one that is not in there yet
_INIT: Final = Path(__file__).with_name("sandbox_init.py")


@dataclass(frozen=True, kw_only=True)
class Command:
    """A program to run in a sandbox; stdout and stderr are appended to `log`, which lies in no folder of the user's.

    `timeout` is in seconds, and so is `silence`: how long the command may neither say anything nor use a processor.
    `user` is the user id to run as, which only root can choose; None is the program's own user.
    """

    argv: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    log: Path
    timeout: float
    silence: float | None = None
    user: int | None = None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a command ended. `status` is its exit status, 128 + n for death by signal n; `seconds` is wall-clock time.

    `wrote_too_much` is whether the log went over LARGEST_LOG, by whatever ended the command; it was cut off there.
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
    """Run a command and wait until no process of it is left.

    On its limits, and when `cancellation` is requested, the tree gets SIGTERM and after GRACE seconds SIGKILL.
    """
    with _turn_of(command.user):
        return _run(command, cancellation)


def _run(command: Command, cancellation: Cancellation) -> Outcome:
    started = time.monotonic()
    if cancellation.requested:
        return Outcome(status=128 + signal.SIGTERM, seconds=0.0, cancelled=True)
    _adopt_orphans()
    user = "-" if command.user is None else str(command.user)
    argv = [sys.executable, "-I", "-S", str(_INIT), str(GRACE), user, str(command.folder), *command.argv]
    with untrusted_files.open_log(command.log, command.user) as log:
        with _handed_over(command.environment) as environment, _starting:
            process = subprocess.Popen(
                argv, stdin=environment, stdout=log, stderr=log,
                env={},  # what the command's variables do to a process, they shall not do to one of root's
                start_new_session=True,  # a terminal's Ctrl-C is for the supervisor, which ends the tree in order
            )  # fmt: skip
            _inits.add(process.pid)
        ended = None
        try:
            ended = _wait(process, cancellation, command, log.fileno())
        finally:  # whatever happens here, nothing of the tree goes on
            status = _end_tree(process, command.user, asked=ended is not _End.BY_ITSELF)
        wrote_too_much = _cut_off(log.fileno())
    return Outcome(
        status=status if status >= 0 else 128 - status,
        seconds=time.monotonic() - started,
        timed_out=ended is _End.TIMEOUT,
        fell_silent=ended is _End.SILENCE,
        wrote_too_much=wrote_too_much,
        cancelled=ended is _End.CANCELLED,
    )


def _handed_over(environment: Mapping[str, str]) -> BinaryIO:
    """Return an anonymous file with the environment, as `sandbox_init` reads it. Raises ValueError for NUL in it."""
    entries = [os.fsencode(f"{name}={value}") for name, value in environment.items()]
    if any(b"\0" in entry for entry in entries):
        raise ValueError("a variable holds a NUL character")
    file = open(os.memfd_create("environment"), "w+b")  # noqa: SIM115, PTH123 - a descriptor, closed by the caller
    file.writelines(entry + b"\0" for entry in entries)
    file.seek(0)
    return file


def _end_tree(process: subprocess.Popen[bytes], user: int | None, *, asked: bool) -> int:
    """Wait for the end of a sandbox's first process, after asking for it or not; return its status as Popen has it."""
    if asked:
        process.terminate()
    status = process.wait()
    _inits.discard(process.pid)
    if status < 0:
        _end_orphans()
    if user is not None:
        _end_processes_of(user)
    return status


def _cut_off(log: int) -> bool:
    """Cut off what a log has beyond its limit, with a line that says so; return whether there was anything."""
    if os.fstat(log).st_size <= LARGEST_LOG:
        return False
    os.ftruncate(log, LARGEST_LOG)
    os.pwrite(log, b"\n[manywheels: this log was longer than its limit, and was cut off here]\n", LARGEST_LOG)
    return True


_turns: defaultdict[int, threading.Lock] = defaultdict(threading.Lock)


def _turn_of(user: int | None) -> AbstractContextManager[object]:
    """Run one command at a time as a user: at the end of each, everything of that user is ended."""
    return nullcontext() if user is None else _turns[user]


@cache
def _adopt_orphans() -> None:
    """Have the kernel hand to this process whatever a sandbox's first process, if it is killed, leaves behind."""
    sandbox_init.become_reaper()


def _end_orphans() -> None:
    """End the processes of sandboxes whose first process was killed by what it should have kept."""
    while orphans := _orphans():
        for pid in orphans:
            for below in (pid, *sandbox_init.descendants(pid)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(below, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _orphans() -> list[int]:
    with _starting:
        return [pid for pid in _children() if pid not in _inits and _session(pid) not in {None, os.getsid(0)}]


def _children() -> list[int]:
    found = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found += [int(pid) for pid in (task / "children").read_text("ascii").split()]
    return found


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _end_processes_of(user: int) -> None:
    """End what runs as a user that one target has for itself; nothing is left of it when this returns.

    Its sandbox's first process has seen to that, unless it was killed. What is proved here does not rest on it.
    """
    while alive := processes_of(user):
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in alive:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_MOMENT)


def processes_of(user: int) -> list[int]:
    """Return the ids of the living processes that run as a user."""
    return [pid for pid in sandbox_init.process_ids() if _is_of(pid, user)]


def _is_of(pid: int, user: int) -> bool:
    try:
        # A process that is not dumpable has files in /proc that belong to root, so the folder's owner says too little.
        lines = Path("/proc", str(pid), "status").read_bytes().splitlines()
    except OSError:
        return False
    facts = {name: value.split() for name, _, value in (line.partition(b":") for line in lines)}
    # One whose first thread has ended is shown as a zombie; it lives as long as another thread does.
    lives = facts[b"State"][0] != b"Z" or int(facts[b"Threads"][0]) > 1
    return lives and b"%d" % user in facts[b"Uid"] and not _is_in_another_container(pid)


def _is_in_another_container(pid: int) -> bool:
    """Whether a process has a namespace of process ids of its own that only root could have given it.

    A host sees what runs in its containers, and there the same numbers mean other users. An ordinary user can have a
    new namespace only within a new namespace of users.
    """
    try:
        return _namespace(pid, "pid") != _namespace("self", "pid") and _namespace(pid, "user") == _namespace(
            "self", "user"
        )
    except OSError:
        return False


def _namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115 - no path, but a name


# --- waiting --------------------------------------------------------------------------------------------------------


class _End(Enum):
    BY_ITSELF = auto()
    TIMEOUT = auto()
    SILENCE = auto()
    OUTPUT = auto()
    CANCELLED = auto()


def _wait(process: subprocess.Popen[bytes], cancellation: Cancellation, command: Command, log: int) -> _End:
    """Wait until the process ends, the switch is thrown, or one of the command's limits is reached.

    `log` is the descriptor of its log: the name may lead elsewhere by now.
    """
    deadline = time.monotonic() + command.timeout
    life = _Life(process.pid, log, command.silence)
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(cancellation, select.POLLIN)
        while True:
            left = max(0.0, deadline - time.monotonic())
            ready = [file for file, _ in poll.poll(min(left, life.next_look, _LOG_LOOKS) * 1000)]
            if descriptor in ready:
                return _End.BY_ITSELF
            if ready:
                return _End.CANCELLED
            if time.monotonic() >= deadline:
                return _End.TIMEOUT
            if os.fstat(log).st_size > LARGEST_LOG:
                return _End.OUTPUT
            if life.next_look <= 0 and life.has_gone_silent():
                return _End.SILENCE
    finally:
        os.close(descriptor)


class _Life:
    """The signs of life of a process tree: output, and use of a processor that is worth the name."""

    def __init__(self, pid: int, log: int, limit: float | None) -> None:
        self._pid, self._log, self._limit = pid, log, limit
        self._last, self._said, self._worked = time.monotonic(), -1, 0.0
        self._looked = self._last

    @property
    def next_look(self) -> float:
        """In how many seconds to look again; 0 if it is time."""
        return max(0.0, self._looked + self._limit / _LOOKS - time.monotonic()) if self._limit else float("inf")

    def has_gone_silent(self) -> bool:
        """Look; return whether the last sign of life is longer ago than the limit."""
        if self._limit is None:
            return False
        now, said, worked = time.monotonic(), os.fstat(self._log).st_size, _processor_seconds(self._pid)
        self._looked = now
        # A script that waits in a loop uses some, too: a hundredth of one processor is not work.
        if said != self._said or worked - self._worked > _IDLE * (now - self._last):
            self._last, self._said, self._worked = now, said, worked
        return now - self._last >= self._limit


def _processor_seconds(root: int) -> float:
    """Return what a process and everything below it, living or reaped, has used of the processors, in seconds."""
    ticks = 0
    for pid in (root, *sandbox_init.descendants(root)):
        if fields := sandbox_init.status_fields(pid):
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")


# --- the environment --------------------------------------------------------------------------------------------------
