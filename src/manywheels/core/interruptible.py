"""Waiting for what cannot be called back, as a request to a server: whoever waits gives up when the run is stopped."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent import futures
from typing import TYPE_CHECKING, TypeVar

from manywheels.errors import Cancelled, DeliveryError

if TYPE_CHECKING:
    from manywheels.core.cancellation import Cancellation

T = TypeVar("T")


def begin(work: Callable[[], T]) -> futures.Future[T]:
    """Start `work` in a thread that the program's end does not wait for: whoever it asks gives up with its caller."""
    future: futures.Future[T] = futures.Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)

    threading.Thread(target=do, name="waited for", daemon=True).start()
    return future


def wait(future: futures.Future[T], cancellation: Cancellation, timeout: float = math.inf) -> T | None:
    """Return the result of what was begun; None once the switch is thrown, or `timeout` seconds have passed."""
    deadline = time.monotonic() + timeout
    while not cancellation.requested and time.monotonic() < deadline:
        if futures.wait([future], timeout=0.1).done:
            return future.result()
    return None


def within(seconds: float, work: Callable[[], T], stopped: Callable[[], bool] = lambda: False) -> T:
    """Return what `work` returns. Raises TimeoutError after `seconds`, or once `stopped` says so."""
    future, end = begin(work), time.monotonic() + seconds
    while not futures.wait([future], timeout=0.1).done:
        if stopped() or time.monotonic() >= end:
            raise TimeoutError
    return future.result()


def until_stopped(work: Callable[[], T], cancellation: Cancellation) -> T:
    """Return what `work` returns. Raises Cancelled at once when the run is stopped.

    A request cannot be called back, and may wait for minutes: it is left to a thread that ends with the program.
    """
    results: list[T] = []
    try:
        wait(begin(lambda: results.append(work())), cancellation)
    except DeliveryError:
        if not cancellation.requested:  # else it is only how the thread saw the end
            raise
    if not results:
        raise Cancelled("The delivery was stopped.", remedy="")
    return results[0]
