"""Retries with growing, jittered pauses within one deadline."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, Protocol, TypeVar

from manywheels.core.cancellation import Cancellation

_TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_FINAL: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
T = TypeVar("T")


class Clock(Protocol):
    """Monotonic time in seconds."""

    def monotonic(self) -> float: ...
    def sleep(self, seconds: float, /) -> None: ...


class RealClock:
    """The machine's monotonic clock; a cancellation ends every wait."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        poll = select.poll()
        poll.register(self._cancellation, select.POLLIN)
        poll.poll(seconds * 1000)


class TransientError(Exception):
    """A failure that may pass; `pause` is how many seconds the server asked to wait."""

    def __init__(self, reason: str, *, pause: float = 0.0) -> None:
        super().__init__(reason)
        self.reason, self.pause = reason, pause


class RetriesExhausted(Exception):
    """An operation failed for good; `reason` is that of its last failure."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(f"{reason} (tried {'once' if attempts == 1 else f'{attempts} times'})")
        self.reason = reason


_JITTER: Final = random.Random()  # noqa: S311 - not for secrets


@dataclass(kw_only=True)
class RetryPolicy:
    """When to try again. Times are in seconds.

    `budget` counts from the policy's creation, for all calls of all threads. After the deadline, requests have
    `last_request`.
    """

    cancellation: Cancellation = field(default_factory=Cancellation)
    attempts: int = 6
    first_pause: float = 1.0
    longest_pause: float = 20.0
    budget: float = 1800.0
    last_request: float = 0.0
    clock: Clock | None = None  # RealClock
    jitter: random.Random = _JITTER

    def __post_init__(self) -> None:
        self._clock = self.clock or RealClock(self.cancellation)
        self._deadline = self.now() + self.budget

    def call(
        self, operation: Callable[[], T], *, attempts: int | None = None, report: Callable[[str], None] | None = None
    ) -> T:
        """Call again after each TransientError. Raises RetriesExhausted.

        `report` gets a line before each pause.
        """
        attempt = 1
        while True:
            try:
                return operation()
            except TransientError as failure:
                if not self.again(attempt, failure, attempts=attempts, report=report):
                    raise RetriesExhausted(failure.reason, attempt) from None
            attempt += 1

    def again(
        self,
        attempt: int,
        failure: TransientError,
        *,
        attempts: int | None = None,
        report: Callable[[str], None] | None = None,
    ) -> bool:
        """Pause after an attempt (1 is the first); return False if there must not be another."""
        pause = max(failure.pause, self.pause_after(attempt))
        if attempt >= (attempts or self.attempts) or not self._allows(pause):
            return False
        if report is not None:
            report(f"{failure.reason}; trying again in {pause:.1f} s")
        return self.wait(pause)

    def pause_after(self, attempt: int) -> float:
        """Return seconds: doubled after each attempt (1 is the first), up to `longest_pause`.

        Up to half is left out at random: a matrix's jobs must not return all at once.
        """
        pause = min(self.first_pause * 2.0 ** (attempt - 1), self.longest_pause)
        return pause * self.jitter.uniform(0.5, 1.0)

    def wait(self, seconds: float) -> bool:
        """Return False on cancellation, or at once if the deadline is nearer."""
        if not self._allows(seconds):
            return False
        self.sleep(seconds)
        return not self.over

    def _allows(self, pause: float) -> bool:
        return not self.over and pause < self.left

    def now(self) -> float:
        """Return monotonic seconds."""
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait, whatever the deadline; a cancellation ends it."""
        self._clock.sleep(seconds)

    def end_at(self, moment: float) -> None:
        """Move the deadline to an earlier time of the clock."""
        self._deadline = min(self._deadline, moment)

    def within(self, seconds: float) -> RetryPolicy:
        return replace(self, budget=seconds)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - self.now()

    @property
    def cancelled(self) -> bool:
        return self.cancellation.requested

    @property
    def over(self) -> bool:
        """Whether the deadline has passed or the run was cancelled."""
        return self.cancelled or self.left <= 0

    def timeout(self, seconds: float) -> float:
        """Return `seconds`, or less near the deadline, but at least `last_request`."""
        return min(seconds, max(self.left, self.last_request))


def is_transient(status: int) -> bool:
    """Whether a repeated request may succeed after this HTTP status: 408, 429, 5xx but 501 and 505."""
    return status in _TRANSIENT or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _FINAL)


def transient_status(status: int, headers: Mapping[str, str]) -> TransientError | None:
    """Return an error with the response's Retry-After; None for other statuses."""
    if not is_transient(status):
        return None
    return TransientError(f"the response was HTTP status {status}", pause=retry_after(headers))


def retry_after(headers: Mapping[str, str]) -> float:
    """Return Retry-After in seconds (RFC 9110, 10.2.3: a number or a date); 0 if absent or invalid.

    A date counts from the server's `Date`: this machine's clock may be wrong. `headers` ignores case or has lower-case
    names.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    moment = _date(text)
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max((moment - now).total_seconds(), 0.0) if moment else 0.0


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the Unix time of the header `Date`."""
    moment = _date(headers.get("date", ""))
    return moment.timestamp() if moment else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
