"""Sigstore: which instance is trusted, and how an attestation is verified offline.

An attestation (PEP 740) contains the certificate, which binds its key to a CI job's identity for minutes, and a public
log's proof of when it was signed, so the roots in the library `sigstore` suffice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.regular_files import open_regular
from manywheels.errors import InputError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from pypi_attestations import Attestation
    from sigstore.models import ClientTrustConfig
    from sigstore.verify import Verifier

SUFFIX: Final = ".publish.attestation"
TRUST_CONFIG: Final = "MANYWHEELS_TRUST_CONFIG"
_LARGEST: Final = 1 << 20  # bytes; they have about five thousand
# A certificate's claims, by Fulcio's object identifiers.
_ISSUER: Final = "1.3.6.1.4.1.57264.1.8"
_REPOSITORY: Final = "1.3.6.1.4.1.57264.1.12"
_DIGEST: Final = "1.3.6.1.4.1.57264.1.13"
_REF: Final = "1.3.6.1.4.1.57264.1.14"
_CONFIGURATION: Final = "1.3.6.1.4.1.57264.1.18"


class Invalid(Exception):
    """An attestation is invalid; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """The expected signer: a workflow or pipeline file of a repository on `github` or `gitlab`."""

    forge: str
    repository: str
    workflow: str

    @property
    def host(self) -> str:
        return f"https://{self.forge}.com"

    @property
    def issuer(self) -> str:
        """The issuer of its jobs' identity tokens."""
        return "https://token.actions.githubusercontent.com" if self.forge == "github" else self.host

    @property
    def configuration(self) -> str:
        """The URL of its workflow or pipeline file, up to the `@` before the ref."""
        folder = "/.github/workflows/" if self.forge == "github" else "//"
        return f"{self.host}/{self.repository}{folder}{self.workflow}"


def parse_publisher(text: str) -> Publisher:
    """Return the publisher of `github:OWNER/REPOSITORY:WORKFLOW` or `gitlab:GROUP/PROJECT:FILE`. Raises InputError."""
    forge, _, rest = text.partition(":")
    repository, _, workflow = rest.partition(":")
    if forge not in {"github", "gitlab"} or "/" not in repository or not workflow:
        raise InputError(
            f"--publisher: `{text}` is not a publisher.",
            remedy="Write it as `github:octo/spam:release.yml` or `gitlab:group/spam:.gitlab-ci.yml`.",
        )
    return Publisher(forge=forge, repository=repository, workflow=workflow)


def load_trust(environment: Mapping[str, str] = os.environ, *, offline: bool) -> ClientTrustConfig:
    """Return the trust configuration of MANYWHEELS_TRUST_CONFIG (a JSON file), or Sigstore's public instance.

    Unless `offline`, the public roots are updated. Raises InputError for an invalid file; sigstore's errors and OSError
    if the roots cannot be fetched.
    """
    import logging

    from sigstore.models import ClientTrustConfig

    logging.getLogger("sigstore").setLevel(logging.ERROR)  # its warnings are intended here
    named = environment.get(TRUST_CONFIG)
    if not named:
        return ClientTrustConfig.production(offline=offline)
    try:
        return ClientTrustConfig.from_json(Path(named).read_text("utf-8"))
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{TRUST_CONFIG}: `{named}` is not a client trust configuration of Sigstore: {fault}.",
            remedy="Name the JSON file from the instance's operator, or unset the variable.",
        ) from None


def offline_verifier(environment: Mapping[str, str] = os.environ) -> Verifier:
    """Raises InputError."""
    from sigstore.verify import Verifier

    return Verifier(trusted_root=load_trust(environment, offline=True).trusted_root)


def beside(file: Path) -> Path:
    """Return the path of a file's attestation."""
    return file.with_name(file.name + SUFFIX)


def read_attestation(path: Path) -> Attestation:
    """Raises Invalid."""
    from pydantic import ValidationError
    from pypi_attestations import Attestation

    try:
        with open_regular(path) as file:
            text = file.read(_LARGEST + 1)
    except OSError as fault:
        raise Invalid(f"`{path.name}` cannot be read: {fault.strerror}") from None
    if len(text) > _LARGEST:
        raise Invalid(f"`{path.name}` is larger than an attestation can be")
    try:
        return Attestation.model_validate_json(text)
    except ValidationError as fault:
        first = fault.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise Invalid(f"`{path.name}` is not an attestation: {place}: {first['msg']}") from None


def check(attestation: Attestation, name: str, sha256: str, verifier: Verifier) -> Mapping[str, str]:
    """Verify that an attestation is about a file's name and content, and signed; return its signer's claims.

    Follows PEP 740's "Attestation verification"; the digest comes first, as the most common fault. Raises Invalid.
    """
    from pypi_attestations import AttestationError
    from sigstore.errors import Error as SigstoreError

    _require_subject(attestation.envelope.statement, name, sha256)
    try:
        verifier.verify_dsse(attestation.to_bundle(), _AnySigner())
    except (SigstoreError, AttestationError, ValueError) as fault:
        raise Invalid(f"its signature is invalid: {fault}") from None
    return attestation.certificate_claims


def require_signer(claims: Mapping[str, str], publisher: Publisher) -> None:
    """Compare a certificate's claims with the publisher, as the index does. Raises Invalid."""
    refs = {ref for ref in (claims.get(_REF), claims.get(_DIGEST)) if ref}
    expected = {f"{publisher.configuration}@{ref}" for ref in refs}
    if (
        claims.get(_ISSUER) != publisher.issuer
        or claims.get(_REPOSITORY) != f"{publisher.host}/{publisher.repository}"
        or claims.get(_CONFIGURATION) not in expected
    ):
        raise Invalid(f"it was signed by {signer(claims)}, not by {publisher.configuration}")


def signer(claims: Mapping[str, str]) -> str:
    """Return the signer for messages."""
    return claims.get(_CONFIGURATION) or f"a job that {claims.get(_ISSUER, 'an unknown issuer')} vouches for"


class _AnySigner:
    """Accepts any signer: `require_signer` checks the signer afterwards."""

    def verify(self, cert: Certificate) -> None:
        """Accept the certificate."""


def _require_subject(statement: bytes, name: str, sha256: str) -> None:
    from pypi_attestations import AttestationType

    try:
        statement_fields = json.loads(statement)
    except ValueError:
        raise Invalid("its statement is not JSON") from None
    match statement_fields:
        case {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": str(subject), "digest": {"sha256": str(digest)}}],
            "predicateType": str(kind),
        }:
            pass
        case _:
            raise Invalid("its statement is not about one file")
    if kind not in {known.value for known in AttestationType}:
        raise Invalid(f"no index accepts its type: {kind}")
    if _parsed(subject) != _parsed(name):
        raise Invalid(f"it is about another file, {subject}")
    if digest != sha256:
        raise Invalid(f"it is about other content, with the sha256 {digest}; this file's is {sha256}")


def _parsed(name: str) -> object:
    """Parse a file name, so that the order of compressed tags does not matter."""
    from packaging.utils import parse_sdist_filename, parse_wheel_filename

    try:
        return parse_wheel_filename(name) if name.endswith(".whl") else parse_sdist_filename(name)
    except ValueError:
        return name
