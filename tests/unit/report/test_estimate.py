"""How much time a run has left, as the run before took."""

from __future__ import annotations

from dataclasses import replace

import pytest

from manywheels.report.estimate import Estimate, estimate
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState


def target(identifier: str, seconds: float, *, kept: bool = False) -> TargetRecord:
    return TargetRecord(identifier=identifier, state=TargetState.BUILT, seconds={"build": seconds}, kept=kept)


BEFORE = Manifest(
    project="demo", source="0" * 64, platform="linux", toolchain="gcc", manywheels="1", seconds=20.0,
    targets=(target("cp311", 20.0), target("cp312", 20.0)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("elapsed", "left"),
    [
        ({"cp311": 0.0, "cp312": 0.0}, 20.0),  # two at once
        ({"cp311": 10.0, "cp312": 5.0}, 15.0),  # the longest decides
        ({"cp312": 30.0}, 0.0),
        ({}, None),
        ({"cp313": 0.0, "cp312": 5.0}, None),  # it was not built before
    ],
)
def test_the_time_left(elapsed: dict[str, float], left: float | None) -> None:
    assert estimate(BEFORE).left(elapsed) == left


def test_without_a_run_before_nothing_is_estimated() -> None:
    assert estimate(None) == Estimate()
    assert Estimate().left({"cp312": 1.0}) is None


def test_what_a_run_kept_says_nothing_of_its_time() -> None:
    kept = replace(BEFORE, targets=(target("cp311", 20.0, kept=True), target("cp312", 20.0)), seconds=20.0)
    assert estimate(kept).left({"cp311": 0.0}) is None
    assert estimate(kept).left({"cp312": 5.0}) == 15.0
    assert estimate(replace(kept, targets=kept.targets[:1])) == Estimate()
