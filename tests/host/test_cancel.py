"""A run that is stopped: quickly, in order, and without leaving anything behind but what was finished."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scale import scaled

if TYPE_CHECKING:
    from host.conftest import Finished, Processes, Program

# On 3.13 it hangs as the project `hangs` does.
SOMETIMES = """
import sys
import hanging
import healthy


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    build = hanging.build_wheel if sys.version_info[:2] == (3, 13) else healthy.build_wheel
    return build(wheel_directory, config_settings, metadata_directory)
"""


PROMISED = 6.0  # seconds from the signal to the end: runners kill what goes on after 7.5


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + 300  # seconds; on a machine with other work to do
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


@dataclass(kw_only=True)
class Running:
    """A build that goes on until it is stopped."""

    program: Program
    process: subprocess.Popen[str]
    output: Path
    finished: Finished = field(init=False)

    def wait_until_hanging(self, tag: str = "cp312") -> None:
        """Wait until the back end of a target hangs, its daemon running."""

        def hangs() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            logs = list((self.output / "logs").glob(f"{tag}-*.log"))
            return bool(logs) and "hanging" in logs[0].read_text()

        wait_for(f"{tag} to hang", hangs)

    def stop(self, number: signal.Signals, *, times: int = 1) -> Finished:
        """Send a signal and wait for the end."""
        started = time.monotonic()
        for _ in range(times):
            self.process.send_signal(number)
            time.sleep(0.05)
        return self.program.end_of(self.process, started, self.output)


@pytest.fixture
def start(program: Program, private_cache: Path, processes: Processes) -> Callable[..., Running]:
    """Start the build of a project that hangs, with a cache folder of the test's own."""

    def begin(project: Path | None = None, tags: str = "cp312", *options: str) -> Running:
        for tag in tags.split():
            program.require(tag)
        output = program.new_folder("dist")
        process = program.start(
            "build", project or program.copy("hangs"), "--build", tags, "--output-dir", output,
            "--environment-pass", "HANG_MARKER", *options,
            caller={
                **program.pyenv_of(tags.split()), "HANG_MARKER": processes.marker,
                "MANYWHEELS_CACHE": str(private_cache),
            },
        )  # fmt: skip
        return Running(program=program, process=process, output=output)

    return begin


def assert_nothing_left(running: Running, private_cache: Path, processes: Processes) -> None:
    """No process, no work folder, no half of a file."""
    assert processes.alive() == []
    assert list((private_cache / "work").iterdir()) == []
    assert [path.name for path in running.output.rglob("*") if path.name.startswith(".")] == []


def stopped(start: Callable[[], Running], ready: Callable[[Running], object], number: signal.Signals) -> Running:
    """Stop a run once it is ready; it ends within the time that is promised. The best of several counts."""
    for _ in range(4):
        running = start()
        ready(running)
        running.finished = running.stop(number)
        if running.finished.seconds < PROMISED:
            break
    assert running.finished.seconds < PROMISED
    return running


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.slow("1-129")
def test_signal(
    number: signal.Signals, status: int, start: Callable[..., Running], private_cache: Path, processes: Processes
) -> None:
    def ready(running: Running) -> None:
        running.wait_until_hanging()
        assert len(processes.alive()) >= 3

    running = stopped(start, ready, number)

    assert_nothing_left(running, private_cache, processes)
    assert running.finished.status == status
    assert running.finished.states == {"cp312": "cancelled"}
    assert running.finished.failure()["code"] == "MW107"
    assert "1 cancelled" in running.finished.stdout
    assert "Traceback" not in running.finished.text
    assert running.finished.wheels == []


def test_impatient_user(start: Callable[..., Running], private_cache: Path, processes: Processes) -> None:
    running = start()
    running.wait_until_hanging()
    finished = running.stop(signal.SIGINT, times=4)

    assert_nothing_left(running, private_cache, processes)
    assert finished.status == 130
    assert finished.states == {"cp312": "cancelled"}
    assert "Traceback" not in finished.text


def test_signal_just_after_the_start(start: Callable[..., Running], private_cache: Path, processes: Processes) -> None:
    def ready(running: Running) -> None:
        assert running.process.stdout is not None
        running.process.stdout.readline()

    running = stopped(start, ready, signal.SIGTERM)
    finished = running.finished

    assert_nothing_left(running, private_cache, processes)
    assert finished.status == 143
    assert finished.states == {"cp312": "cancelled"}
    assert "Traceback" not in finished.text


def test_targets_that_wait_their_turn_end_as_well(
    program: Program, start: Callable[..., Running], private_cache: Path, processes: Processes
) -> None:
    """They copy no source any more, which takes its time where it has many files."""
    project = program.copy("hangs")
    for number in range(scaled(12_000)):
        (project / f"{number}.c").touch()
    running = stopped(
        lambda: start(project, "cp310 cp311 cp312 cp313", "--jobs", "1"),
        lambda running: running.wait_until_hanging("cp310"),
        signal.SIGTERM,
    )
    finished = running.finished

    assert_nothing_left(running, private_cache, processes)
    assert finished.status == 143
    assert set(finished.states.values()) == {"cancelled"}


def hangs_on_313(program: Program) -> Path:
    project = program.copy("tested")
    (project / "backend.py").rename(project / "healthy.py")
    (project / "backend.py").write_text(SOMETIMES)
    (project / "hanging.py").write_text((program.copy("hangs") / "backend.py").read_text())
    return project


def test_finished_wheels_stay(
    program: Program, start: Callable[..., Running], private_cache: Path, processes: Processes
) -> None:
    running = start(hangs_on_313(program), "cp312 cp313")
    running.wait_until_hanging("cp313")
    wait_for("the wheel for cp312", lambda: list(running.output.glob("*.whl")) != [])
    finished = running.stop(signal.SIGINT)

    assert_nothing_left(running, private_cache, processes)
    assert finished.status == 130
    assert finished.states == {"cp312": "built", "cp313": "cancelled"}
    assert finished.wheel.name == finished.targets["cp312"]["wheel"]["name"]
    assert program.run_in("cp312", finished.wheel, "import tested; print(tested.answer())") == "42"


def test_what_was_built_before_another_build_began_is_delivered(
    program: Program, start: Callable[..., Running], private_cache: Path, processes: Processes
) -> None:
    running = start(hangs_on_313(program), "cp310 cp312 cp313", "--jobs", "1")
    running.wait_until_hanging("cp313")
    finished = running.stop(signal.SIGINT)

    assert_nothing_left(running, private_cache, processes)
    assert finished.status == 130
    assert finished.states == {"cp310": "built", "cp312": "built", "cp313": "cancelled"}
    assert len(finished.wheels) == 2


def test_the_next_run_removes_the_work_folders_of_killed_runs_only(
    program: Program, start: Callable[..., Running], private_cache: Path, processes: Processes
) -> None:
    running = start()
    running.wait_until_hanging()
    (folder,) = (private_cache / "work").iterdir()
    others = set(processes.alive())
    killed = start()
    killed.wait_until_hanging()
    killed.process.kill()
    killed.process.communicate()
    wait_for("the killed run's processes to end", lambda: set(processes.alive()) <= others)
    assert len(list((private_cache / "work").iterdir())) == 2

    program.build("fails_backend", caller={"MANYWHEELS_CACHE": str(private_cache)})

    assert list((private_cache / "work").iterdir()) == [folder]
    assert list((folder / running_target(running)).iterdir()) != []
    assert running.stop(signal.SIGTERM).status == 143
    assert_nothing_left(running, private_cache, processes)


def running_target(running: Running) -> str:
    """Return the identifier of the only target."""
    (log,) = (running.output / "logs").iterdir()
    return log.stem
