"""Start and end the process trees of sandboxes, leaving no process.

`sandbox_init` is each tree's first process and reaps the others; this module ends them if `sandbox_init` is killed, or
could not adopt them all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.runtime import sandbox_init

GRACE: Final = 2.0  # seconds between SIGTERM and SIGKILL
_POLL: Final = 0.002  # seconds
_INIT: Final = Path(__file__).with_name("sandbox_init.py")
_running: set[int] = set()  # first processes of all trees
_starting = threading.Lock()  # held until `_running` has a started process


def start(
    argv: Sequence[str], folder: Path, user: int | None, *, environment: BinaryIO, log: BinaryIO
) -> subprocess.Popen[bytes]:
    """`environment` is the file that `sandbox_init` reads."""
    can_adopt()
    name = "-" if user is None else str(user)
    with _starting:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_INIT), str(GRACE), name, str(folder), *argv],
            stdin=environment, stdout=log, stderr=log,
            env={},  # the command's variables must not affect root's process
            start_new_session=True,  # Ctrl-C is for the program alone, which ends the tree in order
        )  # fmt: skip
        _running.add(process.pid)
    return process


def end(process: subprocess.Popen[bytes], user: int | None, *, terminate: bool) -> int:
    """Wait for a tree's end, after SIGTERM if `terminate`; return Popen's status."""
    if terminate:
        process.terminate()
    status = process.wait()
    _running.discard(process.pid)
    if status < 0 and can_adopt():  # else this process may have other trees' orphans
        _end_orphans()
    if user is not None:
        _end_processes_of(user)
    if not can_adopt():
        _reap_ended_orphans()
    return status


def processor_seconds(root: int) -> float:
    """Return the processor time of a process and all below it, running or reaped."""
    ticks = 0
    for pid in (root, *sandbox_init.descendants(root)):
        if fields := sandbox_init.status_fields(pid):
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / os.sysconf("SC_CLK_TCK")


@cache
def can_adopt() -> bool:
    """Adopt what is left of a tree whose first process is killed; return whether this kernel can do that.

    Elsewhere, orphans are ended by their user, or with the container whose first process got them.
    """
    return sandbox_init.become_reaper()


def _reap_ended_orphans() -> None:
    """Reap what ended by itself, if this is the container's first process and got it from a tree."""
    for pid in _orphans():
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _end_orphans() -> None:
    while orphans := _orphans():
        for pid in orphans:
            for below in (pid, *sandbox_init.descendants(pid)):
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(below, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _orphans() -> list[int]:
    with _starting:
        return [pid for pid in _children() if pid not in _running and _session(pid) not in {None, os.getsid(0)}]


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
    while alive := processes_of(user):
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in alive:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_POLL)


def processes_of(user: int) -> list[int]:
    """Return the living processes, without those in containers, where the number is another user's."""
    return [pid for pid in sandbox_init.process_ids() if _is_of(pid, user)]


def _is_of(pid: int, user: int) -> bool:
    try:
        # A process that is not dumpable has a /proc/PID of root's, so read its status.
        lines = Path("/proc", str(pid), "status").read_bytes().splitlines()
    except OSError:
        return False
    facts = {name: value.split() for name, _, value in (line.partition(b":") for line in lines)}
    # A process whose first thread has ended looks like a zombie, but others may run.
    lives = facts[b"State"][0] != b"Z" or int(facts[b"Threads"][0]) > 1
    return lives and b"%d" % user in facts[b"Uid"] and not _is_in_another_container(pid)


def _is_in_another_container(pid: int) -> bool:
    """Whether root made a process's PID namespace: others can make one only within a new user namespace."""
    try:
        return _namespace(pid, "pid") != _namespace("self", "pid") and _namespace(pid, "user") == _namespace(
            "self", "user"
        )
    except OSError:
        return False


def _namespace(pid: int | str, kind: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115 - no path, but a name
