"""Trying again: what may pass by itself is tried again, with growing, jittered pauses and within one deadline."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from manywheels.core.cancellation import Cancellation

_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})  # and those of servers' faults
T = TypeVar("T")


class Clock(Protocol):
    """Monotonic time in seconds, and waiting."""

    def monotonic(self) -> float:
        """Return the time."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


class RealClock:
    """The machine's monotonic clock; a cancellation ends every wait."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation

    def monotonic(self) -> float:
        """Return the monotonic clock's seconds."""
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        """Wait on the cancellation's descriptor."""
        poll = select.poll()
        poll.register(self._cancellation, select.POLLIN)
        poll.poll(seconds * 1000)


class TransientError(Exception):
    """A failure that may pass; `pause` is how many seconds the other side asked to wait."""

    def __init__(self, reason: str, *, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.pause = reason, pause


class RetriesExhausted(Exception):
    """What should have passed did not; `reason` is the last one, and how often it was tried."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(kw_only=True)
class RetryPolicy:
    """How often and how long to try; all in seconds. `budget` is counted from when this was made, over all calls.

    Nothing is tried again once `stopped` says so.
    """

    attempts: int = 6
    first_pause: float = 1.0
    longest_pause: float = 20.0
    budget: float = 1800.0
    clock: Clock = time
    stopped: Callable[[], bool] = lambda: False

    def __post_init__(self) -> None:
        self._deadline = self.clock.monotonic() + self.budget

    def call(self, operation: Callable[[], T], *, say: Callable[[str], None]) -> T:
        """Return what `operation` returns, called again after each Passing. Raises GivenUp when there is no use in it.

        `say` is told before each pause why and how long.
        """
        for attempt in range(1, self.attempts + 1):
            if self.stopped():
                raise RetriesExhausted("the run was cancelled")
            try:
                return operation()
            except TransientError as failure:
                pause = max(failure.pause, jittered(attempt - 1, self.first_pause, self.longest_pause))
                if attempt == self.attempts or self.left <= pause:
                    times = "once" if attempt == 1 else f"{attempt} times"
                    raise RetriesExhausted(f"{failure.reason} (tried {times})") from None
                say(f"{failure.reason}; trying again in {pause:.1f} s")
                self.clock.sleep(pause)
        raise AssertionError("unreachable")  # pragma: no cover

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - self.clock.monotonic()


_CHANCE: Final = random.Random()  # noqa: S311 - no secret hangs on it


def jittered(number: int, first: float, longest: float, chance: random.Random = _CHANCE) -> float:
    """Return the seconds to wait after the attempt with this number (0 the first): doubled each time, up to `longest`.

    A random part of them is left out, so that the jobs of a matrix do not come back all at once.
    """
    grown: float = min(first * 2.0**number, longest)
    return grown * chance.uniform(0.5, 1.0)


def is_transient(status: int) -> bool:
    """Whether a request that had this HTTP status for an answer may be answered otherwise later."""
    return status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def transient_status(status: int, headers: Mapping[str, str]) -> TransientError | None:
    """Return the failure of an HTTP status that may pass, with the pause of Retry-After; None for all others."""
    if not is_transient(status):
        return None
    return TransientError(f"the answer was HTTP status {status}", pause=retry_after(headers))


def retry_after(headers: Mapping[str, str]) -> float:
    """Return the seconds that an answer asks to wait (RFC 9110, 10.2.3: a number, or a date); 0 where it does not.

    Names of headers are in lower case, or found in any. A date counts from the server's own, if it tells it: this
    machine's clock may be wrong.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = _date(text)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max((moment - now).total_seconds(), 0.0) if moment else 0.0


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the server's Unix seconds, from the header `Date`."""
    moment = _date(headers.get("date", ""))
    return moment.timestamp() if moment else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
