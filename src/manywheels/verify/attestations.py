"""Attestations: beside each wheel lies one, it is about this very wheel, and who should have signed it did.

Everything that proves it travels with the attestation: nothing is asked over the network.
"""

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

_REMEDY: Final = "Have the job that publishes make one; if it should be right, somebody changed the wheel or the file."


@dataclass(frozen=True, kw_only=True)
class Attested:
    """The check, to be asked wheel by wheel, also from several threads; `signers` collects who signed each."""

    verifier: Verifier
    publisher: Publisher | None = None
    cancellation: Cancellation | None = None
    signers: dict[str, str] = field(default_factory=dict)

    def __call__(self, path: Path) -> tuple[Finding, ...]:
        """Return what is wrong with a wheel's attestation."""
        beside = signatures.beside(path)
        if not beside.exists():
            return (_finding(path, f"has no attestation: there is no `{beside.name}`"),)
        try:
            attestation = signatures.read_attestation(beside)
            claims = signatures.check(attestation, path.name, digest_file(path, self.cancellation), self.verifier)
            if self.publisher:
                signatures.require_signer(claims, self.publisher)
        except (Invalid, OSError) as fault:
            return (_finding(path, f"has an attestation that does not hold: {fault}"),)
        self.signers[path.name] = signatures.signer(claims)
        return ()


def attested(
    publisher: Publisher | None,
    environment: Mapping[str, str] = os.environ,
    cancellation: Cancellation | None = None,
) -> Attested:
    """Return the check for wheels that `publisher` should have signed, None for whoever.

    Raises InputError for a trust configuration that is none.
    """
    verifier = signatures.offline_verifier(environment)
    return Attested(verifier=verifier, publisher=publisher, cancellation=cancellation)


def _finding(path: Path, message: str) -> Finding:
    return ATTESTED.finding(path.name, Problem(message=message, remedy=_REMEDY))
