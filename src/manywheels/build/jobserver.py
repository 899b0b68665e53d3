"""A GNU jobserver: one pool of tokens that all compilers of all targets draw from.

Protocol: GNU make manual, "POSIX Jobserver Interaction", in its FIFO form (make 4.4, ninja 1.13, cargo). Every build
also has a slot of its own, which it does not draw; so that six builds on two cores are not eight compilers, that slot
is a token too, drawn here before the build starts and put back when it has ended.
"""

from __future__ import annotations

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
_LOOK = 0.02  # seconds between looks whether a waiting target was cancelled


class Jobserver:
    """A FIFO holding `tokens` tokens. Close it after the last build has ended."""

    def __init__(self, path: Path, tokens: int) -> None:
        self.path = path
        self.tokens = tokens
        self._lock = threading.Lock()
        self._holders = 0
        self._queue: deque[threading.Event] = deque()
        os.mkfifo(path)
        path.chmod(0o666)  # builds may have users of their own; nobody else can reach it
        # Opened for reading and writing: the FIFO keeps its tokens while no build has it open.
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        os.write(self._descriptor, _TOKEN * tokens)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which make, ninja and cargo find the tokens."""
        makeflags = f"-j{self.tokens} --jobserver-auth=fifo:{self.path}"
        return {"MAKEFLAGS": makeflags, "CARGO_MAKEFLAGS": makeflags}

    @contextmanager
    def slot(self, cancellation: Cancellation) -> Iterator[None]:
        """Hold one token, waiting for it until there is one. Raises Cancelled if that is requested before."""
        if not self._draw(cancellation):
            raise Cancelled("The target was stopped while it waited for its turn.", remedy="")
        try:
            yield
        finally:
            self._put_back()

    def _draw(self, cancellation: Cancellation) -> bool:
        """Take a token when one is there and no one has waited longer; False if cancelled before."""
        turn = threading.Event()
        with self._lock:
            self._queue.append(turn)
            self._queue[0].set()
        try:
            while not turn.wait(_LOOK):
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
            poll.poll()
            with self._lock:
                try:
                    os.read(self._descriptor, 1)
                except BlockingIOError:  # a compiler was quicker
                    continue
                self._holders += 1
                return True
        return False

    def _put_back(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders:
                with suppress(BlockingIOError):  # a build has filled the FIFO up: there is more than enough in it
                    os.write(self._descriptor, _TOKEN)
                return
            # A build that was killed took tokens with it, a broken one made some up. Nobody holds one now: lay out
            # the right number.
            with suppress(BlockingIOError):
                while os.read(self._descriptor, 1 << 16):
                    pass
            os.write(self._descriptor, _TOKEN * self.tokens)

    def close(self) -> None:
        """Remove the FIFO."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)
