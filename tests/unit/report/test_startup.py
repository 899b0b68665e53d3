"""What a run says of the time before its first target."""

from __future__ import annotations

from manywheels.build.trace import TARGETS, Kind, Span
from manywheels.report.startup import describe
from manywheels.report.summary import step_summary
from unit.helpers import built, manifest


def step(name: str, begin: float, end: float) -> Span:
    return Span(kind=Kind.RUN, name=name, begin=begin, seconds=end - begin)


STEPS = [
    step("plan", 0.0, 0.4), step("image", 0.4, 4.5), step("restore objects", 4.5, 4.52), step(TARGETS, 6.3, 40.0),
    step("save objects", 40.0, 41.0),
]  # fmt: skip


def test_steps_that_take_long_are_named_in_their_order() -> None:
    assert describe(reversed(STEPS)) == "ready to build after 6.3 s (plan 0.4 s, image 4.1 s)"


def test_a_run_without_targets_or_trace_says_nothing() -> None:
    assert describe([]) == describe(STEPS[:2]) == ""


def test_it_is_in_the_step_summary() -> None:
    made = manifest(built())
    assert "ready to build after 6" in step_summary(made, startup=describe(STEPS))
    assert "ready to build" not in step_summary(made)
