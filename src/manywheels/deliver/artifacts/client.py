"""GitHub's artifact service, version 4: upload, list and download artifacts of this workflow run.

As actions/toolkit's client (packages/artifact); the zip is an Azure block blob at a signed address. Uploads are read
back, to find damage while the wheels are still here.
"""

from __future__ import annotations

import fnmatch
import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Final

from manywheels.core.retry import RetryPolicy
from manywheels.core.text import size as format_size
from manywheels.deliver.artifacts.packing import ArtifactMember, pack, unpack
from manywheels.deliver.artifacts.service import Calls, Service, backend_ids
from manywheels.deliver.results_service import text_of
from manywheels.errors import ArtifactDamaged, ArtifactDiffers, ArtifactExists, ArtifactMissing

_VERSION: Final = 4
_LARGEST: Final = 10 << 30  # bytes of a download
_STEPS: Final = 4  # progress lines of an upload


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A finished artifact; `sha256` (hex) is the service's, if any."""

    name: str
    number: str
    sha256: str | None
    run: str
    job: str


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """An artifact that was read back: `size` in bytes, `sha256` of the zip in hex."""

    number: str
    url: str
    sha256: str
    size: int


@dataclass(kw_only=True)
class Artifacts:
    """A client of the service; `say` prints lines on progress and retries."""

    service: Service
    say: Callable[[str], None]
    retries: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        ids = backend_ids(self.service.run, self.service.job)
        self._calls = Calls(server=self.service.server, ids=ids, say=self.say, retries=self.retries)

    def upload(
        self, name: str, members: Iterable[ArtifactMember], *, retention_days: int = 0, overwrite: bool
    ) -> Uploaded:
        """Upload files as one artifact, and read it back; `retention_days` 0 is the repository's setting.

        Raises DeliveryError (ArtifactExists, ArtifactDiffers, ArtifactServiceDown and others) and FileChanged.
        """
        with tempfile.TemporaryFile() as file:
            pack(members, file)
            size = file.tell()
            file.seek(0)
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            address = self._create(name, retention_days, overwrite=overwrite)
            self._send(name, address, file, size)
        number = self._finalize(name, size, sha256)
        self._verify_upload(name, sha256)
        url = f"{self.service.page}/artifacts/{number}" if self.service.page else ""
        self.say(f"artifact {name}: {format_size(size)} uploaded and read back, sha256 {sha256}")
        return Uploaded(number=number, url=url, sha256=sha256, size=size)

    def find(self, *, name: str = "", pattern: str = "") -> tuple[Artifact, ...]:
        """Return the artifacts of a name or an `fnmatch` pattern, sorted; of each name, only the newest.

        Raises ArtifactMissing if there are none.
        """
        everything = self._list()
        found = {
            artifact.name: artifact
            for artifact in sorted(everything, key=lambda artifact: int(artifact.number))
            if artifact.name == name or (pattern and fnmatch.fnmatchcase(artifact.name, pattern))
        }
        if not found:
            wanted = f"an artifact `{name}`" if name else f"an artifact that `{pattern}` matches"
            others = ", ".join(f"`{other}`" for other in sorted({artifact.name for artifact in everything}))
            raise ArtifactMissing(
                f"This run does not have {wanted}; it has {others or 'none'}.",
                remedy="List the building jobs in `needs`, and their artifacts in `artifact-name` or `-pattern`.",
            )
        return tuple(found[name] for name in sorted(found))

    def download(self, artifact: Artifact, folder: Path) -> None:
        """Download into an empty folder, and check the service's digest, if any.

        Raises DeliveryError (ArtifactDiffers, ArtifactDamaged and others) and Cancelled.
        """
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            sha256 = self._receive(artifact, file)
            if artifact.sha256 not in {None, sha256}:
                raise _differs(artifact.name, f"its bytes have the sha256 {sha256}, the service has {artifact.sha256}")
            file.flush()
            unpack(Path(file.name), folder, artifact.name, self._stop)
        self.say(f"artifact {artifact.name}: downloaded, sha256 {sha256}")

    def _stop(self) -> None:
        self.retries.cancellation.stop_if_requested("The download")

    # --- uploading ----------------------------------------------------------------------------------------------------

    def _create(self, name: str, retention_days: int, *, overwrite: bool) -> str:
        request: dict[str, object] = {"name": name, "version": _VERSION}
        if retention_days:
            until = datetime.now(UTC) + timedelta(days=retention_days)
            request["expires_at"] = until.strftime("%Y-%m-%dT%H:%M:%SZ")
        before = self._calls.failures
        try:
            response = self._calls.call("CreateArtifact", request)
        except ArtifactExists:
            # Ours if the first response was lost; then it is not finished.
            is_ours = self._calls.failures > before and all(other.name != name for other in self._list())
            if not overwrite and not is_ours:
                raise
            with suppress(ArtifactMissing):  # the first response was lost
                self._calls.call("DeleteArtifact", {"name": name})
            self.say(f"artifact {name}: the existing one is deleted")
            response = self._calls.call("CreateArtifact", request)
        return self._calls.address_of(response, "signed_upload_url")

    def _send(self, name: str, address: str, file: IO[bytes], size: int) -> None:
        reported = 0

        def report(sent: int) -> None:
            nonlocal reported
            if sent * _STEPS // size > reported:
                reported = sent * _STEPS // size
                self.say(f"artifact {name}: {format_size(sent)} of {format_size(size)} sent")

        self._calls.send(address, file, "application/zip", report)

    def _finalize(self, name: str, size: int, sha256: str) -> str:
        """Return the artifact's number, even if an earlier response was lost."""
        try:
            response = self._calls.call(
                "FinalizeArtifact", {"name": name, "size": str(size), "hash": f"sha256:{sha256}"}
            )
        except (ArtifactExists, ArtifactMissing):
            return self.find(name=name)[0].number
        return text_of(response, "artifact_id")

    def _verify_upload(self, name: str, sha256: str) -> None:
        kept = self.find(name=name)[0]
        if kept.sha256 not in {None, sha256}:
            raise _differs(name, f"its sha256 is {sha256}, the service has {kept.sha256}")
        found = self._receive(kept)
        if found != sha256:
            raise _differs(name, f"the sha256 of what was sent is {sha256}, of what was read back {found}")

    # --- downloading --------------------------------------------------------------------------------------------------

    def _list(self) -> list[Artifact]:
        response = self._calls.call("ListArtifacts", {})
        return [_parse_artifact(entry) for entry in response.get("artifacts") or ()]

    def _receive(self, artifact: Artifact, file: IO[bytes] | None = None) -> str:
        ids = backend_ids(artifact.run, artifact.job)
        response = self._calls.call("GetSignedArtifactURL", {"name": artifact.name, **ids})
        address = self._calls.address_of(response, "signed_url")

        def receive() -> str:
            if file:
                file.seek(0)
                file.truncate()
            digest, size = hashlib.sha256(), 0
            with self._calls.receive(address) as (_, pieces):
                for piece in pieces:
                    digest.update(piece)
                    size += len(piece)
                    if size > _LARGEST:
                        raise _too_large(artifact.name)
                    if file:
                        file.write(piece)
            return digest.hexdigest()

        return self._calls.persist(receive)


def _parse_artifact(entry: Mapping[str, Any]) -> Artifact:
    # A StringValue is text in ProtoJSON, and an object in hand-made JSON.
    digest = entry.get("digest")
    digest = digest.get("value") if isinstance(digest, dict) else digest
    return Artifact(
        name=text_of(entry, "name"),
        number=text_of(entry, "database_id"),
        sha256=str(digest).removeprefix("sha256:") if digest else None,
        run=text_of(entry, "workflow_run_backend_id"),
        job=text_of(entry, "workflow_job_run_backend_id"),
    )


def _differs(name: str, what: str) -> ArtifactDiffers:
    return ArtifactDiffers(
        f"The artifact `{name}` is not what was uploaded: {what}.",
        remedy="Do not use it. Run the job that uploads it again, with `overwrite: true`.",
    )


def _too_large(name: str) -> ArtifactDamaged:
    return ArtifactDamaged(
        f"The artifact `{name}` is larger than {format_size(_LARGEST)}.",
        remedy="Split it into several, and select them with `artifact-pattern`.",
    )
