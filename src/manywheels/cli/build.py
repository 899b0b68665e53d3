"""`build`: a project's wheels are built here or in a container, reported, and published if that was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.cli.complete_plan import complete_plan, make_plan, shard_of
from manywheels.cli.container_build import container_build, needs_container
from manywheels.cli.publish import execute as _publish
from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import last_written
from manywheels.errors import (
    EXIT_OK,
    EXIT_TARGET_FAILED,
    EXIT_VERIFICATION,
    ContainerFailed,
    InputError,
    VerificationFailed,
)
from manywheels.plan import inputs, trust
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.options import Options, resolve
from manywheels.plan.project import Project, read_project

if TYPE_CHECKING:
    from manywheels.report.files import Reports
    from manywheels.wheels.manifest import Manifest
    from manywheels.wheels.output import OutputFolder


@dataclass(frozen=True, kw_only=True)
class Built:
    """A build that has ended: `folder` is the output folder as it was named, `report` writes the reports.

    `manifest` is None where a container ended without one, `status` the exit status.
    """

    status: int
    manifest: Manifest | None
    folder: Path
    report: Callable[[], None] = lambda: None


def build(request: Request, cancellation: Cancellation) -> tuple[Manifest, Built]:
    """Build, here or in a container; return the manifest, and what is left to do: to call `report`, once."""
    built = _build_anywhere(request, cancellation)
    if built.manifest is None:
        raise ContainerFailed("The build in the container ended before it began.", remedy="See its message above.")
    return built.manifest, built


def _build_anywhere(request: Request, cancellation: Cancellation) -> Built:
    project = read_project(request.paths[0])
    options = resolve(request.given, project, toolchain=request.toolchain)
    trust.require_trusted(options, os.environ)
    _require_whole_plan(request, project)
    if needs_container(request.engine, options):
        return _build_in_container(request, project, options, cancellation)
    return _build_here(request, project, options, cancellation)


def _build_here(request: Request, project: Project, options: Options, cancellation: Cancellation) -> Built:
    from manywheels.build import pipeline
    from manywheels.build.context import Run
    from manywheels.core.text import sanitize
    from manywheels.report.console import console_reporter
    from manywheels.verify.rules import verification_rules
    from manywheels.wheels.output import open_output

    for note in options.notes:
        print(sanitize(f"note: {note}"), file=sys.stderr)
    rules = verification_rules(project.settings)
    output = open_output(options.output_dir)
    reports = _reports(request, project)
    reports.require()
    pipeline.require_toolchain(options)
    if options.test_in:
        from manywheels.build.stages.test_container import require_image

        require_image(options.test_in, cancellation)
    shard = shard_of(request, project)
    plan = complete_plan(*make_plan(project, options, shard), project, options, shard, cancellation)
    reporter = console_reporter(output.path, cancellation, verbose=options.verbose)
    caller = dict(os.environ)
    run = Run(project=project, plan=plan, options=options, rules=rules, output=output, caller=caller)
    try:
        manifest = pipeline.execute(run, reporter, cancellation)
    finally:
        reporter.stop()
    return Built(
        status=exit_status(manifest), manifest=manifest, folder=options.output_dir,
        report=lambda: _report(manifest, reports, output, project),
    )  # fmt: skip


def _reports(request: Request, project: Project) -> Reports:
    from manywheels.plan.delivery_options import resolve_delivery
    from manywheels.report.files import Reports

    delivery = resolve_delivery(inputs.layered(request.given, project.settings))
    return Reports(html=delivery.report, junit=request.junit)


def _report(manifest: Manifest, reports: Reports, output: OutputFolder, project: Project) -> None:
    try:
        reports.write(manifest, output)
    finally:
        _annotate(manifest, project)


def _annotate(manifest: Manifest, project: Project) -> None:
    """Have GitHub show failures and warnings beside the job, and at the lines that the compiler named."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from manywheels.report.annotations import annotate

        for line in annotate(manifest, project.path, Path(os.environ.get("GITHUB_WORKSPACE", "."))):
            print(line)


def exit_status(manifest: Manifest) -> int:
    """Return 0 if no target failed, 3 if all that failed did so in verification, else 1."""
    codes = {record.failure.code for record in manifest.failures if record.failure}
    if not codes:
        return EXIT_OK
    return EXIT_VERIFICATION if codes == {VerificationFailed.code} else EXIT_TARGET_FAILED


def execute(request: Request, cancellation: Cancellation) -> int:
    """Build, and publish where `--publish pypi` says so.

    What pyproject.toml says of `publish` is for workflows: nothing leaves a machine that was not asked to send it.
    """
    wanted = request.given.get("publish")
    if wanted and wanted.value == "artifact":
        raise inputs.refuse(wanted, "publish", "`pypi`, `none`, `auto`; artifacts are of a GitHub workflow's runs")
    built = _build_anywhere(request, cancellation)
    built.report()
    asked = wanted is not None and wanted.value == "pypi"
    if not asked or built.manifest is None or built.status != EXIT_OK or cancellation.requested:
        return built.status
    return _publish(replace(request, given={**request.given, **sealed(built.manifest, built.folder)}), cancellation)


def sealed(manifest: Manifest, folder: Path) -> dict[str, Value]:
    """Return the inputs that lead `verify` and `publish` to a set, and hold them to it."""
    return {
        "packages-dir": Value(value=str(folder), origin=Origin(OriginKind.PROGRAM, "the set of this run")),
        "manifest-digest": Value(value=manifest.digest, origin=Origin(OriginKind.PROGRAM, "the set of this run")),
    }


def _build_in_container(request: Request, project: Project, options: Options, cancellation: Cancellation) -> Built:
    """Build in a container; the reports are written here, for their paths mean this machine's."""
    from manywheels.runtime.containers.program import run
    from manywheels.wheels.manifest import read_manifest
    from manywheels.wheels.output import MANIFEST, open_output

    folder = options.output_dir
    output = open_output(folder)
    reports = _reports(request, project)
    reports.require()
    before = last_written(folder / MANIFEST)
    status = run(container_build(_for_container(request, project), project, options), cancellation)
    if last_written(folder / MANIFEST) in {before, None}:
        return Built(status=status, manifest=None, folder=folder)  # what is there is not of this build
    manifest = read_manifest(folder)
    return Built(
        status=status, manifest=manifest, folder=folder, report=lambda: _report(manifest, reports, output, project)
    )


def _require_whole_plan(request: Request, project: Project) -> None:
    """Raise InputError where a shard is to be published: said before anything is built; publishing refuses it, too."""
    wanted, shard = request.given.get("publish"), shard_of(request, project)
    if shard and wanted and wanted.value == "pypi":
        raise InputError(
            f"{wanted.origin}: this job builds only the shard {shard} of the plan, and a part of a release is none.",
            remedy="Build with `publish: auto`, and publish from a job after all shards, with `artifact-pattern`.",
        )


def _for_container(request: Request, project: Project) -> Request:
    """Return the request with the job's part written out: the CI's variables that say it are not in a container."""
    shard = shard_of(request, project)
    part = {"shard": Value(value=str(shard), origin=Origin(OriginKind.PROGRAM, "shard"))} if shard else {}
    return replace(request, given={**request.given, **part})
