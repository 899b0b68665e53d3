"""Time, as far as publishing needs it: when to try again, and until when; never the wall clock, which may be set."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.retry import Clock, jittered, retry_after
from manywheels.data import table
from manywheels.deliver.index.http import NoResponse, Response

_QUESTIONS: Final = 4  # attempts for each question


class RetrySchedule:
    """Jittered pauses between attempts, under one deadline for all of them. Several threads may take them."""

    def __init__(
        self,
        clock: Clock,
        cancellation: Cancellation,
        *,
        chance: random.Random | None = None,
        limit: float | None = None,
    ) -> None:
        """`limit` is in seconds from now; without it, that of data/publish.toml."""
        self.clock, self._cancellation = clock, cancellation
        self._chance = chance or random.Random()  # noqa: S311 - that clients do not come back all at once is no secret
        self._end = clock.monotonic() + (table("publish")["deadline"] if limit is None else limit)

    def end_at(self, moment: float) -> None:
        """Let the deadline be no later than a moment of the clock."""
        self._end = min(self._end, moment)

    def within(self, seconds: float) -> RetrySchedule:
        """Return pauses of the same clock and run, under a deadline of their own."""
        return RetrySchedule(self.clock, self._cancellation, chance=self._chance, limit=seconds)

    @property
    def cancelled(self) -> bool:
        """Whether the run was cancelled: waiting has no use any more."""
        return self._cancellation.requested

    @property
    def over(self) -> bool:
        """Whether the deadline has passed, or the run was cancelled."""
        return self.cancelled or self.clock.monotonic() >= self._end

    def limit(self, seconds: float) -> float:
        """Return the seconds a request may take, of these: until the deadline, after it as long as a last question."""
        last: float = table("publish")["last-questions"]
        return min(seconds, max(self._end - self.clock.monotonic(), last))

    def length(self, number: int) -> float:
        """Return the seconds to wait after the attempt with this number (0 the first)."""
        facts = table("publish")
        return jittered(number, facts["first-pause"], facts["longest-pause"], self._chance)

    def ask(self, request: Callable[[], Response]) -> Response:
        """Make a request until its answer is one that will stay; NoAnswer where none of a few attempts brings one."""
        fault = "there was no time left"
        for number in range(_QUESTIONS):
            answer = None
            try:
                answer = request()
            except NoResponse as error:
                fault = str(error)
            else:
                if not answer.is_passing:
                    return answer
                fault = f"it answers {answer.status}"
            if number == _QUESTIONS - 1 or not self.take(self.length(number), answer):
                break
        raise NoResponse(fault, arrived=True)

    def take(self, seconds: float, answer: Response | None = None) -> bool:
        """Wait, longer if the server wants it; return False, at once, where the deadline does not allow it."""
        seconds = max(seconds, retry_after(answer.headers) if answer else 0.0)
        if self.over or self.clock.monotonic() + seconds > self._end:
            return False
        self.clock.sleep(seconds)
        return not self.over
