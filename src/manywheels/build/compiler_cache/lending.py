"""Who waits for an object that another target has compiled, and so needs no token meanwhile.

A target may ask for several objects at once, with one token. It lends that while all of its requests wait: as long as
one of them compiles, or preprocesses, the target is at work.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import TypeVar

T = TypeVar("T")


class Requests:
    """Counts the requests of each target; within `lent`, a target does without its token."""

    def __init__(self, lent: Callable[[], AbstractContextManager[None]]) -> None:
        self._lent = lent
        self._changed = threading.Condition()
        self._requests: Counter[str] = Counter()
        self._waits: Counter[str] = Counter()
        self._lenders: set[str] = set()

    def number_of(self, target: str) -> int:
        """Return how many requests of a target are under way."""
        with self._changed:
            return self._requests[target]

    def begin(self, target: str) -> None:
        """Count a request."""
        self._count(self._requests, target, 1)

    def end(self, target: str) -> None:
        """Count a request no more."""
        self._count(self._requests, target, -1)

    def result_of(self, awaited: Future[T], target: str) -> T:
        """Wait for what another target has begun."""
        awaited.add_done_callback(self._tell)
        self._count(self._waits, target, 1)
        try:
            while self._becomes_lender(target, awaited):
                self._lend_until(target, awaited)
            return awaited.result()
        finally:
            self._count(self._waits, target, -1)

    def _becomes_lender(self, target: str, awaited: Future[T]) -> bool:
        """Wait until all requests of the target wait, and none of them lends; return False once the result is there."""
        with self._changed:
            self._changed.wait_for(lambda: awaited.done() or (self._all_wait(target) and target not in self._lenders))
            if awaited.done():
                return False
            self._lenders.add(target)
            return True

    def _lend_until(self, target: str, awaited: Future[T]) -> None:
        try:
            with self._lent(), self._changed:
                self._changed.wait_for(lambda: awaited.done() or not self._all_wait(target))
        finally:
            with self._changed:
                self._lenders.discard(target)
                self._changed.notify_all()

    def _all_wait(self, target: str) -> bool:
        return self._waits[target] >= self._requests[target]

    def _count(self, counter: Counter[str], target: str, change: int) -> None:
        with self._changed:
            counter[target] += change
            self._changed.notify_all()

    def _tell(self, _: object) -> None:
        with self._changed:
            self._changed.notify_all()
