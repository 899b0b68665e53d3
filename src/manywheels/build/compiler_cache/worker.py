"""Compile texts, one after the other, each as a user that has nothing else.

A process of the program's own user, started with `python -I -S`. It gets jobs on standard input and answers on standard
output (`wire`): arguments of a compiler, the name of the text's file, the text; back come the object and what the
compiler said, or nothing. A job has a new folder, and no process of it is left when the next one begins: so a text that
makes a compiler run other code reaches nobody else's.

    worker.py <folder for jobs> <user id, or -> <seconds for one job>
"""

from __future__ import annotations

import os
import resource
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from manywheels.build.compiler_cache import wire
from manywheels.runtime import sandbox_init, untrusted_files
from manywheels.runtime.copying import remove_tree

OBJECT: Final = "unit.o"
_LARGEST_JOB: Final = 1 << 26  # bytes
_LARGEST_OBJECT: Final = 1 << 26
_MOST_DIAGNOSTICS: Final = 1 << 20
_BLOCK: Final = 1 << 16
_OOM_SCORE: Final = b"500"  # out of memory, the kernel must end the compiler, not the program


def main(argv: Sequence[str]) -> None:
    folder, user, limit = Path(argv[0]), None if argv[1] == "-" else int(argv[1]), float(argv[2])
    if not sandbox_init.become_reaper():
        return
    os.setpgid(0, 0)  # Ctrl-C is for the program alone; its session, as others' are ended as orphans (`process_trees`)
    signal.signal(signal.SIGTERM, _stop)
    number = 0
    while True:
        try:
            command, name, text = wire.receive(0, _LARGEST_JOB)
            number += 1
            job = folder / str(number)
            wire.send(1, *_Job(job, user, limit).run(command.split(b"\0"), os.fsdecode(name), text))
        except (wire.Ended, ValueError):
            return


def _stop(_number: int, _frame: object) -> None:
    sandbox_init.leave_none()
    os._exit(128 + signal.SIGTERM)


class _Job:
    """`user` compiles in `folder`, for at most `limit` seconds."""

    def __init__(self, folder: Path, user: int | None, limit: float) -> None:
        self._folder, self._user, self._limit = folder, user, limit

    def run(self, command: list[bytes], name: str, text: bytes) -> tuple[bytes, ...]:
        """Return the object and the compiler's messages; nothing if it failed."""
        try:
            untrusted_files.make_folder(self._folder, self._user, {name: text})
            status, diagnostics = self._compile(command)
            return (self._object(), diagnostics) if status == 0 else ()
        except (OSError, untrusted_files.Suspicious):
            return ()
        finally:
            remove_tree(self._folder)

    def _compile(self, command: list[bytes]) -> tuple[int, bytes]:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            self._become_compiler(command, writing)
        os.close(writing)
        diagnostics = self._follow(reading)
        os.close(reading)
        status = _status_of(child) if diagnostics is not None else None
        sandbox_init.leave_none()
        return (1, b"") if status is None or diagnostics is None else (status, diagnostics)

    def _become_compiler(self, command: list[bytes], output: int) -> None:
        try:
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDWR)
            for place, descriptor in ((0, nothing), (1, output), (2, output)):
                os.dup2(descriptor, place)
            resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_OBJECT, _LARGEST_OBJECT))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            with suppress(OSError):
                Path("/proc/self/oom_score_adj").write_bytes(_OOM_SCORE)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if self._user is not None:
                sandbox_init.become_user(self._user)
            os.chdir(self._folder)
            own = os.fsencode(self._folder)
            environment = {**os.environb, b"TMPDIR": own, b"HOME": own, b"ZIG_LOCAL_CACHE_DIR": own + b"/zig"}
            os.execve(command[0], command, environment)  # noqa: S606 - an argument list, no shell
        finally:
            os._exit(127)

    def _follow(self, output: int) -> bytes | None:
        """Return the compiler's messages once nothing has its output open.

        None after the time limit, or when the program has gone: PR_SET_PDEATHSIG would follow its thread's end.
        """
        deadline = time.monotonic() + self._limit
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(0, 0)  # for POLLHUP
        said = b""
        while True:
            ready = [file for file, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)]
            if not ready or 0 in ready:
                return None
            block = os.read(output, _BLOCK)
            if not block:
                return said
            said = (said + block)[:_MOST_DIAGNOSTICS]

    def _object(self) -> bytes:
        """Raises Suspicious for what is no ordinary file of the user's."""
        with untrusted_files.open_file(self._folder, OBJECT, owner=self._user) as made:
            content = made.read(_LARGEST_OBJECT + 1)
        if len(content) > _LARGEST_OBJECT:
            raise untrusted_files.Suspicious(f"`{OBJECT}` is too large")
        return content


def _status_of(child: int) -> int | None:
    """Return a child's exit status without waiting for other processes; None if it was killed."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
