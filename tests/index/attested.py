"""Attestations as the index takes them (PEP 740): well formed, about this very file, and signed by its publisher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pypi_attestations
from pydantic import TypeAdapter, ValidationError
from pypi_attestations import Attestation, AttestationBundle, AttestationType, Provenance
from sigstore.errors import Error as SigstoreError
from sigstore.verify import Verifier

from index.minting import GitHubPublisher, GitLabPublisher, Publisher

_MOST = 2  # one of each type


def read_attestations(
    text: str, filename: str, sha256: str, publisher: Publisher, *, verifier: Verifier | None
) -> Mapping[str, Any]:
    """Return the provenance object of a file whose form had `text` for `attestations`. Raises ValueError."""
    try:
        attestations = TypeAdapter(list[Attestation]).validate_json(text)
    except ValidationError as problem:
        raise ValueError(f"Malformed attestations: {problem}") from None
    if not attestations:
        raise ValueError("Malformed attestations: an empty attestation set is not permitted")
    if len(attestations) > _MOST:
        raise ValueError(f"A maximum of {_MOST} attestations per file are supported")
    identity = identity_of(publisher)
    types = [_verify(attestation, filename, sha256, identity, verifier) for attestation in attestations]
    if len(set(types)) < len(types):
        raise ValueError("Multiple attestations for the same file with the same predicate type are not supported")
    bundle = AttestationBundle(publisher=identity, attestations=attestations)
    provenance: dict[str, Any] = Provenance(attestation_bundles=[bundle]).model_dump(mode="json")
    return provenance


def identity_of(publisher: Publisher) -> pypi_attestations.GitHubPublisher | pypi_attestations.GitLabPublisher:
    """Return whom an attestation must come from that is uploaded by `publisher`."""
    environment = publisher.environment or None
    match publisher:
        case GitHubPublisher():
            return pypi_attestations.GitHubPublisher(
                repository=publisher.repository, workflow=publisher.workflow, environment=environment
            )
        case GitLabPublisher():
            return pypi_attestations.GitLabPublisher(
                repository=publisher.project_path, workflow_filepath=publisher.workflow, environment=environment
            )


def _verify(
    attestation: Attestation,
    filename: str,
    sha256: str,
    identity: pypi_attestations.Publisher,
    verifier: Verifier | None,
) -> AttestationType:
    if verifier:
        try:
            verifier.verify_dsse(attestation.to_bundle(), identity._as_policy())
        except (SigstoreError, pypi_attestations.AttestationError) as problem:
            raise ValueError(
                f"Could not verify the uploaded artifact using the included attestation: {problem}"
            ) from None
    statement = attestation.statement
    match statement.get("subject"):
        case [{"name": str(name), "digest": {"sha256": str(digest)}}]:
            pass
        case _:
            raise ValueError("too many subjects in statement (must be exactly one)")
    if name != filename:
        raise ValueError(f"subject does not match distribution name: {name} != {filename}")
    if digest != sha256:
        raise ValueError("subject does not match distribution digest")
    return AttestationType(statement["predicateType"])
