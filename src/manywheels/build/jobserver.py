"""A GNU jobserver: one pool of tokens for all compilers of all targets (docs/architecture.md).

GNU make manual, "POSIX Jobserver Interaction", as a FIFO. A build tool runs its first compiler without a token, so each
build holds one from here; otherwise, six builds on two cores would run eight compilers.
"""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from bisect import insort
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from itertools import count
from pathlib import Path
from typing import NamedTuple

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled

_TOKEN = b"+"
_PATIENCE = 1000  # milliseconds without a token before a look whether any is held
_RESERVATION = 1.0  # seconds that others wait for a build that is not ready: more, and cores would idle for its network
_POLL = 0.1  # seconds between checks whether a waiting target was cancelled, or a reservation is over


class Rank(IntEnum):
    """Who is served first: a compiler that gave its token away while it waited, then a target that has begun.

    So a wheel is delivered before another build begins.
    """

    COMPILING = 0
    BEGUN = 1
    NEW = 2


class Place(NamedTuple):
    """A place in the queue: by rank, then by number."""

    rank: Rank
    number: int


class Slot:
    """A token for one target, which may give it back while it waits for others."""

    def __init__(self, server: Jobserver, cancellation: Cancellation) -> None:
        self._server = server
        self._cancellation = cancellation
        self._is_held = False

    def take(self, place: Place | None = None) -> None:
        """Wait for a token, by default as a target that has begun. Raises Cancelled."""
        place = place or self._server.reserve(Rank.BEGUN)
        self._is_held = self._server.draw(place, self._cancellation)
        if not self._is_held:
            raise Cancelled("The target was stopped while it waited for its turn.", remedy="")

    def give_back(self) -> None:
        """Do nothing if it is not held."""
        if self._is_held:
            self._is_held = False
            self._server.put_back()


class Jobserver:
    """A FIFO with `tokens` tokens at `path`; several programs share it if they name the same path.

    While a program's targets hold tokens, it has a shared lock on a file beside the FIFO. Who can have the lock alone
    knows that no token is held, also not by a program that was killed. Each program has a queue of its own; `most` is
    how many of its targets have a token at once, whatever is lent.
    """

    def __init__(self, path: Path, tokens: int, most: int | None = None) -> None:
        self.path = path
        self.tokens = tokens
        self._most = most
        self._lent = 0
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # the queue, or the number of holders
        self._holders = 0
        self._queue: list[Place] = []
        self._reserved: dict[Place, float] = {}  # places at which nobody waits yet: until when they count
        self._numbers = count()
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

    def reserve(self, rank: Rank) -> Place:
        """Take a place in the queue. For a moment it holds up those behind it, also while nobody waits at it."""
        with self._lock:
            place = Place(rank, next(self._numbers))
            self._reserved[place] = time.monotonic() + _RESERVATION
            insort(self._queue, place)
            return place

    def leave(self, place: Place) -> None:
        """Give a place up, if it is still in the queue."""
        with self._lock:
            self._reserved.pop(place, None)
            if place in self._queue:
                self._queue.remove(place)
                self._changed.notify_all()

    @contextmanager
    def slot(self, cancellation: Cancellation, place: Place | None = None) -> Iterator[Slot]:
        """Yield a slot with a token, which is given back at the end; `place` as in `Slot.take`. Raises Cancelled."""
        slot = Slot(self, cancellation)
        slot.take(place)
        try:
            yield slot
        finally:
            slot.give_back()

    @contextmanager
    def lent(self, cancellation: Cancellation) -> Iterator[None]:
        """Let others have the token of a compiler that waits; it goes on when there is one again, before all others."""
        self._lend(1)
        try:
            yield
        finally:
            self.draw(self.reserve(Rank.COMPILING), cancellation)
            self._lend(-1)

    def _lend(self, number: int) -> None:
        with self._lock:
            self._lent += number
            if number > 0:
                self._put()
            self._changed.notify_all()

    def draw(self, place: Place, cancellation: Cancellation) -> bool:
        """Wait for the turn of a place, and for a token; return False if cancelled."""
        with self._lock:
            if place not in self._queue:
                insort(self._queue, place)
            self._reserved.pop(place, None)
        try:
            while not cancellation.requested:
                with self._lock:
                    is_next = self._changed.wait_for(lambda: self._is_next(place), _POLL)
                if is_next and self._take(place, cancellation):
                    return True
            return False
        finally:
            self.leave(place)

    def _is_next(self, place: Place) -> bool:
        now = time.monotonic()
        if place != next(one for one in self._queue if one not in self._reserved or self._reserved[one] > now):
            return False
        return place.rank is Rank.COMPILING or self._holders < (self._most or self.tokens + self._lent)

    def _take(self, place: Place, cancellation: Cancellation) -> bool:
        """Wait for a token, and take it, unless another place comes first by now."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        poll.register(cancellation, select.POLLIN)
        if not poll.poll(_PATIENCE):
            self._restore()
            return False
        with self._lock:
            if not self._is_next(place):
                return False
            if not self._holders:
                fcntl.flock(self._held, fcntl.LOCK_SH)
            try:
                os.read(self._descriptor, 1)
            except BlockingIOError:  # a compiler took it first, or there is a cancellation
                self._let_go()
                return False
            self._holders += place.rank is not Rank.COMPILING
            return True

    def put_back(self) -> None:
        """Put back a token that was drawn."""
        with self._lock:
            self._holders -= 1
            self._changed.notify_all()
            self._put()
            if self._holders:
                return
            self._let_go()
        self._restore()

    def _put(self) -> None:
        with suppress(BlockingIOError):  # full: a build has written too many tokens
            os.write(self._descriptor, _TOKEN)

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
