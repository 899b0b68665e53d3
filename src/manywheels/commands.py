"""What each command does, whichever door the request came through."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manywheels import inputs, trust
from manywheels.cli_complete_plan import _complete, _make_plan
from manywheels.cli_request import Request
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
from manywheels.inputs import Given, Source
from manywheels.manifest import Shard
from manywheels.options import Options, resolve
from manywheels.project import Project, read_project, settings_of
from manywheels.sharding import parse_shard
from manywheels.whereabouts import needs_container

if TYPE_CHECKING:
    from manywheels.engine import ContainerBuild
    from manywheels.manifest import Manifest
    from manywheels.output import OutputFolder
    from manywheels.report.files import Reports
    from manywheels.verify.rules import Rules


# The inputs of a build that are not handed in: places of this machine's, the image, and how much is told.
_HANDLED_HERE: Final = {"output-dir", "image", "verbose"}


def execute(request: Request, cancellation: Cancellation) -> int:  # noqa: PLR0911 - one for each command
    """Carry out a request and return the exit status. Raises ManywheelsError for what stops it before it begins."""
    match request.command:
        case "build":
            return _build(request, cancellation)
        case "plan":
            return _plan(request)
        case "verify":
            return _verify(request, cancellation)
        case "gather":
            return _gather(request, cancellation)
        case "publish":
            return _publish(request, cancellation)
        case "explain":
            return _explain(request)
        case "schema":
            from manywheels.schema import schema

            print(json.dumps(schema(), indent=2))
            return EXIT_OK
        case "doctor":
            from manywheels.doctor import examine

            return examine()
    raise inputs.refuse(
        Given(value=request.command, origin="command", source=Source.COMMAND_LINE),
        "command",
        ", ".join(inputs.COMMANDS),
    )


def layers(request: Request) -> dict[str, Given]:
    """Return a value for every input: `[tool.manywheels]` is that of the project, which later commands stand in.

    Raises OutputFolderError where the project's own files name a place that only the workflow can name.
    """
    project = read_project(request.paths[0]).settings if request.command == "build" else settings_of(Path())
    values = inputs.layered(request.given, project)
    trust.require_places(values, os.environ)
    return values


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
    from manywheels import pipeline
    from manywheels.core.text import harmless
    from manywheels.line import Run
    from manywheels.output import open_output
    from manywheels.report.console import console_reporter

    for note in options.notes:
        print(harmless(f"note: {note}"), file=sys.stderr)
    rules = verification_rules(project.settings)
    output = open_output(options.output_dir)
    reports = _reports(request, project)
    reports.require()
    pipeline.require_toolchain(options)
    if options.test_in:
        from manywheels.stages.test_in import require_image

        require_image(options.test_in, cancellation)
    shard = _shard(request, project)
    plan = _complete(*_make_plan(project, options, shard), project, options, shard, cancellation)
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
    from manywheels.delivery import resolve_delivery
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
        from manywheels.report.github import annotate

        for line in annotate(manifest, project.path, Path(os.environ.get("GITHUB_WORKSPACE", "."))):
            print(line)


def exit_status(manifest: Manifest) -> int:
    """Return 0 if no target failed, 3 if all that failed did so in verification, else 1."""
    codes = {record.failure.code for record in manifest.failures if record.failure}
    if not codes:
        return EXIT_OK
    return EXIT_VERIFICATION if codes == {VerificationFailed.code} else EXIT_TARGET_FAILED


def _build(request: Request, cancellation: Cancellation) -> int:
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


def sealed(manifest: Manifest, folder: Path) -> dict[str, Given]:
    """Return the inputs that lead `verify` and `publish` to a set, and hold them to it."""
    return {
        "packages-dir": Given(value=str(folder), origin="the set of this run", source=Source.PROGRAM),
        "manifest-digest": Given(value=manifest.digest, origin="the set of this run", source=Source.PROGRAM),
    }


def _build_in_container(request: Request, project: Project, options: Options, cancellation: Cancellation) -> Built:
    """Build in a container; the reports are written here, for their paths mean this machine's."""
    from manywheels.engine import run
    from manywheels.manifest import read_manifest
    from manywheels.output import MANIFEST, open_output

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


def container_build(request: Request, project: Project, options: Options) -> ContainerBuild:
    """Return what a container is to be started for. Raises InputError where an input cannot be handed in."""
    from manywheels.engine import ContainerBuild

    arguments = [*_arguments(request.given), "--report=", f"--toolchain={request.toolchain}"]
    arguments += ["--verbose"] if options.verbose else []
    return ContainerBuild(
        package=project.path,
        output_dir=options.output_dir,
        policy=options.platform,
        arch=options.arch,
        arguments=tuple(arguments),
        environment_pass=options.environment_pass,
        terminal=sys.stdout.isatty() and sys.stderr.isatty(),
        image=options.image,
        needs_engine=bool(options.test_in),
    )


def _arguments(given: Mapping[str, Given]) -> Iterator[str]:
    """Write what was given for building, which is what `plan` takes, as the command line's options.

    The rest is done out here: what is delivered and told, and secrets, which arguments of processes show to everybody.
    """
    for name in (entry.name for entry in inputs.inputs_of("plan") if entry.name not in _HANDLED_HERE):
        if name not in given:
            continue
        if name not in inputs.flags():
            yield f"--{name}={given[name].value}"
        elif inputs.parse_flag(given[name], name):
            yield f"--{name}"


def _shard(request: Request, project: Project) -> Shard | None:
    return parse_shard(inputs.layered(request.given, project.settings)["shard"], "shard")


def _require_whole_plan(request: Request, project: Project) -> None:
    """Raise InputError where a shard is to be published: said before anything is built; publishing refuses it, too."""
    wanted, shard = request.given.get("publish"), _shard(request, project)
    if shard and wanted and wanted.value == "pypi":
        raise InputError(
            f"{wanted.origin}: this job builds only the shard {shard} of the plan, and a part of a release is none.",
            remedy="Build with `publish: auto`, and publish from a job after all shards, with `artifact-pattern`.",
        )


def _for_container(request: Request, project: Project) -> Request:
    """Return the request with the job's part written out: the CI's variables that say it are not in a container."""
    shard = _shard(request, project)
    part = {"shard": Given(value=str(shard), origin="shard", source=Source.PROGRAM)} if shard else {}
    return replace(request, given={**request.given, **part})


def _plan(request: Request) -> int:
    from manywheels.report.plan import as_json, as_table

    project = read_project(request.paths[0])
    options = resolve(request.given, project, toolchain=request.toolchain)
    plan, _ = _make_plan(project, options, _shard(request, project))
    if request.matrix:
        from manywheels.report import matrix

        written = matrix.github if request.matrix == "github" else matrix.gitlab
        print(written(plan, request.per_job))
    elif request.as_json:
        print(json.dumps(as_json(plan, project, options, explain=request.explain), indent=2))
    else:
        as_table(plan, project, options, explain=request.explain)
    return EXIT_OK


def _gather(request: Request, cancellation: Cancellation) -> int:
    from manywheels.delivery import resolve_delivery
    from manywheels.gather import Source, gather
    from manywheels.output import open_output

    given = layers(request)
    folder = Path(inputs.parse_path(given["output-dir"], "output-dir"))
    sources = [Source(folder=path, name=str(path)) for path in request.paths]
    digests = resolve_delivery(given).manifest_digests
    gathered = gather(sources, open_output(folder), digests=digests, cancellation=cancellation)
    print(gathered.told(folder))
    return EXIT_OK


def _verify(request: Request, cancellation: Cancellation) -> int:
    from manywheels.delivery import resolve_delivery
    from manywheels.verify.command import run

    wanted = request.verification
    rules = verification_rules(settings_of(Path()), strict=wanted.strict)
    digests = resolve_delivery(layers(request)).manifest_digests
    return run(request.paths, wanted, rules, cancellation, digests=digests)


def _publish(request: Request, cancellation: Cancellation) -> int:
    from manywheels.publish.command import run

    folder = request.paths[0]  # a job that only publishes may have no checkout
    settings = settings_of(folder)
    return run(inputs.layered(request.given, settings), cancellation, rules=verification_rules(settings))


def verification_rules(settings: Mapping[str, Any], *, strict: bool = False) -> Rules:
    """Return the rules of `[tool.manywheels.verify]` in a project's settings. Raises InputError."""
    from manywheels.verify.catalogue import catalogue
    from manywheels.verify.rules import Rules, parse_rules

    table = settings.get("verify")
    if table is None:
        return Rules(strict=strict)
    if not isinstance(table, dict):
        raise InputError("[tool.manywheels] verify is no table.", remedy="Write it as `[tool.manywheels.verify]`.")
    return parse_rules(table, (entry.code for entry in catalogue()), strict=strict)


def _explain(request: Request) -> int:
    from manywheels.verify.catalogue import catalogue

    entries = {entry.code: entry for entry in catalogue()}
    for code in request.codes:
        if code.upper() not in entries:
            raise InputError(f"There is no check `{code}`.", remedy="`manywheels explain` lists the checks.")
    for code in [code.upper() for code in request.codes] or sorted(entries):
        entry = entries[code]
        print(f"{code} {entry.title} ({entry.severity})\n  {entry.must_hold}\n  {entry.why}")
    return EXIT_OK
