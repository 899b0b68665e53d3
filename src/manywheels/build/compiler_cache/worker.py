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
from pathlib import Path
from typing import Final

from manywheels.build.compiler_cache import wire
from manywheels.core.child_end import end_of
from manywheels.runtime import sandbox_init, untrusted_files
from manywheels.runtime.copying import remove_tree

_BLOCK: Final = 1 << 16


def main(argv: Sequence[str]) -> None:
    folder, user, limit = Path(argv[0]), None if argv[1] == "-" else int(argv[1]), float(argv[2])
    if not sandbox_init.become_reaper():
        return
    os.setpgid(0, 0)  # Ctrl-C is for the program alone; its session, as others' are ended as orphans (`process_trees`)
    signal.signal(signal.SIGTERM, _stop)
    number = 0
    while True:
        try:
            command, name, text = wire.receive(0, wire.LARGEST_COMMAND + wire.LARGEST_TEXT)
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
            messages = self._compile(command)
            return () if messages is None else (self._object(), messages)
        except (OSError, untrusted_files.Suspicious):
            return ()
        finally:
            remove_tree(self._folder)

    def _compile(self, command: list[bytes]) -> bytes | None:
        """Return the compiler's messages; None if it failed or took too long."""
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            self._become_compiler(command, writing)
        os.close(writing)
        with os.fdopen(reading, "rb", buffering=0) as output, end_of(child) as end:
            messages = self._follow(output.fileno(), end)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if messages is not None else None
            sandbox_init.leave_none()
        return messages if status == 0 else None

    def _become_compiler(self, command: list[bytes], output: int) -> None:
        nothing = os.open(os.devnull, os.O_RDWR)
        for place, descriptor in ((0, nothing), (1, output), (2, output)):
            os.dup2(descriptor, place)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wire.LARGEST_OBJECT, wire.LARGEST_OBJECT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        own = os.fsencode(self._folder)
        environment = {**os.environb, b"TMPDIR": own, b"HOME": own, b"ZIG_LOCAL_CACHE_DIR": own + b"/zig"}
        sandbox_init.become_command(self._user, str(self._folder), command, environment)

    def _follow(self, output: int, end: int) -> bytes | None:
        """Return the compiler's messages once it has ended; it may have closed its output before.

        None after the time limit, or when the program has gone: PR_SET_PDEATHSIG would follow its thread's end.
        """
        deadline = time.monotonic() + self._limit
        poll = select.poll()
        for file, events in ((output, select.POLLIN), (end, select.POLLIN), (0, 0)):  # the last for POLLHUP
            poll.register(file, events)
        said = b""
        while True:
            ready = [file for file, _ in poll.poll(max(0.0, deadline - time.monotonic()) * 1000)]
            if not ready or 0 in ready:
                return None
            if output in ready:
                block = os.read(output, _BLOCK)
                said = (said + block)[: wire.MOST_MESSAGES]
                if not block:
                    poll.unregister(output)
            elif end in ready:  # and all that it wrote has been read
                return said

    def _object(self) -> bytes:
        """Raises Suspicious for what is no ordinary file of the user's."""
        with untrusted_files.open_file(self._folder, wire.OBJECT, owner=self._user) as made:
            content = made.read(wire.LARGEST_OBJECT + 1)
        if len(content) > wire.LARGEST_OBJECT:
            raise untrusted_files.Suspicious(f"`{wire.OBJECT}` is too large")
        return content
