"""The check that the expected publisher signed each wheel's attestation, which needs no network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.verify import signatures
from manywheels.verify.checks import ATTESTED
from manywheels.verify.model import Finding, Problem
from manywheels.verify.signatures import Invalid, Publisher

if TYPE_CHECKING:
    from sigstore.verify import Verifier

_REMEDY: Final = "Have the publishing job make one; if it did, the wheel or the attestation was changed afterwards."


@dataclass(frozen=True, kw_only=True)
class Attested:
    """The check, called from several threads; `signers` collects each wheel's signer."""

    verifier: Verifier
    publisher: Publisher | None = None
    cancellation: Cancellation | None = None
    signers: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: Path) -> tuple[Finding, ...]:
        """Raises Cancelled."""
        beside = signatures.beside(path)
        if not beside.exists():
            return (_finding(path, f"has no attestation: there is no `{beside.name}`"),)
        try:
            attestation = signatures.read_attestation(beside)
            claims = signatures.check(attestation, path.name, digest_file(path, self.cancellation), self.verifier)
            if self.publisher:
                signatures.require_signer(claims, self.publisher)
        except (Invalid, OSError) as fault:
            return (_finding(path, f"has an invalid attestation: {fault}"),)
        self.signers[path.name] = signatures.signer(claims)
        return ()


def attested(
    publisher: Publisher | None,
    environment: Mapping[str, str] = os.environ,
    cancellation: Cancellation | None = None,
) -> Attested:
    """If `publisher` is None, any signer is accepted.

    Raises InputError for an invalid trust configuration.
    """
    verifier = signatures.offline_verifier(environment)
    return Attested(verifier=verifier, publisher=publisher, cancellation=cancellation)


def _finding(path: Path, message: str) -> Finding:
    return ATTESTED.finding(path.name, Problem(message=message, remedy=_REMEDY))
