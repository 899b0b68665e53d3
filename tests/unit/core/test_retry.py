"""When something is tried again, and when it is not: attempts, pauses, Retry-After, one deadline, a cancellation."""

from __future__ import annotations

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.core.retry import RetriesExhausted, RetryPolicy, TransientError


class SlowClock:
    """A clock that moves in `sleep` only, which also requests the cancellation."""

    def __init__(self, cancellation: Cancellation | None = None) -> None:
        self.now, self.slept, self._cancellation = 0.0, list[float](), cancellation

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self._cancellation:
            self._cancellation.request()


def fail(pause: float = 0.0) -> None:
    raise TransientError("it failed", pause=pause)


def test_pauses_grow_and_jitter() -> None:
    clock, reported = SlowClock(), list[str]()
    with pytest.raises(RetriesExhausted, match="it failed \\(tried 6 times\\)"):
        RetryPolicy(clock=clock).call(fail, report=reported.append)
    assert reported == [f"it failed; trying again in {slept:.1f} s" for slept in clock.slept]
    assert len(clock.slept) == 5
    assert all(length / 2 <= slept <= length for slept, length in zip(clock.slept, (1, 2, 4, 8, 16), strict=True))


def test_pauses_have_a_longest() -> None:
    policy = RetryPolicy(first_pause=1.0, longest_pause=3.0)
    assert all(1.5 <= policy.pause_after(attempt) <= 3.0 for attempt in range(3, 200))


def test_retry_after_is_honoured_and_the_deadline_is_one_for_all() -> None:
    clock = SlowClock()
    retries = RetryPolicy(clock=clock, attempts=100, budget=100.0)
    with pytest.raises(RetriesExhausted):
        retries.call(lambda: fail(30))
    assert clock.slept == [30, 30, 30]
    with pytest.raises(RetriesExhausted, match="tried once"):
        retries.call(lambda: fail(30))


def test_a_deadline_can_be_brought_forward_and_not_back() -> None:
    clock = SlowClock()
    retries = RetryPolicy(clock=clock, budget=100.0)
    retries.end_at(200.0)
    assert retries.left == 100.0
    retries.end_at(10.0)
    assert not retries.wait(10.0)
    assert clock.slept == []
    assert retries.within(50.0).wait(10.0)


def test_a_last_request_has_time_after_the_deadline() -> None:
    clock = SlowClock()
    retries = RetryPolicy(clock=clock, budget=10.0, last_request=5.0)
    assert (retries.timeout(30.0), retries.timeout(2.0)) == (10.0, 2.0)
    clock.sleep(60.0)
    assert retries.over
    assert retries.timeout(30.0) == 5.0


def test_nothing_is_tried_again_when_the_run_was_cancelled() -> None:
    cancellation = Cancellation()
    clock = SlowClock(cancellation)
    with pytest.raises(RetriesExhausted, match="tried once"):
        RetryPolicy(clock=clock, cancellation=cancellation).call(fail)
    assert len(clock.slept) == 1
