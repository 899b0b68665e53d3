"""What goes wrong in a container action, and what its user sees: cancelled, silent, out of memory, out of disk."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from conftest import ROOT
from runner import Finished, Runner
from runner.mini import OWNER

pytestmark = [pytest.mark.docker, pytest.mark.network]
PROJECTS = ROOT / "tests/projects"
ONE = {"build": "cp312", "publish": "none"}
LIMIT = 6  # seconds that a cancelled step may take: the runner kills it after ten
# What is left in a folder that goes with its container.
MARK = "--- what is there:"
ACTION = "/opt/manywheels/venv/bin/python -I /opt/manywheels/entrypoint.py"
ACT_AND_LIST = f"{ACTION}; status=$?; echo {MARK}; ls -A dist; exit $status"


class Prepare(Protocol):
    def __call__(self, project: str, attempt: int = 1) -> Runner: ...


@pytest.fixture
def runner_with(image: str, tmp_path: Path) -> Prepare:
    """Return a runner whose workspace is a project of the corpus."""

    def prepare(project: str, attempt: int = 1) -> Runner:
        runner = Runner.prepare(tmp_path / str(attempt), image)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECTS / project, runner.workspace, dirs_exist_ok=True, ignore=ignored)
        runner.give()
        return runner

    return prepare


def wait_for(condition: Callable[[], object], seconds: float = 300.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)


def log_holds(runner: Runner, text: str) -> bool:
    return any(text in path.read_text("utf-8") for path in runner.workspace.glob("dist/logs/*.log"))


def cancelled(runner: Runner) -> tuple[float, Finished | None]:
    """Cancel a build that hangs; return the seconds until its end, and what came of it if it has ended by itself."""
    with runner.start(ONE) as step:
        wait_for(lambda: log_holds(runner, "hanging"))
        wait_for(lambda: "manywheels-hang-child" in step.processes())
        if (seconds := step.cancel()) >= LIMIT:
            step.remove()
            return seconds, None
        assert step.processes() == ""
        return seconds, step.wait()


def test_cancelled_all_is_gone_within_six_seconds(runner_with: Prepare) -> None:
    runner = runner_with("hangs")
    seconds, finished = cancelled(runner)
    if finished is None:  # other programs may have had the processors; they have not twice
        runner = runner_with("hangs", attempt=2)
        again, finished = cancelled(runner)
        assert finished, f"it took {seconds:.1f} s, then {again:.1f} s"
    assert finished.status == 130
    assert "cancelled" in finished.output
    assert [target["state"] for target in finished.manifest["targets"]] == ["cancelled"]
    assert {path.lstat().st_uid for path in runner.workspace.rglob("*")} == {OWNER}
    assert not list(runner.workspace.glob("dist/*.partial"))
    assert runner.workspace.stat().st_mode & 0o777 == 0o755


def test_a_silent_build_is_ended_with_its_last_lines(runner_with: Prepare) -> None:
    finished = runner_with("hangs").run(ONE | {"silence-limit": "10s"})
    assert finished.status == 1
    assert finished.failure["code"] == "MW108"
    assert "s without output and without using the processor" in finished.output
    assert "silence-limit" in finished.failure["remedy"]
    assert "hanging" in finished.failure["excerpt"]


def test_a_compiler_killed_for_memory_is_named_as_such(runner_with: Prepare) -> None:
    finished = runner_with("needs_memory").run(ONE, options=("--memory=320m", "--memory-swap=320m"))
    assert finished.status == 1, finished.output
    assert finished.failure["code"] == "MW109", finished.output + finished.logs
    assert "The build was killed for memory" in finished.output
    assert "`jobs: 1`" in finished.failure["remedy"]


@pytest.mark.parametrize("full", ["/var/cache/manywheels", "/github/workspace/dist"])
def test_too_small_a_disk_is_said_before_building(full: str, runner_with: Prepare) -> None:
    finished = runner_with("c_setuptools").run(ONE, options=(f"--tmpfs={full}:size=2m",))
    assert finished.status == 2
    assert "error MW010" in finished.output
    assert full in finished.output
    assert "2 MB left" in finished.output


def test_a_disk_that_becomes_full_truncates_no_wheel(runner_with: Prepare) -> None:
    runner = runner_with("large_wheel")
    done = runner.aside("sh", "-c", ACT_AND_LIST, inputs=ONE, options=("--tmpfs=/github/workspace/dist:size=6m",))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "cannot be written into `/github/workspace/dist`: No space left on device" in done.stdout
    listed = done.stdout.rpartition(MARK)[2].split()
    assert "manywheels.json" in listed
    assert [name for name in listed if ".whl" in name] == []


def test_a_read_only_output_folder_is_said_at_once(runner_with: Prepare) -> None:
    runner = runner_with("c_setuptools")
    (runner.workspace / "dist").mkdir()
    finished = runner.run(ONE, options=(f"--volume={runner.workspace}/dist:/github/workspace/dist:ro",))
    assert finished.status == 2
    assert "error MW005" in finished.output
    assert "building" not in finished.output


def test_the_version_comes_from_a_repository_of_somebody_else(runner_with: Prepare) -> None:
    runner = runner_with("scm")
    identity = ("-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@example.invalid")
    for argv in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"], ["tag", "v4.5.6"], ["gc", "-q"]):
        subprocess.run(["git", *identity, *argv], cwd=runner.workspace, check=True, capture_output=True)
    runner.give()
    config = (runner.workspace / ".git/config").read_text()
    finished = runner.run(ONE)
    assert finished.status == 0, finished.output + finished.logs
    assert finished.manifest["version"] == "4.5.6"
    assert (runner.workspace / ".git/config").read_text() == config
    assert list((runner.temp / "_github_home").iterdir()) == []
    assert runner.as_owner("git", "status", "--porcelain").stdout.strip() == "?? dist/"
