"""Attestations for tests, made by the libraries alone, and by nothing of ours."""

from __future__ import annotations

from pypi_attestations import Attestation, Distribution
from sigstore.models import ClientTrustConfig
from sigstore.oidc import IdentityToken
from sigstore.sign import SigningContext

from index.local import LocalIndex


def sign(index: LocalIndex, name: str, sha256: str, *, issuer: str = "github") -> str:
    """Return the attestation (JSON) of a file by the usual job of `issuer`."""
    config = ClientTrustConfig.from_json(index.trust_config.read_text("utf-8"))
    token = IdentityToken(index.identity_token(issuer, audience="sigstore"))
    with SigningContext.from_trust_config(config).signer(token) as signer:
        return Attestation.sign(signer, Distribution(name=name, digest=sha256)).model_dump_json()
