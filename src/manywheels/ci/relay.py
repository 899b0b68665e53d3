"""From job to job: the set that `build` uploads as an artifact, and those that `verify` and `publish` take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from manywheels.ci.artifacts import Artifacts, Uploaded
from manywheels.ci.packing import LOGS, Member
from manywheels.ci.results import find_service
from manywheels.delivery import Delivery
from manywheels.gather import Gathered, Source, gather
from manywheels.manifest import FILE_NAME, Manifest
from manywheels.output import OutputFolder
from manywheels.report.html import FILE_NAME as REPORT
from manywheels.report.text import harmless
from manywheels.retries import Patience, RealClock
from manywheels.sandbox import Cancellation
from manywheels.stages import before_all


def open_artifacts(environment: Mapping[str, str], cancellation: Cancellation) -> Artifacts:
    """Return a client of the job's artifact service. Raises ArtifactServiceMissing."""
    patience = Patience(clock=RealClock(cancellation), stopped=lambda: cancellation.requested)
    return Artifacts(service=find_service(environment), say=_say, patience=patience)


def upload_set(artifacts: Artifacts, delivery: Delivery, manifest: Manifest, folder: Path) -> Uploaded:
    """Upload the finished wheels of an output folder with manifest, logs and report. Raises DeliveryError."""
    return artifacts.upload(
        delivery.artifact_name,
        _members(manifest, folder),
        retention_days=delivery.retention_days,
        overwrite=delivery.overwrite,
    )


def _members(manifest: Manifest, folder: Path) -> Iterator[Member]:
    yield Member(name=FILE_NAME, path=folder / FILE_NAME, sha256=manifest.digest)
    for wheel in manifest.wheels:
        yield Member(name=wheel.name, path=folder / wheel.name, sha256=wheel.sha256)
    for log in dict.fromkeys(_logs(manifest)):
        if _is_regular(folder / log):
            yield Member(name=LOGS + Path(log).name, path=folder / log)
    for beside in (folder / REPORT, *folder.glob("*.tar.gz")):
        if _is_regular(beside):
            yield Member(name=beside.name, path=beside)


def _logs(manifest: Manifest) -> Iterator[str]:
    """Yield what the run wrote, relative to the output folder: the report has links to them."""
    yield f"{LOGS}{before_all.OPTION}.log"
    for record in manifest.targets:
        yield from filter(None, (record.log, record.tests.log if record.tests else None))


def _is_regular(path: Path) -> bool:
    """Whether there is a file, and no link that the repository brought along: that may lead to anything."""
    return path.is_file() and not path.is_symlink()


def take_sets(artifacts: Artifacts, delivery: Delivery, output: OutputFolder) -> Gathered:
    """Download the artifacts that are asked for, and gather their sets into a folder.

    Raises DeliveryError; SetMismatch where they are not whole or not what was built.
    """
    pattern = delivery.artifact_pattern
    found = artifacts.find(pattern=pattern) if pattern else artifacts.find(name=delivery.artifact_name)
    with tempfile.TemporaryDirectory(prefix="manywheels-") as place:
        sources = [Source(folder=Path(place, str(number)), name=artifact.name) for number, artifact in enumerate(found)]
        for source, artifact in zip(sources, found, strict=True):
            source.folder.mkdir()
            artifacts.download(artifact, source.folder)
        return gather(sources, output, digests=delivery.manifest_digests)


def _say(line: str) -> None:
    print(harmless(line), flush=True)
