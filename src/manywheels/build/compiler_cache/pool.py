"""The workers that compile: as many as cores, each with a user of its own where targets have one."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from manywheels.build.compiler_cache import wire, worker
from manywheels.build.compiler_cache.store import CompiledObject
from manywheels.build.trace import NO_TRACE, Kind, Trace
from manywheels.runtime import untrusted_files
from manywheels.runtime.own_python import main_call

_PATIENCE: Final = 5.0  # seconds for a free worker
_POLL: Final = 0.05  # seconds between two looks whether all have ended


class WorkerPool:
    """`users` are the workers' user ids, None for the program's own; `limit` is in seconds, for one compilation.

    `folder` is the program's own. One asker cannot have all workers, if there are several. `trace` is told what each
    has compiled.
    """

    def __init__(
        self,
        folder: Path,
        users: Sequence[int | None],
        *,
        limit: float,
        environment: Mapping[str, str],
        trace: Trace = NO_TRACE,
    ) -> None:
        self._workers = [
            _Worker(folder / str(number), user, limit, environment) for number, user in enumerate(users)
        ]  # fmt: skip
        self._trace = trace
        self._idle = list(self._workers)
        self._of_one = max(1, len(self._workers) - 1)
        self._busy: Counter[str] = Counter()
        self._freed = threading.Condition()
        self._closed = False

    def compile(
        self, command: Sequence[str], name: str, text: bytes, asker: str, source: str = ""
    ) -> CompiledObject | None:
        """Return None if it fails, or no worker is free for some time.

        `name` is the text's file in the command, `source` what the trace calls it.
        """
        with self._worker_for(asker) as one:
            if one is None:
                return None
            lane = str(self._workers.index(one) + 1)
            with self._trace.span(Kind.COMPILER, source, lane=lane, target=asker):
                return one.compile(command, name, text)

    @contextmanager
    def _worker_for(self, asker: str) -> Iterator[_Worker | None]:
        with self._freed:
            is_free = self._freed.wait_for(lambda: self._closed or self._may_have(asker), _PATIENCE)
            if self._closed or not is_free:
                yield None
                return
            self._busy[asker] += 1
            one = self._idle.pop()
        try:
            yield one
        finally:
            with self._freed:
                self._busy[asker] -= 1
                self._idle.append(one)
                self._freed.notify_all()

    def _may_have(self, asker: str) -> bool:
        return bool(self._idle) and self._busy[asker] < self._of_one

    def close(self) -> None:
        """End the workers, and what they compile."""
        with self._freed:
            self._closed = True
            self._freed.notify_all()
            while len(self._idle) < len(self._workers):
                for one in self._workers:
                    one.terminate()
                self._freed.wait(_POLL)
        for one in self._workers:
            one.close()


class _Worker:
    """One process, started when it is first needed."""

    def __init__(self, folder: Path, user: int | None, limit: float, environment: Mapping[str, str]) -> None:
        self._arguments = (str(folder), "-" if user is None else str(user), f"{limit:g}")
        self._folder, self._environment = folder, environment
        self._process: subprocess.Popen[bytes] | None = None

    def compile(self, command: Sequence[str], name: str, text: bytes) -> CompiledObject | None:
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None  # noqa: S101
        assert process.stdout is not None  # noqa: S101
        try:
            wire.send(process.stdin.fileno(), b"\0".join(map(os.fsencode, command)), name.encode(), text)
            answer = wire.receive(process.stdout.fileno(), wire.LARGEST_OBJECT + wire.MOST_MESSAGES)
        except wire.Ended:  # it was killed: the next job gets a new one
            self.close()
            return None
        return CompiledObject(*answer) if answer else None

    def terminate(self) -> None:
        """End what it compiles; who waits for that is told."""
        if process := self._process:
            process.terminate()

    def close(self) -> None:
        """Nobody may wait for it."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream:
                stream.close()

    def _start(self) -> subprocess.Popen[bytes]:
        """Raises OSError."""
        if not self._folder.exists():
            untrusted_files.make_public_folder(self._folder)
        return subprocess.Popen(
            main_call(worker.__name__, *self._arguments),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(self._environment), bufsize=0,
        )  # fmt: skip
