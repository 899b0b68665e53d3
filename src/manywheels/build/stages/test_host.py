"""Test on this machine, in a new environment with the finished, verified wheel.

The tests run outside of the source, so that they import the wheel. The order is cibuildwheel's: environment,
`before-test`, the wheel with its extras, the tests' requirements, `test-command`.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from manywheels.build.stages import source_imports
from manywheels.build.stages.hooks import announce
from manywheels.build.stages.pytest_results import Results, asking_for, read_results
from manywheels.build.stages.test_run import NO_TESTS_HERE, TestOutcome, TestRequest, ended, explain, no_tests_here
from manywheels.build.stages.variables import Runner
from manywheels.build.stages.venv import UV_TIMEOUT, Venv, create_venv, uv_failure
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, HookFailed, TargetError, TestsFailed
from manywheels.plan.assignments import Assignment
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command, Outcome
from manywheels.wheels.wheelfile import parse_name

# Run by the target's user, as project code may have changed the copy. Keeps relative paths.
_COPY: Final = 'to=$1; shift; for path do mkdir -p "$to/$(dirname "$path")" && cp -R "$path" "$to/$path" || exit; done'

_CLOCK_TICK: Final = 0.02  # seconds that a file's time may lag behind the clock


def run_tests(request: TestRequest, cancellation: Cancellation) -> TestOutcome:
    """Failures, also of the preparation, are in the outcome. Raises Cancelled."""
    started = time.monotonic()
    failure: TargetError | None = None
    results: Results | None = None
    package = ""
    try:
        venv = _prepare(request, cancellation)
        tests_started = time.time() - _CLOCK_TICK
        outcome = _run_tests(request, venv, cancellation)
        results = read_results(request.results, cancellation, request.venv.user)
        folders = (request.package, request.project, request.working_folder)
        package = source_imports.compiled_package(folders, request.wheel, tests_started)
        if not outcome.succeeded:
            failure = explain(request, outcome, results, cancellation)
    except (TestsFailed, HookFailed) as error:
        failure = error
    return replace(ended(request, started, results, failure), from_source=package)


def _prepare(request: TestRequest, cancellation: Cancellation) -> Venv:
    user = request.venv.user
    untrusted_files.make_place(request.folder, user)
    untrusted_files.make_folder(request.results.parent, user)
    content = {} if request.tests.sources else {NO_TESTS_HERE: no_tests_here()}
    untrusted_files.make_folder(request.working_folder, user, content)
    created = create_venv(request.venv, request.folder / "venv", request.project, cancellation)
    venv = created.changed(_variables(request, created, cancellation))
    if request.tests.before:
        before = request.fill(request.tests.before)
        venv.run_hook("before-test", before, request.project, request.timeout, cancellation)
    _install(request, venv, cancellation)
    if request.tests.sources:
        _copy_sources(request, venv, cancellation)
    return venv


def _variables(request: TestRequest, created: Venv, cancellation: Cancellation) -> tuple[Assignment, ...]:
    runner = Runner(
        option="test-environment", folder=request.project, scratch=request.folder / "variables", log=created.log,
        timeout=request.timeout, cancellation=cancellation, user=created.user,
    )  # fmt: skip
    return runner.evaluate(request.environment, created.environment)


def _install(request: TestRequest, venv: Venv, cancellation: Cancellation) -> None:
    tests = request.tests
    extras = f"[{','.join(tests.extras)}]" if tests.extras else ""
    wheel = f"{parse_name(request.wheel.name).name}{extras} @ {request.wheel.as_uri()}"
    groups = [f"--group={request.package / 'pyproject.toml'}:{group}" for group in tests.groups]
    requirements = (*tests.requires, *groups)
    announce(venv.log, f"uv pip install {' '.join((request.wheel.name + extras, *requirements))}")
    argv = (venv.uv, "pip", "install", "--quiet", "--python", str(venv.python), wheel, *requirements)
    if not venv.run(argv, request.project, UV_TIMEOUT, cancellation).succeeded:
        raise TestsFailed(
            f"The wheel cannot be installed for its tests: {uv_failure(venv.log)}",
            remedy="Check that the project's dependencies, `test-requires`, `test-extras` and `test-groups` have "
            f"versions for this Python. {venv.remedy}".rstrip(),
        )


def _copy_sources(request: TestRequest, venv: Venv, cancellation: Cancellation) -> None:
    sources = request.tests.sources
    argv = ("sh", "-c", _COPY, "sh", str(request.working_folder), *sources)
    if not venv.run(argv, request.project, UV_TIMEOUT, cancellation).succeeded:
        absent = [source for source in sources if not untrusted_files.is_there(request.project, source)]
        reason = f"there is no `{'`, `'.join(absent)}` in the project" if absent else "see the log"
        raise TestsFailed(
            f"`test-sources` cannot be copied: {reason}.",
            remedy="Name files and folders of the project, separated by blanks.",
        )


def _run_tests(request: TestRequest, venv: Venv, cancellation: Cancellation) -> Outcome:
    command = request.fill(request.tests.command)
    announce(venv.log, command)
    outcome = sandbox.run(
        Command(
            argv=("sh", "-c", command), folder=request.working_folder,
            environment=asking_for(request.results, venv.environment), log=venv.log, timeout=request.timeout,
            user=venv.user,
        ),
        cancellation,
    )  # fmt: skip
    if outcome.cancelled:
        raise Cancelled("The tests were stopped.", remedy="")
    return outcome
