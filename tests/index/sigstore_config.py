"""Whom clients of Sigstore are to trust and to ask, when they work with the stand-ins of this index."""

from __future__ import annotations

import base64
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from index.fulcio import Authority, key_id, public_der
from index.rekor import Log

_VALID = {"start": "2020-01-01T00:00:00Z"}


def trust_config(url: str, authority: Authority, log: Log) -> str:
    """Return a client trust configuration (JSON) for services at `url`."""
    service = {"url": url, "majorApiVersion": 1, "validFor": _VALID, "operator": "tests"}
    root = base64.b64encode(authority.certificate.public_bytes(Encoding.DER)).decode()
    trusted = {
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "tlogs": [_log(url, log.key)],
        "ctlogs": [_log(url, authority.log_key)],
        "timestampAuthorities": [],
        "certificateAuthorities": [
            {
                "subject": {"organization": "tests", "commonName": "signing authority"},
                "uri": url,
                "certChain": {"certificates": [{"rawBytes": root}]},
                "validFor": _VALID,
            }
        ],
    }
    signing = {
        "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
        "caUrls": [service],
        "oidcUrls": [service],
        "rekorTlogUrls": [service],
        "tsaUrls": [],
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaConfig": {"selector": "ANY"},
    }
    kind = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
    return json.dumps({"mediaType": kind, "trustedRoot": trusted, "signingConfig": signing})


def _log(url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    public = {
        "rawBytes": base64.b64encode(public_der(key)).decode(),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": _VALID,
    }
    identifier = {"keyId": base64.b64encode(key_id(key)).decode()}
    return {"baseUrl": url, "hashAlgorithm": "SHA2_256", "publicKey": public, "logId": identifier}
