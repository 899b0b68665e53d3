"""What a trace keeps: bounded, with clean names, and of a container only what it may tell."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from manywheels.build.trace import MOST, NO_TRACE, Kind, Span, Trace, TracePart, told

CP312 = "cp312-manylinux_x86_64"


def names(trace: Trace) -> list[str]:
    return [span.name for span in trace.spans]


def test_a_span_ends_however_its_block_ends() -> None:
    trace = Trace()
    with trace.step("source"):
        pass
    with pytest.raises(ValueError, match="no"), trace.span(Kind.COMPILER, "core.c", lane="1", target=CP312):
        raise ValueError("no")
    source, unit = trace.spans
    assert (source.kind, source.name, source.lane) == (Kind.RUN, "source", "")
    assert (unit.kind, unit.name, unit.lane, unit.target) == (Kind.COMPILER, "core.c", "1", CP312)
    assert 0 <= source.begin <= source.end <= unit.begin <= unit.end <= trace.now()


def test_a_run_that_asks_for_no_trace_keeps_nothing() -> None:
    with NO_TRACE.step("source"):
        NO_TRACE.shared(CP312, "core.c")
        NO_TRACE.step_since(0, "plan")
    assert NO_TRACE.spans == ()
    assert NO_TRACE.left_out == 0


def test_the_number_of_spans_is_bounded_for_each_kind() -> None:
    trace = Trace()
    for number in range(MOST[Kind.COMPILER] + 7):
        trace.add(Span(kind=Kind.COMPILER, name=f"{number}.c", begin=number, lane="1", target=CP312))
    trace.add(Span(kind=Kind.TARGET, name="build", begin=0, lane=CP312))
    assert len(trace.spans) == MOST[Kind.COMPILER] + 1
    assert trace.spans[-1].name == "build"
    assert trace.left_out == 7


@pytest.mark.parametrize("name", ["a\x1b[31m\n\u202eb\ud800.c", "##[group]", "::error::x", "x" * 10_000 + ".c"])
def test_names_are_clean_and_short(name: str) -> None:
    trace = Trace()
    trace.shared(CP312, name)
    (kept,) = names(trace)
    assert len(kept) <= 80
    assert not {*kept} & {*"\x1b\n\u202e\ud800"}
    assert "##[" not in kept
    assert not kept.startswith("::")
    kept.encode()


def test_spans_of_several_threads_are_all_there() -> None:
    trace = Trace()

    def work() -> None:
        for _ in range(200):
            with trace.span(Kind.TARGET, "build", lane=CP312):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trace.spans) == 800


# --- a container's part -----------------------------------------------------------------------------------------------


class Clock:
    """A monotonic clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 1000.0
        monkeypatch.setattr("time.monotonic", lambda: self.time)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def part_of(trace: Trace) -> TracePart:
    return TracePart(trace, "musllinux_1_2_x86_64", {CP312})


def test_what_a_container_tells_is_on_the_clock_of_the_run(clock: Clock) -> None:
    outside = Trace()
    part = part_of(outside)
    clock.time += 1
    for name in ("image", "container", "program"):
        part.step(name)
        clock.time += 2
    inside = Trace(began=clock.time - 0.5)
    part.begin(inside.now())
    with inside.span(Kind.TARGET, "build", lane=CP312):
        clock.time += 3
    inside.shared(CP312, "core.c")
    part.take(json.loads(json.dumps(told(inside))), 4)
    part.end(outside.now())
    found = [(span.kind.value, span.name, span.begin, span.end, span.place) for span in outside.spans]
    place = "musllinux_1_2_x86_64"
    assert found == [
        ("run", "image", 1.0, 3.0, place), ("run", "container", 3.0, 5.0, place), ("run", "program", 5.0, 6.5, place),
        ("target", "build", 7.0, 10.0, place), ("shared", "core.c", 10.0, 10.0, place),
    ]  # fmt: skip
    assert outside.left_out == 4


def test_the_step_of_a_container_that_never_begins_has_an_end(clock: Clock) -> None:
    trace = Trace()
    part = part_of(trace)
    part.step("image")
    clock.time += 2
    part.end(trace.now())
    part.end(trace.now())
    assert [(span.name, span.seconds) for span in trace.spans] == [("image", 2.0)]


def test_nothing_is_later_than_it_was_told(clock: Clock) -> None:
    trace = Trace()
    part = part_of(trace)
    clock.time += 2
    part.begin(1e300)
    part.take([["run", "plan", 1e300, 1e300, "", ""], ["run", "source", 1, 1e300, "", ""]], 0)
    assert [(span.begin, span.end) for span in trace.spans] == [(2.0, 2.0), (1.0, 2.0)]


GOOD = ["compiler", "core.c", 0.5, 0.25, "1", CP312]


def changed(**fields: Any) -> Callable[[TracePart], None]:
    span = list(GOOD)
    for place, value in fields.items():
        span[int(place[1:])] = value
    return lambda part: part.take([GOOD, span], 0)


STRANGE: dict[str, Callable[[TracePart], None]] = {
    "no list": lambda part: part.take({"a": 1}, 0),
    "no span": lambda part: part.take(["x"], 0),
    "a short span": lambda part: part.take([GOOD[:5]], 0),
    "too many spans": lambda part: part.take([GOOD] * (sum(MOST.values()) + 1), 0),
    "a negative number left out": lambda part: part.take([GOOD], -1),
    "no number left out": lambda part: part.take([GOOD], "1"),
    "a beginning that is none": lambda part: part.begin("now"),
    "a beginning to come": lambda part: part.begin(-5),
    "an unknown kind": changed(_0="secret"),
    "a kind that is no text": changed(_0=["run"]),
    "a name that is none": changed(_1=3),
    "a negative begin": changed(_2=-1),
    "a begin that is no number": changed(_2=float("nan")),
    "a begin that is true": changed(_2=True),
    "endless seconds": changed(_3=float("inf")),
    "a compiler without a number": changed(_4="x"),
    "compiler 0": changed(_4="0"),
    "compiler 10000": changed(_4="10000"),
    "another container's unit": changed(_5="cp312-manylinux_aarch64"),
    "another container's target": changed(_0="target", _4="cp39-manylinux_x86_64", _5=""),
    "another container's object": changed(_0="shared", _4="x", _5=""),
    "a run with a lane": changed(_0="run", _5=""),
    "a stage with a target": changed(_0="target", _4=CP312),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_container_cannot_tell_what_it_may_not(name: str) -> None:
    trace = Trace()
    part = part_of(trace)
    part.begin(0)
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        STRANGE[name](part)
    assert trace.spans == ()


def test_a_container_tells_nothing_before_it_has_begun() -> None:
    with pytest.raises(ValueError, match="none"):
        part_of(Trace()).take([GOOD], 0)


def test_what_several_containers_tell_is_bounded_together() -> None:
    trace = Trace()
    for _ in range(3):
        part = part_of(trace)
        part.begin(0)
        part.take([GOOD] * MOST[Kind.COMPILER], 10**30)
    assert len(trace.spans) == MOST[Kind.COMPILER]
    assert trace.left_out == 2 * MOST[Kind.COMPILER] + 3 * 10**9
