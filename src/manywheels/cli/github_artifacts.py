"""Artifacts of a run of the GitHub action: the set of wheels, and the ledger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from manywheels.cli.gather import inspector
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import last_written
from manywheels.core.interruptible import until_stopped
from manywheels.core.printing import say
from manywheels.core.text import sanitize
from manywheels.deliver.artifacts import sets
from manywheels.deliver.artifacts.packing import ArtifactMember
from manywheels.deliver.artifacts.service import has_service
from manywheels.deliver.artifacts.sets import open_artifacts
from manywheels.errors import DeliveryError, WheelFileError
from manywheels.plan import trust
from manywheels.plan.delivery_options import Delivery, resolve_delivery, resolve_publishing
from manywheels.plan.settings import Settings
from manywheels.wheels.earlier import Earlier
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import LEDGER, open_output

if TYPE_CHECKING:
    from manywheels.cli.build import BuildJob

_IF_AVAILABLE: Final = frozenset({"auto", "pypi"})  # values of `publish`: if there is an artifact service


def is_wanted(delivery: Delivery, manifest: Manifest, environment: Mapping[str, str]) -> bool:
    """Whether to upload the wheels as an artifact: even if other targets failed.

    Also before publishing: an interrupted upload to the index can only be completed with the same files.
    """
    wanted = delivery.publish == "artifact" or (delivery.publish in _IF_AVAILABLE and has_service(environment))
    return wanted and bool(manifest.wheels)


def upload(
    delivery: Delivery,
    manifest: Manifest,
    folder: Path,
    environment: Mapping[str, str],
    cancellation: Cancellation,
    *,
    report: Path | None,
) -> dict[str, str]:
    """Return the action's outputs about the artifact. Raises DeliveryError and Cancelled."""
    artifacts = open_artifacts(environment, cancellation)
    uploaded = sets.upload_set(artifacts, delivery, manifest, folder, cancellation, report=report)
    return {"artifact-id": uploaded.number, "artifact-url": uploaded.url, "artifact-digest": uploaded.sha256}


def has_set(delivery: Delivery, environment: Mapping[str, str], cancellation: Cancellation) -> bool:
    """Whether the run has the artifact; if so, print that it takes precedence over the folder."""
    found = sets.has_set(open_artifacts(environment, cancellation), delivery, cancellation)
    if found:
        print(
            f"using this run's artifact {sanitize(delivery.artifact_name)} and not the files in the folder; "
            "to use those, name their folder in `packages-dir` (`verify`: in `package-dir`)",
            flush=True,
        )
    return found


def take(settings: Settings, folder: Path, environment: Mapping[str, str], cancellation: Cancellation) -> Manifest:
    """Download the run's sets into a folder, merged, and print what they are. Raises what `sets.take_sets` raises."""
    gathered = sets.take_sets(
        open_artifacts(environment, cancellation), resolve_delivery(settings), open_output(folder), cancellation,
        inspector(settings, cancellation),
    )  # fmt: skip
    print(gathered.describe(folder), flush=True)
    return gathered.manifest


def of_attempt_before(
    job: BuildJob, place: Path, environment: Mapping[str, str], cancellation: Cancellation
) -> Earlier | None:
    """Download into `place` the set that an earlier attempt of this workflow run has uploaded; None if there is none.

    Not beside identity tokens: other jobs of the run can upload an artifact of this name. Raises Cancelled.
    """
    attempt = environment.get("GITHUB_RUN_ATTEMPT", "")
    if attempt in {"", "1"} or job.options.fresh or job.delivery.publish == "none" or not has_service(environment):
        return None
    if grants := trust.grants_in(environment):
        say(f"note: wheels of an earlier attempt are not taken: this job can get identity tokens ({', '.join(grants)})")
        return None
    try:
        manifest = sets.take_set(open_artifacts(environment, cancellation), job.delivery, place, cancellation)
    except (DeliveryError, WheelFileError) as error:
        say(f"note: wheels of an earlier attempt cannot be taken: {error.message}")
        return None
    return Earlier(manifest=manifest, folder=place) if manifest else None


@contextmanager
def ledger_uploaded(settings: Settings, environment: Mapping[str, str], cancellation: Cancellation) -> Iterator[None]:
    """Upload the ledger that the block writes, even if it fails; a failed upload is only a warning."""
    options, delivery = resolve_publishing(settings), resolve_delivery(settings)
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
                print(sanitize(f"warning: the ledger was not uploaded as an artifact: {error.message}"), flush=True)


def artifact_name(wheels: str, repository: str) -> str:
    """Return the ledger's artifact name; one run may publish to several indexes.

    The prefix keeps a later `artifact-pattern: wheels-*` from matching it.
    """
    index = urlsplit(repository).hostname or repository
    return f"ledger-{wheels}-{re.sub(r'[^A-Za-z0-9.-]', '-', index)}"
