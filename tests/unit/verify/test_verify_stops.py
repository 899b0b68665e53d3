"""Verification that is stopped: it hears of it while it reads, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from manywheels.build.target.build import TargetBuild
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled
from manywheels.verify import check_wheel
from manywheels.verify.installs import chosen_by_installers
from manywheels.verify.model import Check, Problem, Wheel
from manywheels.verify.rules import Rules
from manywheels.verify.run import check_set, verify_wheels
from manywheels.verify.sets import WheelFacts
from unit.helpers import write_wheel
from unit.wheelmaker import WHEEL_NAME, wheel_spec, write_spec
from unit.zipmaker import STORED, MemberSpec

ROOT = Path(__file__).resolve().parents[3]
LARGE = 3 << 30  # bytes


class Counting(Cancellation):
    """A switch that throws itself when it has been looked at so many times."""

    def __init__(self, looks: int | None = None) -> None:
        super().__init__()
        self.looks, self._most = 0, looks

    def stop_if_requested(self, work: str) -> None:
        self.looks += 1
        if self.looks == self._most:
            self.request()
        super().stop_if_requested(work)


def requested() -> Cancellation:
    switch = Cancellation()
    switch.request()
    return switch


def sparse_wheel(folder: Path) -> Path:
    """Write a wheel with a member of three gibibytes, of which the disk has none, that takes its time to be read."""
    large = MemberSpec(name="demo/large.bin", method=STORED).lying(size=LARGE, compressed=LARGE)
    spec = wheel_spec()
    content = type(spec)(members=(*spec.members, large)).to_bytes()
    start = content.index(b"PK\1\2")
    end = bytearray(content[start:])
    struct.pack_into("<L", end, len(end) - 6, start + LARGE)  # the offset of the list of members
    path = folder / WHEEL_NAME
    with path.open("wb") as file:
        file.write(content[:start])
        file.seek(start + LARGE)
        file.write(end)
    return path


# --- one wheel, in the process that was asked -------------------------------------------------------------------------


def test_the_switch_is_looked_at_for_each_member(tmp_path: Path) -> None:
    few, many = (
        write_spec(tmp_path, wheel_spec(*(MemberSpec(name=f"demo/{n}.py") for n in range(count))), name)
        for count, name in ((10, "a-1.0-py3-none-any.whl"), (500, "b-1.0-py3-none-any.whl"))
    )
    counts = []
    for path in (few, many):
        switch = Counting()
        check_wheel(path, cancellation=switch)
        counts.append(switch.looks)
    assert counts[1] - counts[0] >= 490


def test_the_switch_is_looked_at_between_two_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch, made = Cancellation(), []

    def stopped(_wheel: Wheel) -> tuple[Problem, ...]:
        made.append("first")
        switch.request()
        return ()

    def late(_wheel: Wheel) -> tuple[Problem, ...]:
        made.append("second")
        return ()

    checks = [Check(code="MW299", title="", reason="", run=run) for run in (stopped, late)]
    monkeypatch.setattr("manywheels.verify.checks.WHEEL_CHECKS", checks)
    with pytest.raises(Cancelled):
        check_wheel(write_wheel(tmp_path), cancellation=switch)
    assert made == ["first"]


@pytest.mark.parametrize("part", [0, 0.1, 0.5, 0.9, 1])
def test_a_wheel_is_not_read_on(tmp_path: Path, part: float) -> None:
    path = write_spec(tmp_path, wheel_spec(*(MemberSpec(name=f"demo/{n}.py", content=b"x") for n in range(100))))
    whole = Counting()
    check_wheel(path, cancellation=whole)
    switch = Counting(max(1, int(part * whole.looks)))
    with pytest.raises(Cancelled):
        check_wheel(path, cancellation=switch)


def test_a_large_member_is_read_in_pieces(tmp_path: Path) -> None:
    switch = Counting(200)
    with pytest.raises(Cancelled):
        check_wheel(sparse_wheel(tmp_path), cancellation=switch)


def test_the_stage_of_a_build_hears_of_it(tmp_path: Path) -> None:
    run = SimpleNamespace(rules=Rules())
    build: Any = SimpleNamespace(
        context=SimpleNamespace(run=run),
        options=SimpleNamespace(repair=SimpleNamespace(exclude=())),
        cancellation=requested(),
    )
    with pytest.raises(Cancelled):
        TargetBuild._verify(build, write_wheel(tmp_path))


# --- several wheels, in processes of their own ------------------------------------------------------------------------


def test_no_process_is_left(tmp_path: Path) -> None:
    """The switch is thrown while the wheel is read; with `kill` it does not matter what the reader is at."""
    path, before = sparse_wheel(tmp_path), children(os.getpid())
    with pytest.raises(Cancelled):
        verify_wheels([path, path], Rules(), cancellation=Counting(2))
    assert set(children(os.getpid())) <= set(before)


def test_installers_are_ended(tmp_path: Path) -> None:
    before = children(os.getpid())
    with pytest.raises(Cancelled):
        chosen_by_installers(write_wheel(tmp_path), requested())
    assert set(children(os.getpid())) <= set(before)


def test_the_checks_of_a_set_hear_of_it(tmp_path: Path) -> None:
    facts = [check_wheel(write_wheel(tmp_path, start=f"demo-{version}")).facts for version in ("1.0", "2.0")]
    with pytest.raises(Cancelled):
        check_set([found for found in facts if found], None, requested())


def test_many_wheels_that_have_nothing_in_common_are_compared_at_once() -> None:
    """The time went with the square of their number, for each of their files."""
    facts = [
        WheelFacts(
            file=f"{number}.whl", project="demo", version="1.0", build=(), tags=frozenset(), size=1, sha256="",
            pure_files={f"{name}.py": f"{number}" for name in range(40)},
        )
        for number in range(2_000)
    ]  # fmt: skip
    started = time.process_time()
    assert len([finding for finding in check_set(facts, None) if finding.code == "MW264"]) == 1_999
    assert time.process_time() - started < 5


# --- the command ------------------------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found += map(int, (task / "children").read_text().split())
    return found


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_and_its_processes(tmp_path: Path, number: signal.Signals, status: int) -> None:
    """The processes that read the wheels are made to stand still: no patience would see them end."""
    sparse_wheel(tmp_path).rename(tmp_path / "other-1.0-py3-none-any.whl")
    sparse_wheel(tmp_path)
    command = [sys.executable, "-m", "manywheels", "verify", "."]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    workers: list[int] = []
    try:
        wait_for(lambda: children(process.pid))
        workers = children(process.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        process.send_signal(number)
        told, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        for worker in workers:
            if Path(f"/proc/{worker}").exists():
                os.kill(worker, signal.SIGKILL)
    assert process.returncode == status
    assert "MW107: The verification was stopped." in told
    assert "Traceback" not in told
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
