"""Waiting for blocking calls in threads, which are left behind on cancellation or timeout."""

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
    """Start `work` in a daemon thread."""
    future: futures.Future[T] = futures.Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            future.set_exception(error)

    threading.Thread(target=do, name="interruptible", daemon=True).start()
    return future


def wait(future: futures.Future[T], cancellation: Cancellation, timeout: float = math.inf) -> T | None:
    """Return None after a cancellation or `timeout` seconds. Raises what the work raised."""
    deadline = time.monotonic() + timeout
    while not cancellation.requested and time.monotonic() < deadline:
        if futures.wait([future], timeout=0.1).done:
            return future.result()
    return None


def within(seconds: float, work: Callable[[], T], stopped: Callable[[], bool] = lambda: False) -> T:
    """Raises TimeoutError after `seconds`, or once `stopped()`."""
    future, end = begin(work), time.monotonic() + seconds
    while not futures.wait([future], timeout=0.1).done:
        if stopped() or time.monotonic() >= end:
            raise TimeoutError
    return future.result()


def until_stopped(work: Callable[[], T], cancellation: Cancellation) -> T:
    """Raises Cancelled on cancellation; `work` is left to its thread."""
    results: list[T] = []
    try:
        wait(begin(lambda: results.append(work())), cancellation)
    except DeliveryError:
        if not cancellation.requested:  # else it is a consequence of the cancellation
            raise
    if not results:
        raise Cancelled("The delivery was stopped.", remedy="")
    return results[0]
