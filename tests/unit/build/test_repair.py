"""The result of auditwheel's process is not trusted: the wheel may have taken the process over."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.build.stages.repair import RepairRequest, take_over
from manywheels.core.cancellation import Cancellation
from manywheels.errors import RepairFailed
from manywheels.plan.policies import policy_named
from manywheels.runtime.untrusted_files import Suspicious


@pytest.fixture
def request_(tmp_path: Path) -> RepairRequest:
    folder = tmp_path / "repairs"
    folder.mkdir()
    return RepairRequest(
        wheel=tmp_path / "a.whl", policy=policy_named("manylinux_2_28"), arch="x86_64", folder=folder,
        finished=tmp_path / "finished", library_path=None, exclude=(), strip=False, user=None, log=tmp_path / "log",
    )  # fmt: skip


def test_the_named_wheel_is_taken_over(request_: RepairRequest) -> None:
    (request_.folder / "a.whl").write_bytes(b"wheel")
    (request_.folder / "result.json").write_text('{"wheel": "/elsewhere/a.whl"}')
    assert take_over(request_, Cancellation()) == request_.finished / "a.whl"


def test_a_problem_is_reported_with_its_remedy(request_: RepairRequest) -> None:
    (request_.folder / "result.json").write_text('{"problem": "It is old.", "remedy": "Take a new one."}')
    with pytest.raises(RepairFailed, match="It is old") as caught:
        take_over(request_, Cancellation())
    assert caught.value.remedy == "Take a new one."


@pytest.mark.parametrize(
    "result", ["[]", "null", "{}", '{"problem": "x"}', '{"wheel": 1}', '{"wheel": ".."}', "not JSON"]
)
def test_an_invalid_result_is_refused(result: str, request_: RepairRequest) -> None:
    (request_.folder / "result.json").write_text(result)
    with pytest.raises((Suspicious, ValueError)):
        take_over(request_, Cancellation())
