"""A trial: the project's own tests of one finished wheel, wherever they run, and what is told of how they ended."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from manywheels.build.logs import telling_excerpt
from manywheels.build.stages.hooks import WROTE_TOO_MUCH, describe_end
from manywheels.build.stages.pytest_results import Results
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.errors import TargetError, TestsFailed
from manywheels.plan.assignments import Assignment
from manywheels.plan.target_options import Tests, fill, fill_values
from manywheels.runtime.sandbox import Outcome
from manywheels.wheels.manifest import TestRun

NO_TESTS_HERE: Final = "test_no_tests_here.py"  # lies where the tests are run, unless `test-sources` do
_LINES: Final = 20  # of the log, where pytest has not said what failed
_NAMED: Final = 3  # failed tests that a message names
_NOTHING_COLLECTED: Final = 5  # pytest's exit status, and unittest's since Python 3.12


@dataclass(frozen=True, kw_only=True)
class TestRequest:
    """A finished wheel, and how to test it. `project` and `package` are folders of the target's copy of the source.

    `folder` must not exist and lies where the target's user may write; `timeout` is in seconds, for the tests alone.
    """

    tests: Tests
    wheel: Path
    project: Path
    package: Path
    folder: Path
    quarters: Venv
    timeout: float

    @property
    def results(self) -> Path:
        """The file that pytest is asked to write."""
        return self.folder / "results" / "junit.xml"

    @property
    def elsewhere(self) -> Path:
        """The folder that the tests are run in."""
        return self.folder / "elsewhere"

    @property
    def environment(self) -> tuple[Assignment, ...]:
        """The variables of `test-environment`, with the places of this trial in them."""
        return fill_values(self.tests.environment, project=self.project, package=self.package)

    def fill(self, command: str) -> str:
        """Put the places of this trial into a command."""
        python = self.folder / "venv/bin/python"
        return fill(command, project=self.project, package=self.package, wheel=self.wheel, python=python)


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """How the tests ended, for the manifest; and the error where they did not pass."""

    trial: TestRun
    failure: TargetError | None


def no_tests_here() -> bytes:
    """Return the content of the test that fails where nobody said which tests to run."""
    return files("manywheels.data").joinpath("no_tests_here.py").read_bytes()


def ended(request: TestRequest, began: float, results: Results | None, failure: TargetError | None) -> TestOutcome:
    """Return how a trial ended that began at that monotonic time, in seconds."""
    trial = TestRun(
        passed=failure is None,
        seconds=round(time.monotonic() - began, 3),
        log=f"{request.quarters.log.parent.name}/{request.quarters.log.name}",
        count=results.count if results else None,
        failed=tuple(test.name for test in results.failed) if results else (),
    )
    return TestOutcome(trial=trial, failure=failure)


def log_lines(request: TestRequest, cancellation: Cancellation) -> tuple[str, ...]:
    """Return the lines of the tests' log that matter, with the names that files have in the project.

    Raises Cancelled.
    """
    said = telling_excerpt(request.quarters.log, cancellation, limit=_LINES)
    return tuple(_as_users_know(request, line) for line in said.lines)


def explain(request: TestRequest, outcome: Outcome, results: Results | None, cancellation: Cancellation) -> TestsFailed:
    """Say why the tests did not succeed. Raises Cancelled."""
    if outcome.timed_out:
        return TestsFailed(
            f"The tests did not end within their limit of {request.timeout:g} s, and were killed.",
            remedy="Give them more with `test-timeout`, or look for what they wait for in the log.",
            excerpt=log_lines(request, cancellation),
        )
    if outcome.wrote_too_much:
        return TestsFailed(
            f"The tests {WROTE_TOO_MUCH}",
            remedy="Look into the log for what they repeat, and let them say less.",
            excerpt=log_lines(request, cancellation),
        )
    if results and results.failed:
        return _explain_failed(request, results)
    return _explain_status(request, outcome.status, cancellation)


def _explain_status(request: TestRequest, status: int, cancellation: Cancellation) -> TestsFailed:
    """Say how the command ended, with the lines that matter: pytest has not told which tests failed."""
    said = telling_excerpt(request.quarters.log, cancellation, limit=_LINES)
    reason = _as_users_know(request, said.reason)
    remedy = f"The command was: {request.tests.command}"
    if status == _NOTHING_COLLECTED:
        remedy += ". Tests run outside of the source: name them as `{project}/tests`, or copy them with `test-sources`."
    return TestsFailed(
        f"The tests failed ({describe_end(status)}){f': {reason}' if reason else ''}",
        remedy=remedy,
        excerpt=tuple(_as_users_know(request, line) for line in said.lines),
    )


def _explain_failed(request: TestRequest, results: Results) -> TestsFailed:
    names = [_as_users_know(request, test.name) for test in results.failed]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    first = results.failed[0]
    lines = [line for test in results.failed[:_NAMED] for line in (f"{test.name}:", *test.lines)]
    return TestsFailed(
        f"{len(names)} of {results.count} tests failed: {', '.join(names[:_NAMED])}{more}.",
        remedy=f"The command was: {request.tests.command}",
        excerpt=tuple(_as_users_know(request, line) for line in lines),
        # pytest names files as seen from where it was started.
        file=first.file and _as_users_know(request, os.path.normpath(request.elsewhere / first.file)),
        line=first.line,
    )


def _as_users_know(request: TestRequest, text: str) -> str:
    """Return a text with the names that files have in the project."""
    for private in (request.project, request.elsewhere):
        text = text.replace(f"{private}/", "")
    return text
