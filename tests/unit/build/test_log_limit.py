"""A log that exceeds its limit: every kind of command is ended, with the same message."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from manywheels.build.stages import repair
from manywheels.build.stages.hooks import Hook, run_before_all, run_hook
from manywheels.build.stages.repair import RepairRequest
from manywheels.build.stages.test_container import _LogSink
from manywheels.build.stages.test_run import TestRequest, explain
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.errors import BeforeAllFailed, HookFailed, RepairFailed
from manywheels.plan.pip_settings import Follower
from manywheels.runtime import sandbox
from manywheels.runtime.containers.run import ContainerSpec, run_container
from manywheels.runtime.sandbox import Command, Outcome
from unit.fakecontainer import FakeContainer

LARGER = (sys.executable, "-c", "import os; os.ftruncate(1, 1 << 40)")
SAID = "wrote more than 1 GiB into the log, which is its limit."
pytestmark = pytest.mark.timeout(120)


def hook(folder: Path, option: str) -> Hook:
    return Hook(
        option=option, command=shlex.join(LARGER), folder=folder, environment={"PATH": os.defpath}, timeout=60,
        log=folder / "log",
    )  # fmt: skip


def venv(folder: Path) -> Venv:
    return Venv(
        uv="uv", python=Path(sys.executable), followed=Follower().follow({"PATH": os.defpath}), log=folder / "log"
    )


def test_a_hook(tmp_path: Path) -> None:
    with pytest.raises(HookFailed) as raised:
        run_hook(hook(tmp_path, "before-build"), Cancellation())
    assert raised.value.message == f"`before-build` {SAID}"
    assert "cut off here" in raised.value.excerpt[-1]


def test_before_all(tmp_path: Path) -> None:
    with pytest.raises(BeforeAllFailed) as raised:
        run_before_all(hook(tmp_path, "before-all"), Cancellation())
    assert raised.value.message.startswith(f"`before-all` {SAID}")


def test_a_command_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(HookFailed, match="which is its limit"):
        venv(tmp_path).run(LARGER, tmp_path, 60, Cancellation())


def test_auditwheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def command(request: RepairRequest) -> Command:
        return Command(argv=LARGER, folder=request.folder, environment={}, log=request.log, timeout=60)

    monkeypatch.setattr(repair, "_command", command)
    request = RepairRequest(
        wheel=tmp_path / "x.whl", policy=cast("Any", None), arch="x86_64", folder=tmp_path / "made",
        finished=tmp_path / "finished", library_path=None, exclude=(), strip=False, user=None, log=tmp_path / "log",
    )  # fmt: skip
    with pytest.raises(RepairFailed) as raised:
        repair.repair(request, Cancellation())
    assert raised.value.message == f"auditwheel {SAID}"


def test_tests(tmp_path: Path) -> None:
    request = TestRequest(
        tests=cast("Any", SimpleNamespace(command="pytest")), wheel=tmp_path / "x.whl", source=tmp_path,
        project=tmp_path, package=tmp_path, folder=tmp_path / "tests", venv=venv(tmp_path), timeout=60,
    )  # fmt: skip
    failed = explain(request, Outcome(status=0, seconds=1.0, wrote_too_much=True), None, Cancellation())
    assert failed.message == f"The tests {SAID}"


def test_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is killed when the log is full, and its output is read until it has ended."""
    monkeypatch.setattr(sandbox, "LARGEST_LOG", 100)
    log = tmp_path / "log"
    log.write_bytes(bytes(40))

    def run(container: FakeContainer) -> tuple[int | None, bool]:
        with log.open("ab") as written:
            sink = _LogSink(written)
            spec = ContainerSpec(image="image", command=())
            return run_container(container.client, spec, Cancellation(), sink.take), sink.is_full

    quiet = FakeContainer([bytes(30), bytes(30)])
    assert run(quiet) == (3, False)
    assert quiet.calls == ["start", "remove"]

    def endless() -> Iterator[bytes]:
        yield b"x"
        while not talkative.ended.wait(0.01):
            yield bytes(1 << 20)

    talkative = FakeContainer(endless())
    assert run(talkative) == (3, True)
    assert talkative.calls == ["start", "kill", "remove"]
    assert log.stat().st_size <= 100
