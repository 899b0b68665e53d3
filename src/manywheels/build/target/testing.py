"""The tests of one target's wheel, under the interpreters of all targets that use it."""

from __future__ import annotations

import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from manywheels.build.jobserver import Slot
from manywheels.build.stages import source_imports
from manywheels.build.stages.hooks import marks
from manywheels.build.stages.test_container import INSIDE, TestImage, run_tests_in_image
from manywheels.build.stages.test_host import run_tests
from manywheels.build.stages.test_run import TestOutcome, TestRequest
from manywheels.build.stages.transfer import CannotPack, pack_tree
from manywheels.build.stages.venv import UV_TIMEOUT
from manywheels.build.target.workspace import TargetWorkspace
from manywheels.core.cancellation import Cancellation
from manywheels.core.credentials import without_credentials
from manywheels.errors import TestsFailed
from manywheels.plan.container_variables import Mounted, forwarded
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime import untrusted_files
from manywheels.runtime.workspace import copy_source


def targets_to_test(build: TargetWorkspace) -> list[PlannedTarget]:
    """Return the targets to test the wheel of `build` for: its own, and those that reuse it."""
    if why_not_tested(build):
        return []
    context = build.context
    users = [build.planned, *context.served_by(build.target)]
    return [planned for planned in users if context.run.options.for_target(planned.target).tests]


def why_not_tested(build: TargetWorkspace) -> str:
    """Return why the target's tests cannot run here, as a sentence; empty if they can, or there are none."""
    if not build.cross or not build.options.tests or build.options.tests.image:
        return ""
    return (
        f"The tests were not run: this machine builds for {build.cross.facts.compiled.policy.libc} on "
        f"{build.target.arch}, and does not run it. Name an image for them with `test-in`, or leave them out with "
        f"`test-skip: *-{build.target.family}_{build.target.arch}`."
    )


def run_target_tests(
    build: TargetWorkspace, wheel: Path, tested: list[PlannedTarget], cancellation: Cancellation, slot: Slot
) -> tuple[str, ...]:
    """Return warnings. Raises the first TargetError, and Cancelled.

    `slot` is the target's own; if its wheel is tested with other Pythons, it has been given back at the end.
    """
    others = [planned for planned in tested if planned is not build.planned]
    prepared = _pack_copy(build, cancellation) if build.options.before_build and others else None

    def test(planned: PlannedTarget) -> TestOutcome:
        if planned is not build.planned:
            return _test_other(build, wheel, planned, prepared, cancellation)
        try:
            return _test(build, wheel, planned, prepared, cancellation)
        finally:
            if others:  # they need one
                slot.give_back()

    if others == tested:
        slot.give_back()
    with ThreadPoolExecutor(max_workers=len(tested), thread_name_prefix="tests") as pool:
        outcomes = list(pool.map(test, tested))
    build.context.test_outcomes.update(zip((planned.target for planned in tested), outcomes, strict=True))
    for planned, outcome in zip(tested, outcomes, strict=True):
        if outcome.failure:
            if package := outcome.from_source or source_imports.missed_package(wheel, outcome.failure):
                outcome.failure.remedy = f"{source_imports.describe(package)} {outcome.failure.remedy}"
            if planned is not build.planned:
                message = outcome.failure.message
                outcome.failure.message = f"With Python {planned.target.spec}, which reuses this wheel: {message}"
            raise outcome.failure
    packages = {outcome.from_source: None for outcome in outcomes if outcome.from_source}
    return tuple(map(source_imports.describe, packages))


def _test_other(
    build: TargetWorkspace, wheel: Path, planned: PlannedTarget, prepared: Path | None, cancellation: Cancellation
) -> TestOutcome:
    """Test in a slot of its own for a target that reuses the wheel."""
    # Folders are made for its user, who may have no process then.
    build.context.sharing.wait_for_end(planned.target)
    with build.context.jobserver.slot(cancellation):
        return _test(build, wheel, planned, prepared, cancellation)


def _test(
    build: TargetWorkspace, wheel: Path, planned: PlannedTarget, prepared: Path | None, cancellation: Cancellation
) -> TestOutcome:
    context = build.context
    # A target that another one's wheel serves may have tested a wheel of its own before.
    suffix = "-test" if planned is build.planned else "-reused-test"
    workspace = TargetWorkspace(context, planned, suffix=suffix, is_for_tests=True)
    tests = workspace.options.tests
    assert tests is not None  # noqa: S101 - others are not in `targets_to_test`
    workspace.make_folder()
    if planned is build.planned:
        workspace.source_copy = build.source_copy  # with what `before-build` and the build left
        workspace.evaluated = build.evaluated
    elif prepared:
        _unpack_copy(prepared, workspace, cancellation)
        workspace.evaluate(cancellation)
    else:
        copy_source(workspace.setup.snapshot, workspace.copy, cancellation, user=workspace.user)
        workspace.evaluate(cancellation)
    request = TestRequest(
        tests=tests, wheel=wheel, source=workspace.copy, **workspace.places, folder=workspace.folder / "tests",
        venv=workspace.base_venv(), timeout=context.run.options.test_timeout,
    )  # fmt: skip
    if not tests.image:
        return run_tests(request, cancellation)
    return run_tests_in_image(request, _image(workspace, tests.image), cancellation)


def _pack_copy(build: TargetWorkspace, cancellation: Cancellation) -> Path:
    """Pack the copy of the source with what `before-build` and the build left in it.

    The tests with other Pythons find it there, as in cibuildwheel's one copy. No process of the target may run.
    Raises TestsFailed and Cancelled.
    """
    archive = untrusted_files.make_public_folder(build.sealed / "source") / "source.tar"
    owner = os.geteuid() if build.user is None else build.user
    try:
        with tarfile.open(archive, "w") as tar:
            pack_tree(tar, build.copy, ".", owner=owner, change=_fillable, cancellation=cancellation)
    except CannotPack as error:
        raise TestsFailed(
            f"The project cannot be copied for the tests of other Pythons: {error}.",
            remedy="Keep `before-build` and the build from leaving such files.",
        ) from None
    archive.chmod(0o644)
    return archive


def _fillable(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Some programs for tar set a folder's mode before they fill it."""
    if member.isdir():
        member.mode |= 0o700
    return member


def _unpack_copy(archive: Path, workspace: TargetWorkspace, cancellation: Cancellation) -> None:
    """Raises TestsFailed and Cancelled."""
    copy = untrusted_files.make_folder(workspace.copy, workspace.user)
    argv = ("tar", "-xpf", str(archive), "-C", str(copy))
    if not workspace.base_venv().run(argv, copy, UV_TIMEOUT, cancellation).succeeded:
        raise TestsFailed(
            "The project cannot be unpacked for the tests.", remedy="The log says why; free disk space, or install tar."
        )


def _image(workspace: TargetWorkspace, image: str) -> TestImage:
    """Return the image of `test-in`, with the variables that the tests would see here."""
    caller, source = workspace.context.run.caller, Mounted(workspace.source_copy.top, PurePosixPath(INSIDE, "project"))
    passed = {name: caller[name] for name in workspace.options.environment_pass if name in caller}
    return TestImage(
        image=image,
        target=workspace.target,
        variables=without_credentials(forwarded(caller, source)) | marks(workspace.target) | passed,
        environment=workspace.options.environment,
    )
