"""The time line: stages in order, without overlap, whatever numbers a manifest has."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manywheels.report.timeline import Bar, Timeline, lay_out
from manywheels.wheels.manifest import TargetRecord
from unit.helpers import built, manifest

SECONDS = st.floats(min_value=-10, max_value=1e6, allow_nan=False)
STAGES = st.dictionaries(st.sampled_from(["prepare", "build", "waiting", "repair", "verify", "x"]), SECONDS)


def record(began: dict[str, float], seconds: dict[str, float]) -> TargetRecord:
    return replace(built(), began=began, seconds=seconds)


def bars(began: dict[str, float], seconds: dict[str, float]) -> list[tuple[str, float, float]]:
    (lane,) = lay_out(manifest(record(began, seconds))).lanes
    return [(bar.stage, bar.begin, bar.end) for bar in lane.bars]


def test_gaps_between_stages_are_waiting() -> None:
    assert bars({"build": 2.0, "repair": 11.0}, {"build": 8.0, "repair": 1.0}) == [
        ("waiting", 0.0, 2.0), ("build", 2.0, 10.0), ("waiting", 10.0, 11.0), ("repair", 11.0, 12.0),
    ]  # fmt: skip


def test_recorded_waiting_and_the_gap_after_it_are_one_bar() -> None:
    began = {"build": 0.0, "waiting": 8.0, "repair": 12.0}
    assert bars(began, {"build": 8.0, "waiting": 3.0, "repair": 1.0}) == [
        ("build", 0.0, 8.0), ("waiting", 8.0, 12.0), ("repair", 12.0, 13.0),
    ]  # fmt: skip


def test_short_gaps_are_not_waiting() -> None:
    began = {"build": 0.01, "waiting": 8.0, "repair": 8.02}
    assert [stage for stage, *_ in bars(began, {"build": 7.99, "waiting": 0.01, "repair": 1.0})] == ["build", "repair"]


def test_a_target_without_times_has_no_lane() -> None:
    assert lay_out(manifest(record({}, {"build": 1.0}))) == Timeline(lanes=(), end=0.0)


def test_stages_are_named_once_and_waiting_last() -> None:
    one = record({"build": 1.0, "verify": 3.0}, {"build": 1.0, "verify": 1.0})
    assert lay_out(manifest(one, one)).stages == ("build", "verify", "waiting")


@given(STAGES, STAGES)
def test_bars_never_overlap(began: dict[str, float], seconds: dict[str, float]) -> None:
    for lane in lay_out(manifest(record(began, seconds))).lanes:
        assert all(before.end <= after.begin for before, after in zip(lane.bars, lane.bars[1:], strict=False))
        assert all(bar.begin >= 0 and bar.seconds >= 0 for bar in lane.bars)


@pytest.mark.parametrize(
    ("end", "expected"),
    [(0.0, (0.0,)), (0.4, (0.0, 0.1, 0.2, 0.3, 0.4)), (22.7, (0.0, 10.0, 20.0)), (100.0, (0.0, 50.0, 100.0)),
     (3600.0, (0.0, 1000.0, 2000.0, 3000.0))],
)  # fmt: skip
def test_ticks_are_round(end: float, expected: tuple[float, ...]) -> None:
    assert Timeline(lanes=(), end=end).ticks() == expected


def test_the_length_of_a_bar() -> None:
    assert Bar(stage="build", begin=1.5, end=4.0).seconds == 2.5
