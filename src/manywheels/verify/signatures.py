"""Sigstore, as this program uses it: whom it trusts and asks, and how an attestation is checked without asking anybody.

An attestation (PEP 740) is an in-toto statement about one file, signed with a key that lives for minutes; a certificate
binds the key to a CI job's identity, and a public log shows that it was valid when it signed. All of that travels with
the attestation, so it can be checked offline against the roots that the library `sigstore` brings along.
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
_LARGEST: Final = 1 << 20  # bytes; one has five thousand
# Claims of a certificate, by Fulcio's object identifiers.
_ISSUER: Final = "1.3.6.1.4.1.57264.1.8"
_REPOSITORY: Final = "1.3.6.1.4.1.57264.1.12"
_DIGEST: Final = "1.3.6.1.4.1.57264.1.13"
_REF: Final = "1.3.6.1.4.1.57264.1.14"
_CONFIGURATION: Final = "1.3.6.1.4.1.57264.1.18"


class Invalid(Exception):
    """An attestation proves nothing; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Who is expected to have signed: a workflow or pipeline file of a repository on `github` or `gitlab`."""

    forge: str
    repository: str
    workflow: str

    @property
    def host(self) -> str:
        """The forge's address."""
        return f"https://{self.forge}.com"

    @property
    def issuer(self) -> str:
        """Who issues the identity tokens of its jobs."""
        return "https://token.actions.githubusercontent.com" if self.forge == "github" else self.host

    @property
    def configuration(self) -> str:
        """The address of its workflow or pipeline file, up to the `@` before the ref."""
        folder = "/.github/workflows/" if self.forge == "github" else "//"
        return f"{self.host}/{self.repository}{folder}{self.workflow}"


def parse_publisher(text: str) -> Publisher:
    """Return the publisher of `github:OWNER/REPOSITORY:WORKFLOW` or `gitlab:GROUP/PROJECT:FILE`. Raises InputError."""
    forge, _, rest = text.partition(":")
    repository, _, workflow = rest.partition(":")
    if forge not in {"github", "gitlab"} or "/" not in repository or not workflow:
        raise InputError(
            f"--publisher: `{text}` names no publisher.",
            remedy="Write it as `github:octo/spam:release.yml` or `gitlab:group/spam:.gitlab-ci.yml`.",
        )
    return Publisher(forge=forge, repository=repository, workflow=workflow)


def load_trust(environment: Mapping[str, str] = os.environ, *, offline: bool) -> ClientTrustConfig:
    """Return whom to trust, and whom to ask for certificates: Sigstore's public instance.

    The variable MANYWHEELS_TRUST_CONFIG may name the client trust configuration (a JSON file) of another one. Without
    `offline`, the public instance is asked whether its roots have changed. Raises InputError for a file that is none;
    sigstore's errors, and OSError, where the public instance's roots cannot be had.
    """
    import logging

    from sigstore.models import ClientTrustConfig

    logging.getLogger("sigstore").setLevel(logging.ERROR)  # it warns of what is meant here
    named = environment.get(TRUST_CONFIG)
    if not named:
        return ClientTrustConfig.production(offline=offline)
    try:
        return ClientTrustConfig.from_json(Path(named).read_text("utf-8"))
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{TRUST_CONFIG}: `{named}` is no client trust configuration of Sigstore: {fault}.",
            remedy="Name the JSON file that the instance's operator gives out, or unset the variable.",
        ) from None


def offline_verifier(environment: Mapping[str, str] = os.environ) -> Verifier:
    """Return what checks signatures without asking anybody. Raises InputError as `load_trust` does."""
    from sigstore.verify import Verifier

    return Verifier(trusted_root=load_trust(environment, offline=True).trusted_root)


def beside(file: Path) -> Path:
    """Return where a file's attestation lies."""
    return file.with_name(file.name + SUFFIX)


def read_attestation(path: Path) -> Attestation:
    """Return the attestation that a file holds. Raises Invalid."""
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
        raise Invalid(f"`{path.name}` is no attestation: {place}: {first['msg']}") from None


def check(attestation: Attestation, name: str, sha256: str, verifier: Verifier) -> Mapping[str, str]:
    """Check that an attestation is about the file of that name and content, and signed; return its signer's claims.

    Follows PEP 740's "Attestation verification"; the file's digest is compared first, because that is what people
    get wrong. Raises Invalid.
    """
    from pypi_attestations import AttestationError
    from sigstore.errors import Error as SigstoreError

    _require_subject(attestation.envelope.statement, name, sha256)
    try:
        verifier.verify_dsse(attestation.to_bundle(), _AnySigner())
    except (SigstoreError, AttestationError, ValueError) as fault:
        raise Invalid(f"its signature proves nothing: {fault}") from None
    return attestation.certificate_claims


def require_signer(claims: Mapping[str, str], publisher: Publisher) -> None:
    """Compare a certificate's claims with who should have signed, as the index does. Raises Invalid."""
    refs = {ref for ref in (claims.get(_REF), claims.get(_DIGEST)) if ref}
    expected = {f"{publisher.configuration}@{ref}" for ref in refs}
    if (
        claims.get(_ISSUER) != publisher.issuer
        or claims.get(_REPOSITORY) != f"{publisher.host}/{publisher.repository}"
        or claims.get(_CONFIGURATION) not in expected
    ):
        raise Invalid(f"it was signed by {signer(claims)}, not by {publisher.configuration}")


def signer(claims: Mapping[str, str]) -> str:
    """Return who signed, for people."""
    return claims.get(_CONFIGURATION) or f"a job that {claims.get(_ISSUER, 'an unknown issuer')} vouches for"


class _AnySigner:
    """A policy for certificates that takes all that chain to the root: who signed is looked at after that."""

    def verify(self, cert: Certificate) -> None:
        """Take it."""


def _require_subject(statement: bytes, name: str, sha256: str) -> None:
    from pypi_attestations import AttestationType

    try:
        statement_fields = json.loads(statement)
    except ValueError:
        raise Invalid("its statement is no JSON") from None
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
        raise Invalid(f"its type is none that an index takes: {kind}")
    if _parsed(subject) != _parsed(name):
        raise Invalid(f"it is about another file, {subject}")
    if digest != sha256:
        raise Invalid(f"it is about other content, with the sha256 {digest}; this file's is {sha256}")


def _parsed(name: str) -> object:
    """Return what a distribution's name says, so that compressed tag sets of another order are the same."""
    from packaging.utils import parse_sdist_filename, parse_wheel_filename

    try:
        return parse_wheel_filename(name) if name.endswith(".whl") else parse_sdist_filename(name)
    except ValueError:
        return name
