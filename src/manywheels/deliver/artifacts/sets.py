"""Sets of wheels as artifacts: uploaded by `build`, downloaded by `verify` and `publish`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import until_stopped
from manywheels.core.regular_files import is_regular
from manywheels.core.retry import RetryPolicy
from manywheels.core.text import sanitize
from manywheels.deliver.artifacts.client import Artifacts, Uploaded
from manywheels.deliver.artifacts.packing import LOG_FOLDER, ArtifactMember
from manywheels.deliver.artifacts.service import find_service
from manywheels.errors import ArtifactMissing
from manywheels.plan.delivery_options import Delivery
from manywheels.wheels.gather import Gathered, Inspect, gather
from manywheels.wheels.manifest import Manifest, read_manifest
from manywheels.wheels.output import LOGS, MANIFEST, REPORT, RUN_LOGS, OutputFolder
from manywheels.wheels.set_problems import is_sdist_of
from manywheels.wheels.sources import SetSource


def open_artifacts(environment: Mapping[str, str], cancellation: Cancellation) -> Artifacts:
    """Raises ArtifactServiceMissing."""
    retries = RetryPolicy(cancellation=cancellation)
    return Artifacts(service=find_service(environment), say=_say, retries=retries)


def upload_set(
    artifacts: Artifacts,
    delivery: Delivery,
    manifest: Manifest,
    folder: Path,
    cancellation: Cancellation,
    *,
    report: Path | None = None,
) -> Uploaded:
    """Raises DeliveryError, FileChanged and Cancelled."""

    def upload() -> Uploaded:
        return artifacts.upload(
            delivery.artifact_name,
            _members(manifest, folder, report),
            retention_days=delivery.retention_days,
            overwrite=delivery.overwrite,
        )

    return until_stopped(upload, cancellation)


def _members(manifest: Manifest, folder: Path, report: Path | None) -> Iterator[ArtifactMember]:
    yield ArtifactMember(name=MANIFEST, path=folder / MANIFEST, sha256=manifest.digest)
    for file in manifest.files:
        yield ArtifactMember(name=file.name, path=folder / file.name, sha256=file.sha256)
    for log in dict.fromkeys(_logs(manifest, folder)):
        if is_regular(folder / log):
            yield ArtifactMember(name=LOG_FOLDER + Path(log).name, path=folder / log)
    if report is not None and is_regular(report):
        yield ArtifactMember(name=REPORT, path=report)
    for sdist in sorted(folder.glob("*.tar.gz")) if not (manifest.sdist or manifest.sdist_failure) else ():
        if is_regular(sdist) and is_sdist_of(manifest, sdist.name):
            yield ArtifactMember(name=sdist.name, path=sdist)


def _logs(manifest: Manifest, folder: Path) -> Iterator[str]:
    for path in sorted(path for pattern in RUN_LOGS for path in (folder / LOGS).glob(pattern)):
        yield f"{LOGS}/{path.name}"
    for record in manifest.targets:
        yield from filter(None, (record.log, record.tests.log if record.tests else None))


def has_set(artifacts: Artifacts, delivery: Delivery, cancellation: Cancellation) -> bool:
    """Raises DeliveryError and Cancelled."""
    try:
        return bool(until_stopped(lambda: artifacts.find(name=delivery.artifact_name), cancellation))
    except ArtifactMissing:
        return False


def take_set(artifacts: Artifacts, delivery: Delivery, place: Path, cancellation: Cancellation) -> Manifest | None:
    """Download the artifact of the name that `build` uploads; return its manifest, None if there is no artifact.

    The wheels in `place`, an empty folder, are not compared with it. Raises DeliveryError, WheelFileError, Cancelled.
    """
    try:
        (artifact,) = until_stopped(lambda: artifacts.find(name=delivery.artifact_name), cancellation)
    except ArtifactMissing:
        return None
    until_stopped(lambda: artifacts.download(artifact, place), cancellation)
    return read_manifest(place)


def take_sets(
    artifacts: Artifacts, delivery: Delivery, output: OutputFolder, cancellation: Cancellation, inspect: Inspect
) -> Gathered:
    """Download the artifacts that the inputs name, and gather their sets into a folder.

    `inspect` is asked about what is in `foreign` artifacts. Raises DeliveryError, Cancelled, and SetMismatch.
    """
    # After a cancellation, a thread may still unpack here.
    with tempfile.TemporaryDirectory(prefix="manywheels-", ignore_cleanup_errors=True) as place:
        sources = until_stopped(lambda: _download(artifacts, delivery, Path(place)), cancellation)
        return gather(
            sources, output, digests=delivery.manifest_digests, allow_missing=delivery.allow_missing,
            inspect=inspect, cancellation=cancellation,
        )  # fmt: skip


def _download(artifacts: Artifacts, delivery: Delivery, place: Path) -> list[SetSource]:
    pattern, foreign = delivery.artifact_pattern, delivery.foreign
    elsewhere = {artifact.name: artifact for one in foreign for artifact in artifacts.find(pattern=one)}
    found = artifacts.find(pattern=pattern) if pattern else artifacts.find(name=delivery.artifact_name)
    taken = [*(artifact for artifact in found if artifact.name not in elsewhere), *elsewhere.values()]
    sources = [
        SetSource(folder=place / str(number), name=artifact.name, foreign=artifact.name in elsewhere)
        for number, artifact in enumerate(taken)
    ]
    for source, artifact in zip(sources, taken, strict=True):
        source.folder.mkdir()
        artifacts.download(artifact, source.folder)
    return sources


def _say(line: str) -> None:
    print(sanitize(line), flush=True)
