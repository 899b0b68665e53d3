"""A GNU jobserver: one pool of tokens for all compilers of all targets (docs/architecture.md).

GNU make manual, "POSIX Jobserver Interaction", as a FIFO. A build tool runs its first compiler without a token, so each
build holds one from here; otherwise, six builds on two cores would run eight compilers.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled

_TOKEN = b"+"
_PATIENCE = 1000  # milliseconds without a token before a look whether any is held
_POLL = 0.02  # seconds between checks whether a waiting target was cancelled


class Jobserver:
    """A FIFO with `tokens` tokens at `path`; several programs share it if they name the same path.

    While a program's targets hold tokens, it has a shared lock on a file beside the FIFO. Who can have the lock alone
    knows that no token is held, also not by a program that was killed.
    """

    def __init__(self, path: Path, tokens: int) -> None:
        self.path = path
        self.tokens = tokens
        self._lock = threading.Lock()
        self._holders = 0
        self._queue: deque[threading.Event] = deque()
        self._held = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        is_alone = self._try_alone()
        if not is_alone:
            fcntl.flock(self._held, fcntl.LOCK_SH)  # once who is alone has laid out the tokens
        with suppress(FileExistsError):
            os.mkfifo(path)
            path.chmod(0o666)  # for builds with their own users; others cannot reach the folder
        # Read and write, so that the FIFO keeps its tokens while no build has it open.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        if is_alone:
            self._lay_out_tokens()
        fcntl.flock(self._held, fcntl.LOCK_UN)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell make, ninja and cargo where the FIFO is."""
        makeflags = f"-j{self.tokens} --jobserver-auth=fifo:{self.path}"
        return {"MAKEFLAGS": makeflags, "CARGO_MAKEFLAGS": makeflags}

    @contextmanager
    def slot(self, cancellation: Cancellation) -> Iterator[None]:
        """Raises Cancelled."""
        if not self._draw(cancellation):
            raise Cancelled("The target was stopped while it waited for its turn.", remedy="")
        try:
            yield
        finally:
            self._put_back()

    def _draw(self, cancellation: Cancellation) -> bool:
        """Wait for a token, first come, first served; return False if cancelled."""
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
            self._queue[0].set()
        try:
            while not turn.wait(_POLL):
                if cancellation.requested:
                    return False
            return self._take(cancellation)
        finally:
            with self._lock:
                self._queue.remove(turn)
                if self._queue:
                    self._queue[0].set()

    def _take(self, cancellation: Cancellation) -> bool:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(cancellation, select.POLLIN)
        while not cancellation.requested:
            if not poll.poll(_PATIENCE):
                self._restore()
                continue
            with self._lock:
                if not self._holders:
                    fcntl.flock(self._held, fcntl.LOCK_SH)
                try:
                    os.read(self._descriptor, 1)
                except BlockingIOError:  # a compiler took it first
                    self._let_go()
                    continue
                self._holders += 1
                return True
        return False

    def _put_back(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders:
                with suppress(BlockingIOError):  # full: a build has written too many tokens
                    os.write(self._descriptor, _TOKEN)
                return
            with suppress(BlockingIOError):
                os.write(self._descriptor, _TOKEN)
            self._let_go()
        self._restore()

    def _let_go(self) -> None:
        if not self._holders:
            fcntl.flock(self._held, fcntl.LOCK_UN)

    def _restore(self) -> None:
        """Lay out the full number of tokens if no target holds one: killed builds lose tokens, broken ones add some."""
        with self._lock:
            if self._holders:
                return
            if self._try_alone():
                self._lay_out_tokens()
                fcntl.flock(self._held, fcntl.LOCK_UN)

    def _try_alone(self) -> bool:
        try:
            fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # another program's targets hold tokens
            return False
        return True

    def _lay_out_tokens(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._descriptor, 1 << 16):
                pass
        os.write(self._descriptor, _TOKEN * self.tokens)

    def close(self) -> None:
        """Every build must have ended."""
        os.close(self._descriptor)
        os.close(self._held)
