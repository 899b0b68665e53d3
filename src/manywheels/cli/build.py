"""`build`: build wheels here or in a container, write reports, and publish if requested."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.cli import gather, publish
from manywheels.cli.beside import look_at_others
from manywheels.cli.complete_plan import complete_plan, plan_in_images
from manywheels.cli.container_build import container_build, has_one_image, needs_container
from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.errors import (
    EXIT_OK,
    EXIT_TARGET_FAILED,
    EXIT_VERIFICATION,
    InputError,
    IsolationError,
    VerificationFailed,
)
from manywheels.plan import inputs, trust
from manywheels.plan.configured_project import read_configured_project
from manywheels.plan.delivery_options import Delivery, resolve_delivery
from manywheels.plan.installer_files import Caller, read_caller
from manywheels.plan.options import NothingToBuild, Options, resolve
from manywheels.plan.pip_explained import explain_pip
from manywheels.plan.project import Project
from manywheels.wheels.earlier import Earlier, earlier_in, note_written, unconfirmed_in

if TYPE_CHECKING:
    from manywheels.build.ingredients import Ingredients
    from manywheels.build.reporter import Reporter
    from manywheels.build.trace import Trace
    from manywheels.plan.platforms import Platform
    from manywheels.plan.targets import Plan
    from manywheels.report.files import Reports
    from manywheels.runtime.containers.program import ContainerBuild
    from manywheels.wheels.manifest import Manifest
    from manywheels.wheels.output import OutputFolder


@dataclass(frozen=True, kw_only=True)
class BuildJob:
    """A checked build; nothing has been written or started. It `began` at a monotonic time in seconds.

    `earlier` is the run whose wheels may be kept, if it is not the one that has filled the output folder.
    """

    request: Request
    project: Project
    options: Options
    delivery: Delivery
    caller: Caller
    began: float
    earlier: Earlier | None = None

    def earlier_in(self, output: OutputFolder) -> Earlier | None:
        """Return the earlier run whose wheels may be kept.

        In a job with identity tokens, none from a folder: other jobs may have written the cache that vouches for it.
        """
        if self.request.part or self.options.fresh:
            return None
        return self.earlier or (None if trust.grants_in(os.environ) else earlier_in(output.path))


@dataclass(frozen=True, kw_only=True)
class Built:
    """A finished build: `folder` is the output folder as given, `report` writes the reports.

    `manifest` is None if the container wrote none. `startup` says what the run spent before its first target.
    """

    status: int
    manifest: Manifest | None
    folder: Path
    report: Callable[[], None] = lambda: None
    startup: str = ""


def prepare_build(request: Request) -> BuildJob:
    """Raises ManywheelsError; NothingToBuild if that is allowed."""
    began = time.monotonic()
    project = read_configured_project(request.paths[0], request.given)
    options = resolve(request.given, project, toolchain=request.toolchain, one_image=has_one_image(request))
    if request.part:
        options = options.of_part(request.part)
    if request.without_sdist:
        options = replace(options, sdist=False)
    trust.require_trusted(options, os.environ)
    options = replace(options, compiler_cache=trust.compiler_cache(options, os.environ))
    _require_whole_plan(request, options)
    return BuildJob(
        request=request, project=project, options=options, delivery=resolve_delivery(options.settings),
        caller=read_caller(os.environ), began=began,
    )  # fmt: skip


def build(job: BuildJob, cancellation: Cancellation) -> Built:
    """The caller calls the result's `report` once. Raises ManywheelsError."""
    if not job.request.part and not _has_own_cache(cancellation):
        _print_notes(["git does not say whether the cache folder came with the checkout: nothing that is kept counts"])
        job = replace(job, options=without_kept(job.options))
    in_container = needs_container(job.request.engine, job.options)
    built = _build_in_containers(job, cancellation) if in_container else _build_here(job, cancellation)
    if built.manifest and not job.request.part and not cancellation.requested:
        _print_notes(look_at_others(built.manifest, built.folder, clear=job.options.clear and built.status == EXIT_OK))
    return built


def without_kept(options: Options) -> Options:
    """Return options with which nothing counts that an earlier run has left in the cache folder."""
    cache_mode = "run" if options.compiler_cache == "keep" else options.compiler_cache
    return replace(options, fresh=True, compiler_cache=cache_mode)


def _has_own_cache(cancellation: Cancellation) -> bool:
    """Refuse a cache folder with files of a checkout's: the caches of GitLab's jobs are in the checkout.

    Return whether it is known that there are none.
    """
    from manywheels.core.text import sanitize
    from manywheels.runtime.git_commands import tracked_below

    folders = dict.fromkeys((cache_dir(), cache_dir().resolve()))
    found = [tracked_below(folder, cancellation) for folder in folders]
    if tracked := [name for names in found for name in names or ()]:
        raise IsolationError(
            f"The cache folder `{cache_dir()}` has files of the checkout, such as `{sanitize(tracked[0])}`: what is in "
            "it would be taken for what manywheels itself has made.",
            remedy="Remove them from the repository (`git rm -r --cached`), or set MANYWHEELS_CACHE to a folder that "
            "git does not track.",
        )
    return None not in found


def _build_here(job: BuildJob, cancellation: Cancellation) -> Built:
    from manywheels.build import pipeline
    from manywheels.build.context import Run
    from manywheels.build.events import EventWriter
    from manywheels.cli.kept_objects import KeptObjects
    from manywheels.verify.rules import verification_rules
    from manywheels.wheels.output import open_output

    project, options, is_part = job.project, job.options, bool(job.request.part)
    if not is_part:
        _print_notes(options.notes)
    if options.container_engine.of_container and job.request.engine != "host":
        _print_notes(["`create_args` of `container-engine` have no effect: this build starts no container"])
    rules = verification_rules(project.settings)
    output = open_output(options.output_dir)
    reports, trace = _reports(job), _trace(job)
    reports.require()
    pipeline.require_toolchain(options)
    for image in options.test_images:
        from manywheels.build.stages.test_container import require_image

        require_image(image, cancellation)
    plan = complete_plan(project, options, cancellation)
    _print_notes(explain_pip(options, [planned.target for planned in plan.targets], job.caller).notes)
    trace.step_since(0, "plan")
    earlier = job.earlier_in(output)
    reporter: Reporter = (
        EventWriter(sys.stdout, output.path, trace) if is_part else _console(job, output, earlier, cancellation)
    )
    run = Run(
        project=project, plan=plan, options=options, rules=rules, output=output, caller=job.caller.environment,
        overlooked=job.caller.notes, is_part=is_part, jobserver=job.request.jobserver, trace=trace,
        earlier=earlier, reports=tuple(_own_reports(job)),
    )  # fmt: skip
    kept = KeptObjects.of(options, os.environ, cancellation)
    try:
        with trace.step("restore objects") if kept.is_used else nullcontext():
            kept.bring()
        manifest = pipeline.execute(run, reporter, cancellation)
    finally:
        reporter.stop()
    if not is_part:
        note_written(manifest)
    if kept.is_used and not cancellation.requested:
        with trace.step("save objects"):
            kept.save(manifest)
    return Built(
        status=exit_status(manifest), manifest=manifest, folder=options.output_dir,
        report=lambda: _report(manifest, reports, output, project, trace), startup=_startup(trace),
    )  # fmt: skip


def _console(job: BuildJob, output: OutputFolder, earlier: Earlier | None, cancellation: Cancellation) -> Reporter:
    from manywheels.report.console import console_reporter

    stream = sys.stderr if job.request.as_json else sys.stdout
    return console_reporter(
        output.path, cancellation, verbose=job.options.verbose, quiet=job.request.quiet, stream=stream,
        before=earlier.manifest if earlier else unconfirmed_in(output.path),
    )  # fmt: skip


def _print_notes(notes: Iterable[str]) -> None:
    from manywheels.core.text import sanitize

    for note in notes:
        print(sanitize(f"note: {note}"), file=sys.stderr)


def _reports(job: BuildJob) -> Reports:
    from manywheels.report.files import Reports

    return Reports(html=job.delivery.report, junit=job.request.junit, trace=job.delivery.trace)


def _trace(job: BuildJob) -> Trace:
    """Return a trace that is kept where something shows it; the program outside of a container does."""
    from manywheels.build.trace import Trace

    return Trace(job.began, on=bool(job.delivery.trace or job.delivery.report or job.request.traced))


def _own_reports(job: BuildJob) -> list[Path]:
    """Return the files that this run, or the one that it is a part of, writes beside the output folder."""
    reports = (job.delivery.report, job.request.junit, job.delivery.trace)
    return [*filter(None, reports), *(job.project.path / name for name in job.request.leave_out)]


def _startup(trace: Trace) -> str:
    from manywheels.report.startup import describe

    return describe(trace.spans)


def _report(manifest: Manifest, reports: Reports, output: OutputFolder, project: Project, trace: Trace) -> None:
    try:
        reports.write(manifest, output, trace)
    finally:
        _annotate(manifest, project)


def _annotate(manifest: Manifest, project: Project) -> None:
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from manywheels.report.annotations import annotate

        for line in annotate(manifest, project.path, Path(os.environ.get("GITHUB_WORKSPACE", "."))):
            print(line)


def exit_status(manifest: Manifest) -> int:
    """Return 0 if no target failed or is missing without leave, 3 if all failures are of verification, else 1."""
    codes = {record.failure.code for record in manifest.failures if record.failure}
    codes |= {manifest.sdist_failure.code} if manifest.sdist_failure else set()
    if not codes:
        return EXIT_OK
    return EXIT_VERIFICATION if codes == {VerificationFailed.code} else EXIT_TARGET_FAILED


def execute(request: Request, cancellation: Cancellation) -> int:
    """Build, and publish with `--publish pypi`; `publish` in pyproject.toml is for workflows only."""
    wanted = request.given.get("publish")
    if wanted and wanted.value == "artifact":
        raise inputs.refuse(wanted, "publish", "`pypi`, `none`, `auto`; only runs of GitHub workflows have artifacts")
    try:
        job = prepare_build(request)
    except NothingToBuild as nothing:
        return say_nothing_to_build(nothing)
    built = build(job, cancellation)
    built.report()
    if request.as_json and built.manifest:
        print(built.manifest.serialized().decode(), end="")
    publishes = wanted is not None and wanted.value == "pypi"
    if not publishes or built.manifest is None or built.status != EXIT_OK or cancellation.requested:
        return built.status
    return publish.upload(job.options.settings.with_values(gather.sealed(built.manifest, built.folder)), cancellation)


def say_nothing_to_build(nothing: NothingToBuild) -> int:
    """Return the exit status."""
    from manywheels.core.text import sanitize

    print(sanitize(f"note: {nothing} Nothing is built, as `allow-empty` has it."), file=sys.stderr)
    return EXIT_OK


def _build_in_containers(job: BuildJob, cancellation: Cancellation) -> Built:
    """The reports are written here because their paths are this machine's."""
    from manywheels.build import container_run
    from manywheels.build.ingredients import Ingredients
    from manywheels.verify.rules import verification_rules
    from manywheels.wheels.output import open_output

    project, options = job.project, job.options
    _print_notes(options.notes)
    output = open_output(options.output_dir)
    reports, trace = _reports(job), _trace(job)
    reports.require()
    plan = plan_in_images(project, options, cancellation)
    ingredients = Ingredients(
        project=project, options=options, rules=verification_rules(project.settings), planned=plan.targets,
        caller=job.caller.environment, tools=container_run.tools_of(options, plan),
        makes_sdist=options.sdist and plan.leads, cancellation=cancellation,
    )  # fmt: skip
    with closing(ingredients):
        status, manifest = _run_containers(
            job, plan, ingredients, output=output, trace=trace, cancellation=cancellation
        )
    if manifest is None:
        return Built(status=status, manifest=None, folder=options.output_dir)
    note_written(manifest)
    return Built(
        status=exit_status(manifest) or status, manifest=manifest, folder=options.output_dir,
        report=lambda: _report(manifest, reports, output, project, trace), startup=_startup(trace),
    )  # fmt: skip


def _run_containers(
    job: BuildJob,
    plan: Plan,
    ingredients: Ingredients,
    *,
    output: OutputFolder,
    trace: Trace,
    cancellation: Cancellation,
) -> tuple[int, Manifest | None]:
    from manywheels.build import container_run
    from manywheels.build.container_run import ContainerRun
    from manywheels.build.unchanged import find_kept

    project, options = job.project, job.options
    earlier = job.earlier_in(output)
    own = (output.path, *_own_reports(job))
    kept = find_kept(
        ingredients, earlier, lambda: container_run.checkout_of(project, own, cancellation), output, cancellation
    )
    targets = [planned.target for planned in kept.left(plan.targets)]
    leading = plan.targets[0].target if plan.leads else None

    def build_for(platform: Platform) -> ContainerBuild:
        part = [target for target in targets if options.platform_of(target) == platform]
        built = container_build(job.request, project, options, platform, part, leads=leading in part)
        left = (f"--leave-out={os.path.relpath(path, project.path)}" for path in _own_reports(job))
        return replace(built, arguments=(*built.arguments, *left))

    builds = {platform: build_for(platform) for platform in options.platforms_of(targets)}
    reporter = _console(job, output, earlier, cancellation)
    trace.step_since(0, "plan")
    run = ContainerRun(
        project=project, plan=plan, options=options, output=output, rules=ingredients.rules, builds=builds, trace=trace,
        ingredients=ingredients, kept=kept,
    )  # fmt: skip
    try:
        return container_run.execute(run, reporter, cancellation)
    finally:
        reporter.stop()


def _require_whole_plan(request: Request, options: Options) -> None:
    """Refuse to publish a shard; publishing refuses it too, but after the build."""
    wanted, shard = request.given.get("publish"), options.shard
    if shard and wanted and wanted.value == "pypi":
        raise InputError(
            f"{wanted.origin}: this job builds only shard {shard} of the plan, which is not a complete release.",
            remedy="Build with `publish: auto`, and publish in a job after all shards, with `artifact-pattern`.",
        )
