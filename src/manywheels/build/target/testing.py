"""The tests of one target's wheel, under the interpreters of all targets that use it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from manywheels.build.stages.hooks import marks
from manywheels.build.stages.test_container import TestImage, run_tests_in_image
from manywheels.build.stages.test_host import run_tests
from manywheels.build.stages.test_run import TestOutcome, TestRequest
from manywheels.build.target.workspace import TargetWorkspace
from manywheels.core.cancellation import Cancellation
from manywheels.core.credentials import without_credentials
from manywheels.plan.container_variables import forwarded
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime.workspace import copy_source


def targets_to_test(build: TargetWorkspace) -> list[PlannedTarget]:
    """Return the targets to test the wheel of `build` for: its own, and those that reuse it."""
    context = build.context
    users = [build.planned, *context.served_by(build.target)]
    return [planned for planned in users if context.run.options.for_target(planned.target).tests]


def run_target_tests(
    build: TargetWorkspace, wheel: Path, tested: list[PlannedTarget], cancellation: Cancellation
) -> None:
    """Raises the first TargetError, and Cancelled."""
    with ThreadPoolExecutor(max_workers=len(tested), thread_name_prefix="tests") as pool:
        outcomes = list(pool.map(lambda planned: _test(build, wheel, planned, cancellation), tested))
    build.context.test_outcomes.update(zip((planned.target for planned in tested), outcomes, strict=True))
    for planned, outcome in zip(tested, outcomes, strict=True):
        if outcome.failure:
            if planned is not build.planned:
                message = outcome.failure.message
                outcome.failure.message = f"With Python {planned.target.spec}, which reuses this wheel: {message}"
            raise outcome.failure


def _test(build: TargetWorkspace, wheel: Path, planned: PlannedTarget, cancellation: Cancellation) -> TestOutcome:
    context = build.context
    if planned is not build.planned:  # folders are made for its user, who may have no process then
        context.sharing.wait_for_end(planned.target)
    workspace = TargetWorkspace(context, planned, suffix="-test")
    tests = workspace.options.tests
    assert tests is not None  # noqa: S101 - others are not in `targets_to_test`
    with context.slot(cancellation):
        workspace.make_folder()
        if planned is build.planned:
            workspace.copy = build.copy  # with what `before-build` and the build left
            workspace.evaluated = build.evaluated
        else:
            copy_source(context.snapshot, workspace.copy, cancellation, user=workspace.user)
            workspace.evaluate(cancellation)
        request = TestRequest(
            tests=tests, wheel=wheel, source=workspace.copy, **workspace.places, folder=workspace.folder / "tests",
            venv=workspace.base_venv(), timeout=context.run.options.test_timeout,
        )  # fmt: skip
        if not context.run.options.test_in:
            return run_tests(request, cancellation)
        return run_tests_in_image(request, _image(workspace), cancellation)


def _image(workspace: TargetWorkspace) -> TestImage:
    """Return the image of `test-in`, with the variables that the tests would see here."""
    caller = workspace.context.run.caller
    passed = {name: caller[name] for name in workspace.options.environment_pass if name in caller}
    return TestImage(
        image=workspace.context.run.options.test_in,
        target=workspace.target,
        variables=without_credentials(forwarded(caller)) | marks(workspace.target) | passed,
        environment=workspace.options.environment,
    )
