"""The GitHub door: inputs from `INPUT_*`, outputs through the file that the runner names.

The runner starts the image as a container action: inputs are variables called `INPUT_` and the name in upper case,
hyphens kept; the workspace is the working folder and belongs to somebody else.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from manywheels.cli import build, commands, guard
from manywheels.cli import request as cli_request
from manywheels.cli.ci_inputs import read_inputs
from manywheels.cli.request import Request, Verification
from manywheels.core import files
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import last_written
from manywheels.core.interruptible import until_stopped
from manywheels.core.text import sanitize
from manywheels.deliver.artifacts.packing import ArtifactMember
from manywheels.deliver.artifacts.service import find_service, has_service
from manywheels.deliver.artifacts.sets import open_artifacts
from manywheels.errors import EXIT_OK, Cancelled, DeliveryError, InputError, ManywheelsError
from manywheels.plan import inputs, trust
from manywheels.plan.delivery_options import Delivery, resolve_delivery, resolve_publishing
from manywheels.plan.project import settings_of
from manywheels.report.wording import summary as in_one_sentence
from manywheels.wheels.gather import has_distributions
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import LEDGER, MANIFEST, REPORT

_PREFIX: Final = "INPUT_"
_ALSO_IN_ARTIFACT: Final = frozenset({"auto", "pypi"})  # where there is a service
_OF_ARTIFACTS: Final = frozenset({"artifact-name", "artifact-pattern"})
_RUNNERS_OWN: Final = frozenset({"args", "entrypoint"})  # `with: args` and `entrypoint` are meant for the runner


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Run the action; return its exit status."""
    guard.print_anything()
    with guard.cancellable() as cancellation:
        return guard.run_guarded(lambda: _run(environment, cancellation), cancellation, _tell_error)


def _tell_error(error: ManywheelsError) -> None:
    """Print what ended the step, and show it on the run's page, where readers look before they open its log."""
    from manywheels.core.github_commands import Annotation

    guard.print_error(error)
    if isinstance(error, Cancelled):  # the page says that itself
        return
    said = [error.message.partition("\n")[0], error.remedy]
    message = "\n".join(sanitize(line) for line in said if line)
    print(Annotation(kind="error", title=f"manywheels {error.code}", message=message), flush=True)


def read_request(environment: Mapping[str, str]) -> Request:
    """Return the request that the inputs make. Raises InputError for unknown inputs and for commands that are none."""
    given = read_inputs(environment, _PREFIX, "with", foreign=_RUNNERS_OWN)
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
            return commands.execute(_with_set(request, environment, cancellation), cancellation)
        case "publish":
            return _publish(_with_set(request, environment, cancellation), environment, cancellation)
    return commands.execute(request, cancellation)


# --- build, and what is done with what was built ----------------------------------------------------------------------


def _build(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    """Build, report, deliver, and tell: each of these is done whatever becomes of the one before it."""
    layers = cli_request.layers(request)
    trust.require_publishing_asked(layers["publish"])
    delivery = resolve_delivery(layers)
    if delivery.publish == "artifact":
        find_service(environment)  # said before anything is built
    folder = Path(inputs.parse_path(layers["output-dir"], "output-dir"))
    report = delivery.report or folder / REPORT
    before = files.last_written(report)
    given = {**request.given, "report": replace(layers["report"], value=str(report))}
    manifest, built = build.build(replace(request, given=given), cancellation)
    status, folder = build.exit_status(manifest), built.folder
    outputs = _outputs(manifest, folder)
    try:
        built.report()
    finally:
        try:
            if _goes_into_artifact(delivery, manifest, environment) and not cancellation.requested:
                written = files.last_written(report) not in {before, None}  # else it came with the checkout
                shown = report if written else None
                outputs |= _upload(delivery, manifest, folder, environment, cancellation, report=shown)
        finally:
            _tell(manifest, outputs, environment)
    if delivery.publish == "pypi" and status == EXIT_OK and not cancellation.requested:
        given = {**request.given, **build.sealed(manifest, folder)}
        return _publish(replace(request, command="publish", given=given), environment, cancellation)
    return status


def _publish(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    from manywheels.cli.github import ledger_uploaded

    with ledger_uploaded(request, environment, cancellation):
        return commands.execute(request, cancellation)


def _goes_into_artifact(delivery: Delivery, manifest: Manifest, environment: Mapping[str, str]) -> bool:
    """Finished wheels go into the artifact even if other targets failed.

    So they do before they are published: only with the same files can an upload that was broken off be finished.
    """
    wanted = delivery.publish == "artifact" or (delivery.publish in _ALSO_IN_ARTIFACT and has_service(environment))
    return wanted and bool(manifest.wheels)


def _upload(
    delivery: Delivery,
    manifest: Manifest,
    folder: Path,
    environment: Mapping[str, str],
    cancellation: Cancellation,
    *,
    report: Path | None,
) -> dict[str, str]:
    from manywheels.deliver.artifacts.sets import open_artifacts, upload_set

    artifacts = open_artifacts(environment, cancellation)
    uploaded = upload_set(artifacts, delivery, manifest, folder, cancellation, report=report)
    return {"artifact-id": uploaded.number, "artifact-url": uploaded.url, "artifact-digest": uploaded.sha256}


def _tell(manifest: Manifest, outputs: Mapping[str, str], environment: Mapping[str, str]) -> None:
    """Write the step's outputs and its summary."""
    from manywheels.report.summary import step_summary

    if file := environment.get("GITHUB_OUTPUT"):
        write_outputs(Path(file), outputs)
    if file := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as summary:
            summary.write(step_summary(manifest))


# --- verify and publish, in later jobs --------------------------------------------------------------------------------


def _with_set(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> Request:
    """Return the request with the folder that holds the wheels: theirs is taken from the run's artifacts if need be.

    That is so where an artifact is named that is not the default, and where the folder has nothing to look at. Where no
    folder is named, the run's artifact goes before it too: wheels that lie there may have come with the checkout.
    """
    layers = cli_request.layers(request)
    verifies = request.command == "verify"
    name = "output-dir" if verifies or not layers["packages-dir"].value else "packages-dir"
    folder = Path(inputs.parse_path(layers[name], name))
    looked_at = request.paths[0] if verifies else folder
    delivery = resolve_delivery(layers)
    if not _OF_ARTIFACTS & request.given.keys():
        if not has_service(environment):
            return request
        names_folder = request.paths[0] != Path() if verifies else "packages-dir" in request.given
        if has_distributions(looked_at) and (names_folder or not _has_set(delivery, environment, cancellation)):
            return request
    manifest = _take(delivery, folder, environment, cancellation)
    _tell(manifest, _outputs(manifest, folder), environment)
    paths = (folder,) if verifies else request.paths
    return replace(request, paths=paths, given={**request.given, **build.sealed(manifest, folder)})


def _has_set(delivery: Delivery, environment: Mapping[str, str], cancellation: Cancellation) -> bool:
    """Whether the run has the artifact, which then goes before a folder that nobody named; that is told."""
    from manywheels.deliver.artifacts.sets import has_set, open_artifacts

    found = has_set(open_artifacts(environment, cancellation), delivery, cancellation)
    if found:
        print(
            f"this run's artifact {sanitize(delivery.artifact_name)} goes before the files that are here; "
            "to take these, name their folder in `packages-dir` (`verify`: in `package-dir`)",
            flush=True,
        )
    return found


def _take(delivery: Delivery, folder: Path, environment: Mapping[str, str], cancellation: Cancellation) -> Manifest:
    from manywheels.deliver.artifacts.sets import open_artifacts, take_sets
    from manywheels.wheels.output import open_output

    gathered = take_sets(open_artifacts(environment, cancellation), delivery, open_output(folder), cancellation)
    print(gathered.describe(folder), flush=True)
    return gathered.manifest


def _outputs(manifest: Manifest, folder: Path) -> dict[str, str]:
    return {
        "wheels": json.dumps([str(folder / wheel.name) for wheel in manifest.wheels]),
        "manifest": str(folder / MANIFEST),
        "manifest-digest": manifest.digest,
        "summary": in_one_sentence(manifest),
    }


def write_outputs(file: Path, values: Mapping[str, str]) -> None:
    """Append outputs to the runner's file; the delimiter is random, so that no value can end its own.

    Raises InputError for a value that holds the delimiter nevertheless.
    """
    with file.open("a", encoding="utf-8") as outputs:
        for name, value in values.items():
            delimiter = f"manywheels_{secrets.token_hex(16)}"
            if delimiter in value:
                raise InputError(f"The output `{name}` holds its own delimiter.", remedy="Run the job again.")
            outputs.write(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


@contextmanager
def ledger_uploaded(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> Iterator[None]:
    """Upload the ledger that the block writes, whatever becomes of the block; that it cannot be is only a warning."""
    layers = inputs.layered(request.given, settings_of(request.paths[0]))
    options, delivery = resolve_publishing(layers), resolve_delivery(layers)
    path = options.packages_dir / LEDGER
    before = last_written(path)
    try:
        yield
    finally:
        if has_service(environment) and last_written(path) not in {before, None} and not cancellation.requested:
            name = artifact_name(delivery.artifact_name, options.repository)
            artifacts, member = open_artifacts(environment, cancellation), ArtifactMember(name=LEDGER, path=path)
            try:
                until_stopped(
                    lambda: artifacts.upload(name, [member], retention_days=delivery.retention_days, overwrite=True),
                    cancellation,
                )
            except DeliveryError as error:
                print(sanitize(f"warning: the ledger is in no artifact: {error.message}"), flush=True)


def artifact_name(wheels: str, repository: str) -> str:
    """Return the name for a ledger: one for each set and index, so that one run may publish to several.

    It does not begin as the sets' names do: a later job's `artifact-pattern: wheels-*` shall not take it for a set.
    """
    index = urlsplit(repository).hostname or repository
    return f"ledger-{wheels}-{re.sub(r'[^A-Za-z0-9.-]', '-', index)}"
