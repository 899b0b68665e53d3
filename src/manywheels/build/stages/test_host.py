"""Test: the finished, verified wheel, installed by itself into a fresh environment, runs the project's own tests.

They run outside of the source, so that what is imported is what the wheel holds. The order is cibuildwheel's: the
environment, `before-test`, the wheel with its extras, what the tests need, then `test-command`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from manywheels.build.stages import venv
from manywheels.build.stages.hooks import Hook, announce, run_hook
from manywheels.build.stages.pytest_results import Results, asking_for, read_results
from manywheels.build.stages.test_run import NO_TESTS_HERE, TestOutcome, TestRequest, ended, explain, no_tests_here
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, HookFailed, TargetError, TestsFailed
from manywheels.plan import assignments
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command, Outcome
from manywheels.wheels.wheelfile import parse_name

# Each is copied to its own place; by the target's user, for the project's copy is what its code made of it.
_COPY: Final = 'to=$1; shift; for path do mkdir -p "$to/$(dirname "$path")" && cp -R "$path" "$to/$path" || exit; done'


def run_tests(request: TestRequest, cancellation: Cancellation) -> TestOutcome:
    """Test a wheel. What fails, in the tests or on the way to them, is in the answer; raises Cancelled only."""
    started = time.monotonic()
    failure: TargetError | None = None
    results: Results | None = None
    try:
        furnished = _furnish(request, cancellation)
        outcome = _run_tests(request, furnished, cancellation)
        results = read_results(request.results, cancellation, request.quarters.user)
        failure = None if outcome.succeeded else explain(request, outcome, results, cancellation)
    except (TestsFailed, HookFailed) as error:
        failure = error
    return ended(request, started, results, failure)


def _furnish(request: TestRequest, cancellation: Cancellation) -> Venv:
    """Make the environment that the tests run in, with the wheel and all that they need."""
    user = request.quarters.user
    untrusted_files.make_place(request.folder, user)
    untrusted_files.make_folder(request.results.parent, user)
    content = {} if request.tests.sources else {NO_TESTS_HERE: no_tests_here()}
    untrusted_files.make_folder(request.elsewhere, user, content)
    bare = venv.create_venv(request.quarters, request.folder / "venv", request.project, cancellation)
    variables = assignments.expand(request.environment, bare.environment)
    quarters = replace(bare, environment=variables)
    if request.tests.before:
        hook = Hook(
            option="before-test", command=request.fill(request.tests.before), folder=request.project,
            environment=variables, timeout=request.timeout, log=bare.log, user=user,
        )  # fmt: skip
        run_hook(hook, cancellation)
    _install(request, quarters, cancellation)
    if request.tests.sources:
        _lay_out_sources(request, quarters, cancellation)
    return quarters


def _install(request: TestRequest, quarters: Venv, cancellation: Cancellation) -> None:
    """Install the wheel with its extras, and the tests' requirements and groups, in one resolution."""
    tests = request.tests
    extras = f"[{','.join(tests.extras)}]" if tests.extras else ""
    wheel = f"{parse_name(request.wheel.name).name}{extras} @ {request.wheel.as_uri()}"
    groups = [f"--group={request.package / 'pyproject.toml'}:{group}" for group in tests.groups]
    wanted = (*tests.requires, *groups)
    announce(quarters.log, f"uv pip install {' '.join((request.wheel.name + extras, *wanted))}")
    argv = (quarters.uv, "pip", "install", "--quiet", "--python", str(quarters.python), wheel, *wanted)
    outcome = quarters.run(argv, request.project, venv.TIMEOUT, cancellation)
    if not outcome.succeeded:
        raise TestsFailed(
            f"The wheel cannot be installed for its tests: {venv.reason(quarters.log)}",
            remedy="Look at the project's dependencies, `test-requires`, `test-extras` and `test-groups`: is there a "
            "version of each for this Python?",
        )


def _lay_out_sources(request: TestRequest, quarters: Venv, cancellation: Cancellation) -> None:
    """Copy `test-sources` into the folder that the tests are run in."""
    sources = request.tests.sources
    argv = ("sh", "-c", _COPY, "sh", str(request.elsewhere), *sources)
    if not quarters.run(argv, request.project, venv.TIMEOUT, cancellation).succeeded:
        absent = [source for source in sources if not untrusted_files.is_there(request.project, source)]
        named = f"there is no `{'`, `'.join(absent)}` in the project" if absent else "see the log"
        raise TestsFailed(
            f"`test-sources` cannot be copied: {named}.",
            remedy="Name files and folders of the project, blanks between.",
        )


def _run_tests(request: TestRequest, quarters: Venv, cancellation: Cancellation) -> Outcome:
    command = request.fill(request.tests.command)
    announce(quarters.log, command)
    outcome = sandbox.run(
        Command(
            argv=("sh", "-c", command), folder=request.elsewhere,
            environment=asking_for(request.results, quarters.environment), log=quarters.log, timeout=request.timeout,
            user=quarters.user,
        ),
        cancellation,
    )  # fmt: skip
    if outcome.cancelled:
        raise Cancelled("The tests were stopped.", remedy="")
    return outcome
