"""What ran when: spans of the run, of its targets and of its compilers, for `--trace` and the HTML report.

A project decides the names and the number of what is compiled, a container what it tells of itself: both are bounded.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from manywheels.core.text import sanitize, shorten


class Kind(StrEnum):
    """What a span is part of; SHARED marks an object that a target got because it had been compiled."""

    RUN = "run"
    TARGET = "target"
    COMPILER = "compiler"
    SHARED = "shared"


MOST: Final[Mapping[Kind, int]] = {Kind.RUN: 500, Kind.TARGET: 3_000, Kind.COMPILER: 7_000, Kind.SHARED: 3_000}
TARGETS: Final = "targets"  # the step of the run in which targets are built
_LONGEST: Final = 80  # characters of a name
_MOST_COMPILERS: Final = 512  # of one container
_MANY: Final = 10**9  # spans that a container has left out
_FIELDS: Final = 6  # of a span that a container tells


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """It began `begin` seconds after the trace, and took `seconds`; 0 for SHARED.

    `lane` is a target's identifier or a compiler's number, empty for the run. `target` is the one whose unit was
    compiled. `place` is the tag of the platform whose container it was in, empty for the program itself.
    """

    kind: Kind
    name: str
    begin: float
    seconds: float = 0.0
    lane: str = ""
    target: str = ""
    place: str = ""

    @property
    def end(self) -> float:
        return self.begin + self.seconds


class Trace:
    """Collects spans, from several threads; does nothing unless `on`. `began` is a monotonic time in seconds."""

    def __init__(self, began: float | None = None, *, on: bool = True) -> None:
        self.on = on
        self._began = time.monotonic() if began is None else began
        self._spans: list[Span] = []
        self._counts: Counter[Kind] = Counter()
        self._left_out = 0
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return seconds since the trace began."""
        return time.monotonic() - self._began

    def span(self, kind: Kind, name: str, *, lane: str = "", target: str = "") -> AbstractContextManager[None]:
        """Add what the block takes, however it ends."""
        return self._measured(kind, name, lane, target) if self.on else nullcontext()

    def step(self, name: str) -> AbstractContextManager[None]:
        """Add what the block takes to the run's lane."""
        return self.span(Kind.RUN, name)

    def step_since(self, begin: float, name: str) -> None:
        """Add to the run's lane what has taken since `begin`, a time of `now`."""
        self.add(Span(kind=Kind.RUN, name=name, begin=begin, seconds=self.now() - begin))

    def shared(self, target: str, name: str) -> None:
        """Mark that a target has got an object."""
        self.add(Span(kind=Kind.SHARED, name=name, begin=self.now(), lane=target))

    def add(self, span: Span) -> None:
        """Leave out what is beyond `MOST`; clean the name, and shorten it."""
        if not self.on:
            return
        with self._lock:
            self._counts[span.kind] += 1
            if self._counts[span.kind] <= MOST[span.kind]:
                self._spans.append(_cleaned(span))

    def add_left_out(self, count: int) -> None:
        """Count spans that a container has left out itself."""
        with self._lock:
            self._left_out += count

    @property
    def spans(self) -> tuple[Span, ...]:
        with self._lock:
            return tuple(self._spans)

    @property
    def left_out(self) -> int:
        """The number of spans that are not kept."""
        with self._lock:
            return self._left_out + sum(self._counts.values()) - len(self._spans)

    @contextmanager
    def _measured(self, kind: Kind, name: str, lane: str, target: str) -> Iterator[None]:
        begin = self.now()
        try:
            yield
        finally:
            self.add(Span(kind=kind, name=name, begin=begin, seconds=self.now() - begin, lane=lane, target=target))


NO_TRACE: Final = Trace(on=False)


def _cleaned(span: Span) -> Span:
    return Span(
        kind=span.kind, name=shorten(sanitize(span.name), _LONGEST), begin=span.begin, seconds=span.seconds,
        lane=span.lane, target=span.target, place=span.place,
    )  # fmt: skip


# --- a container's part -----------------------------------------------------------------------------------------------


def told(trace: Trace) -> list[list[str | float]]:
    """Return the spans as `TracePart.take` reads them, also through JSON."""
    return [
        [span.kind.value, span.name, round(span.begin, 6), round(span.seconds, 6), span.lane, span.target]
        for span in trace.spans
    ]


class TracePart:
    """What a container adds to the trace of the run, on the run's own clock.

    `place` is its platform's tag, `targets` the identifiers of what it builds.
    """

    def __init__(self, trace: Trace, place: str, targets: Collection[str]) -> None:
        self._trace, self._place, self._targets = trace, place, targets
        self._step: tuple[str, float] | None = None
        self._offset: float | None = None

    @property
    def on(self) -> bool:
        return self._trace.on

    def step(self, name: str) -> None:
        """Begin a step towards the program in the container; this ends the one before."""
        self.end(self._trace.now())
        self._step = (name, self._trace.now())

    def end(self, at: float) -> None:
        """End the last step, at a time of the run's clock."""
        if self._step:
            name, begin = self._step
            seconds = max(0.0, at - begin)
            self._trace.add(Span(kind=Kind.RUN, name=name, begin=begin, seconds=seconds, place=self._place))
        self._step = None

    def begin(self, seconds: object) -> None:
        """The program in the container has begun so many seconds ago. Raises ValueError."""
        self._offset = max(0.0, self._trace.now() - _seconds(seconds))
        self.end(self._offset)

    def take(self, spans: object, left_out: object) -> None:
        """Take what `told` returned there. Raises ValueError if it cannot be: nothing is added then."""
        if self._offset is None or not isinstance(spans, list) or len(spans) > sum(MOST.values()):
            raise ValueError("a trace that is none")
        now, offset, count = self._trace.now(), self._offset, min(int(_seconds(left_out)), _MANY)
        for span in [self._read(fields, offset, now) for fields in spans]:
            self._trace.add(span)
        self._trace.add_left_out(count)

    def _read(self, fields: object, offset: float, now: float) -> Span:
        if not isinstance(fields, list) or len(fields) != _FIELDS:
            raise ValueError("a span that is none")
        texts = [fields[number] for number in (0, 1, 4, 5)]
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a span without names")
        word, name, lane, target = texts
        kind = Kind(word)
        self._require_own(kind, lane, target)
        begin = min(offset + _seconds(fields[2]), now)
        return Span(
            kind=kind, name=name, begin=begin, seconds=min(_seconds(fields[3]), now - begin), lane=lane, target=target,
            place=self._place,
        )  # fmt: skip

    def _require_own(self, kind: Kind, lane: str, target: str) -> None:
        is_own = {
            Kind.RUN: not lane,
            Kind.TARGET: lane in self._targets,
            Kind.SHARED: lane in self._targets,
            Kind.COMPILER: lane in _NUMBERS,
        }[kind]
        if not is_own or (target not in self._targets if kind is Kind.COMPILER else target):
            raise ValueError(f"a span of `{lane}`, `{target}`, which is not the container's")


_NUMBERS: Final = frozenset(map(str, range(1, _MOST_COMPILERS + 1)))


def _seconds(number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < math.inf:
        raise ValueError(f"`{str(number)[:20]}` seconds")
    return float(number)
