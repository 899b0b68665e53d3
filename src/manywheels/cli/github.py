"""The GitHub action: inputs from `INPUT_*` variables, outputs to the runner's file.

Inputs' names are in upper case, with hyphens; another user owns the working folder.
"""

from __future__ import annotations

import fnmatch
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.cli import build, commands, gather, github_artifacts, guard, publish, verify
from manywheels.cli.ci_inputs import read_inputs
from manywheels.cli.request import Request, Verification, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import last_written
from manywheels.core.text import sanitize
from manywheels.deliver.artifacts.service import find_service, has_service
from manywheels.errors import EXIT_OK, Cancelled, ContainerFailed, InputError, ManywheelsError
from manywheels.plan import inputs, trust
from manywheels.plan.delivery_options import resolve_delivery
from manywheels.plan.options import NothingToBuild
from manywheels.plan.settings import Settings
from manywheels.report.wording import summary as in_one_sentence
from manywheels.wheels.gather import has_distributions
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import MANIFEST, REPORT

if TYPE_CHECKING:
    from manywheels.report.contents import Contents

_PREFIX: Final = "INPUT_"
_ARTIFACT_INPUTS: Final = frozenset({"artifact-name", "artifact-pattern", "foreign"})
_RUNNER_INPUTS: Final = frozenset({"args", "entrypoint"})  # for the runner
# cibuildwheel's action installs itself, and with it what `extras` names; here, uv is part of the image.
_INSTALLERS_INPUTS: Final = frozenset({"extras", "python-path"})
_ANNOTATED: Final = 10  # lines of an error in its annotation


def main(environment: Mapping[str, str] = os.environ) -> int:
    guard.escape_unprintable()
    with guard.cancellable() as cancellation:
        return guard.run_guarded(lambda: _run(environment, cancellation), cancellation, _report_error)


def _report_error(error: ManywheelsError) -> None:
    from manywheels.core.github_commands import Annotation

    guard.print_error(error)
    if isinstance(error, Cancelled):  # GitHub shows that itself
        return
    said = error.message.splitlines()
    more = [f"… and {len(said) - _ANNOTATED} lines more, in the log"] if len(said) > _ANNOTATED else []
    message = "\n".join(sanitize(line) for line in (*said[:_ANNOTATED], *more, error.remedy) if line)
    print(Annotation(kind="error", title=f"manywheels {error.code}", message=message), flush=True)


def read_request(environment: Mapping[str, str]) -> Request:
    """Raises InputError."""
    given = read_inputs(environment, _PREFIX, "with", ignored=_RUNNER_INPUTS | _INSTALLERS_INPUTS)
    command = given.pop("command", inputs.default("build"))
    package = given.pop("package-dir", inputs.default("."))
    return Request(
        command=inputs.parse_choice(command, "command", inputs.COMMANDS),
        paths=(Path(inputs.parse_path(package, "package-dir")),),
        given=given,
        verification=Verification(form="github"),
    )


def _run(environment: Mapping[str, str], cancellation: Cancellation) -> int:
    from manywheels.core.github_commands import known_secrets, masks

    for line in masks(known_secrets(environment)):
        print(line, flush=True)
    request = read_request(environment)
    match request.command:
        case "build":
            return _build(request, environment, cancellation)
        case "verify":
            request, settings = _with_set(request, environment, cancellation)
            return verify.verify(request, settings, cancellation)
        case "gather":
            return _gather(request, environment, cancellation)
        case "publish":
            _, settings = _with_set(request, environment, cancellation)
            return _publish(settings, environment, cancellation)
    return commands.execute(request, cancellation)


# --- build and deliver ------------------------------------------------------------------------------------------------


def _build(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    """Build, report, deliver, write outputs, each even if the one before failed; publish if all succeeded."""
    try:
        job = build.prepare_build(request)
    except NothingToBuild as nothing:
        if file := environment.get("GITHUB_OUTPUT"):
            write_outputs(Path(file), {"wheels": "[]", "summary": str(nothing)})
        return build.say_nothing_to_build(nothing)
    settings, delivery = job.options.settings, job.delivery
    trust.require_publishing_asked(settings.value("publish"))
    if delivery.publish == "artifact":
        find_service(environment)  # fail before building
    report = delivery.report or job.options.output_dir / REPORT
    before = last_written(report)
    with tempfile.TemporaryDirectory(prefix="manywheels-", ignore_cleanup_errors=True) as place:
        earlier = github_artifacts.of_attempt_before(job, Path(place), environment, cancellation)
        job = replace(job, delivery=replace(delivery, report=report), earlier=earlier)
        built = build.build(job, cancellation)
    manifest, folder = built.manifest, built.folder
    if manifest is None:
        raise ContainerFailed(
            "manywheels in the container exited before building anything.", remedy="See its message above."
        )
    if earlier and earlier.is_of_the_job_of(manifest):
        delivery = replace(delivery, overwrite=True)  # the artifact of this name is this job's own
    status = built.status
    outputs = _outputs(manifest, folder)
    try:
        built.report()
    finally:
        try:
            if github_artifacts.is_wanted(delivery, manifest, environment) and not cancellation.requested:
                written = last_written(report) not in {before, None}  # otherwise it came with the checkout
                shown = report if written else None
                outputs |= github_artifacts.upload(delivery, manifest, folder, environment, cancellation, report=shown)
        finally:
            _write_results(manifest, folder, outputs, environment, cancellation, startup=built.startup)
    if delivery.publish == "pypi" and status == EXIT_OK and not cancellation.requested:
        return _publish(settings.with_values(gather.sealed(manifest, folder)), environment, cancellation)
    return status


def _publish(settings: Settings, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    with github_artifacts.ledger_uploaded(settings, environment, cancellation):
        return publish.upload(settings, cancellation)


# --- verify, gather and publish, in later jobs ------------------------------------------------------------------------


def _with_set(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> tuple[Request, Settings]:
    """Take wheels from the run's artifacts if necessary.

    That is: if an artifact is named, or the folder holds no wheels. If no folder is named, an existing artifact takes
    precedence: wheels in the folder may come from the checkout.
    """
    settings = read_wheel_settings(request)
    verifies = request.command == "verify"
    name = "output-dir" if verifies or not settings.value("packages-dir").value else "packages-dir"
    folder = Path(settings.parsed(name, inputs.parse_path))
    checked = request.paths[0] if verifies else folder
    delivery = resolve_delivery(settings)
    if not _ARTIFACT_INPUTS & request.given.keys():
        if not has_service(environment):
            return request, settings
        names_folder = request.paths[0] != Path() if verifies else "packages-dir" in request.given
        is_filled = has_distributions(checked)
        if is_filled and (names_folder or not github_artifacts.has_set(delivery, environment, cancellation)):
            return request, settings
    manifest = github_artifacts.take(settings, folder, environment, cancellation)
    _write_results(manifest, folder, _outputs(manifest, folder), environment, cancellation)
    return replace(request, paths=(folder,)), settings.with_values(gather.sealed(manifest, folder))


def _gather(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    """Put the sets of the building jobs together, and upload them as one artifact."""
    settings = read_wheel_settings(request)
    delivery = resolve_delivery(settings)
    pattern, name = delivery.artifact_pattern, delivery.artifact_name
    if not pattern or fnmatch.fnmatchcase(name, pattern):
        raise InputError(
            f"`gather` is told to take the artifacts `{pattern}`, and to upload `{name}`.",
            remedy="Name the building jobs' artifacts with `artifact-pattern`, as `wheels-of-*`, and the set with "
            "`artifact-name`, which the pattern must not match.",
        )
    folder = Path(settings.parsed("output-dir", inputs.parse_path))
    manifest = github_artifacts.take(settings, folder, environment, cancellation)
    outputs = _outputs(manifest, folder)
    try:
        outputs |= github_artifacts.upload(delivery, manifest, folder, environment, cancellation, report=None)
    finally:
        _write_results(manifest, folder, outputs, environment, cancellation)
    return EXIT_OK


# --- outputs and summary ----------------------------------------------------------------------------------------------


def _write_results(
    manifest: Manifest,
    folder: Path,
    outputs: Mapping[str, str],
    environment: Mapping[str, str],
    cancellation: Cancellation,
    *,
    startup: str = "",
) -> None:
    from manywheels.report.contents import contents_of
    from manywheels.report.summary import step_summary

    if file := environment.get("GITHUB_OUTPUT"):
        write_outputs(Path(file), outputs)
    if file := environment.get("GITHUB_STEP_SUMMARY"):
        contents: list[Contents] = []
        with suppress(Cancelled):  # the summary is written all the same
            contents = contents_of(manifest, folder, cancellation)
        with Path(file).open("a", encoding="utf-8") as summary:
            summary.write(step_summary(manifest, contents, startup))


def _outputs(manifest: Manifest, folder: Path) -> dict[str, str]:
    return {
        "wheels": json.dumps([str(folder / file.name) for file in manifest.files if file.name.endswith(".whl")]),
        "sdist": str(folder / manifest.sdist.name) if manifest.sdist else "",
        "manifest": str(folder / MANIFEST),
        "manifest-digest": manifest.digest,
        "summary": in_one_sentence(manifest),
    }


def write_outputs(file: Path, values: Mapping[str, str]) -> None:
    """Append outputs to the runner's file; a random delimiter keeps a value from ending itself.

    Raises InputError for a value that contains it.
    """
    with file.open("a", encoding="utf-8") as outputs:
        for name, value in values.items():
            delimiter = f"manywheels_{secrets.token_hex(16)}"
            if delimiter in value:
                raise InputError(f"The output `{name}` contains its own delimiter.", remedy="Run the job again.")
            outputs.write(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")
