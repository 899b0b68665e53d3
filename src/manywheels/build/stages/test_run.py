"""A test run of one finished wheel, and how its outcome is reported."""

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

NO_TESTS_HERE: Final = "test_no_tests_here.py"  # where the tests run, unless `test-sources` is set
_LINES: Final = 20  # of the log, if pytest did not report what failed
_NAMED: Final = 3  # failed tests in a message
_NOTHING_COLLECTED: Final = 5  # exit status of pytest, and of unittest since Python 3.12


@dataclass(frozen=True, kw_only=True)
class TestRequest:
    """A finished wheel and how to test it; `source` is the target's copy, with `project` and `package` in it.

    `folder` must not exist; the target's user can reach it. `timeout` is in seconds, for `before-test` and the tests,
    each.
    """

    tests: Tests
    wheel: Path
    source: Path
    project: Path
    package: Path
    folder: Path
    venv: Venv
    timeout: float

    @property
    def results(self) -> Path:
        """The JUnit file that pytest writes."""
        return self.folder / "results" / "junit.xml"

    @property
    def working_folder(self) -> Path:
        """The tests' folder, outside of the source."""
        return self.folder / "elsewhere"

    @property
    def environment(self) -> tuple[Assignment, ...]:
        return fill_values(self.tests.environment, project=self.project, package=self.package)

    def fill(self, command: str) -> str:
        python = self.folder / "venv/bin/python"
        return fill(command, project=self.project, package=self.package, wheel=self.wheel, python=python)


@dataclass(frozen=True, kw_only=True)
class TestOutcome:
    """How the tests ended: the manifest's entry, and the error if they did not pass.

    `from_source` is a package that they imported from the project's folder in place of the wheel, if any.
    """

    test_run: TestRun
    failure: TargetError | None
    from_source: str = ""


def no_tests_here() -> bytes:
    """Return the test that fails if `test-command` does not say which tests to run."""
    return files("manywheels.data").joinpath("no_tests_here.py").read_bytes()


def ended(request: TestRequest, began: float, results: Results | None, failure: TargetError | None) -> TestOutcome:
    """`began` is a monotonic time in seconds."""
    test_run = TestRun(
        passed=failure is None,
        seconds=round(time.monotonic() - began, 3),
        log=f"{request.venv.log.parent.name}/{request.venv.log.name}",
        count=results.count if results else None,
        failed=tuple(test.name for test in results.failed) if results else (),
    )
    return TestOutcome(test_run=test_run, failure=failure)


def log_lines(request: TestRequest, cancellation: Cancellation) -> tuple[str, ...]:
    """Return the lines of the log that matter, with paths relative to the project. Raises Cancelled."""
    excerpt = telling_excerpt(request.venv.log, cancellation, limit=_LINES)
    return tuple(_with_project_paths(request, line) for line in excerpt.lines)


def explain(request: TestRequest, outcome: Outcome, results: Results | None, cancellation: Cancellation) -> TestsFailed:
    """Raises Cancelled."""
    if outcome.timed_out:
        return TestsFailed(
            f"The tests did not end within their limit of {request.timeout:g} s, and were killed.",
            remedy="Raise the limit with `test-timeout`, or look in the log for what they wait for.",
            excerpt=log_lines(request, cancellation),
        )
    if outcome.wrote_too_much:
        return TestsFailed(
            f"The tests {WROTE_TOO_MUCH}",
            remedy="Look in the log for what is repeated, and make the tests print less.",
            excerpt=log_lines(request, cancellation),
        )
    if results and results.failed:
        return _explain_failed(request, results)
    return _explain_status(request, outcome.status, cancellation)


def _explain_status(request: TestRequest, status: int, cancellation: Cancellation) -> TestsFailed:
    excerpt = telling_excerpt(request.venv.log, cancellation, limit=_LINES)
    reason = _with_project_paths(request, excerpt.reason)
    remedy = f"The command was: {request.tests.command}"
    if status == _NOTHING_COLLECTED:
        remedy += ". Tests run outside of the source: name them as `{project}/tests`, or copy them with `test-sources`."
    return TestsFailed(
        f"The tests failed ({describe_end(status)}){f': {reason}' if reason else ''}",
        remedy=remedy,
        excerpt=tuple(_with_project_paths(request, line) for line in excerpt.lines),
    )


def _explain_failed(request: TestRequest, results: Results) -> TestsFailed:
    names = [_with_project_paths(request, test.name) for test in results.failed]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    first = results.failed[0]
    lines = [line for test in results.failed[:_NAMED] for line in (f"{test.name}:", *test.lines)]
    return TestsFailed(
        f"{len(names)} of {results.count} tests failed: {', '.join(names[:_NAMED])}{more}.",
        remedy=f"The command was: {request.tests.command}",
        excerpt=tuple(_with_project_paths(request, line) for line in lines),
        # pytest's paths are relative to its working folder.
        file=first.file and _with_project_paths(request, os.path.normpath(request.working_folder / first.file)),
        line=first.line,
    )


def _with_project_paths(request: TestRequest, text: str) -> str:
    for private in (request.project, request.working_folder):
        text = text.replace(f"{private}/", "")
    return text
