"""A stand-in for Sigstore's certificate authority: certificates for identity tokens, with a real embedded SCT.

Its certificates have the form of Fulcio's (sigstore/fulcio, docs/oid-info.md, docs/certificate-specification.md), and
sigstore's own client checks them. The jobs of this index's issuers count as those of github.com and gitlab.com, because
clients know the names of these issuers by heart.
"""

from __future__ import annotations

import base64
import hashlib
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from index.issuer import Claims
from index.tls import key_usage, make_root

_CLAIMS = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1")
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_OCTET_STRING, _UTF8_STRING = 0x04, 0x0C
_LIFETIME = timedelta(minutes=10)


def public_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a key's SubjectPublicKeyInfo."""
    return key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return what logs call a key by."""
    return hashlib.sha256(public_der(key)).digest()


def sign(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Sign as all parts of Sigstore do here: ECDSA over P-256 and SHA-256."""
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


@dataclass(frozen=True, kw_only=True)
class Authority:
    """The root that issues certificates, and the log of certificates that promises to list them."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    log_key: ec.EllipticCurvePrivateKey

    def issue(self, request: bytes, claims: Claims) -> list[str]:
        """Return the chain for a signing request (PEM), leaf first, as PEM."""
        public = x509.load_pem_x509_csr(request).public_key()
        assert isinstance(public, ec.EllipticCurvePublicKey)
        builder = _leaf(public, self.certificate, claims)
        # The log signs the certificate without its list of SCTs; which SCT stands in the first one does not matter.
        unsigned = builder.add_extension(_sct_list(b""), critical=False).sign(self.key, hashes.SHA256())
        promised = _sct_list(self._sct(unsigned.tbs_precertificate_bytes))
        leaf = builder.add_extension(promised, critical=False).sign(self.key, hashes.SHA256())
        pem = serialization.Encoding.PEM
        return [certificate.public_bytes(pem).decode() for certificate in (leaf, self.certificate)]

    def _sct(self, precertificate: bytes) -> bytes:
        """Return a signed certificate timestamp (RFC 6962, section 3.2)."""
        milliseconds = int(time.time() * 1000)
        entry = key_id(self.key) + len(precertificate).to_bytes(3, "big") + precertificate
        signed = sign(self.log_key, struct.pack("!BBQH", 0, 0, milliseconds, 1) + entry + struct.pack("!H", 0))
        sha256_with_ecdsa = b"\x04\x03"
        head = struct.pack("!B32sQH", 0, key_id(self.log_key), milliseconds, 0)
        return head + sha256_with_ecdsa + struct.pack("!H", len(signed)) + signed


@cache  # one for each process: its keys are secrets of nobody
def authority() -> Authority:
    """Return the authority of this process."""
    key, log_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = [(NameOID.ORGANIZATION_NAME, "manywheels tests"), (NameOID.COMMON_NAME, "signing authority")]
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in names])
    return Authority(key=key, certificate=make_root(name, key), log_key=log_key)


def _leaf(public: ec.EllipticCurvePublicKey, issuer: x509.Certificate, claims: Claims) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    identity, said = _identity(claims)
    issuer_key = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    known_by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(issuer.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(known_by, critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
    )
    for number, value in said.items():
        oid = x509.ObjectIdentifier(f"{_CLAIMS.dotted_string}.{number}")
        builder = builder.add_extension(
            x509.UnrecognizedExtension(oid, _der(_UTF8_STRING, value.encode())), critical=False
        )
    return builder


def _identity(claims: Claims) -> tuple[str, Mapping[int, str]]:
    """Return whom a certificate names, and its claims by the last part of their object identifiers."""
    if "job_workflow_ref" in claims:
        host = "https://github.com"
        signer = f"{host}/{claims['job_workflow_ref']}"
        return signer, {
            8: "https://token.actions.githubusercontent.com", 9: signer, 12: f"{host}/{claims['repository']}",
            13: claims["sha"], 14: claims["ref"], 18: f"{host}/{claims['workflow_ref']}", 20: claims["event_name"],
        }  # fmt: skip
    host = "https://gitlab.com"
    pipeline = f"{host}/{claims['project_path']}//{claims['ci_config_ref_uri'].rpartition('//')[2]}"
    return pipeline, {
        8: host, 9: pipeline, 12: f"{host}/{claims['project_path']}", 13: claims["sha"], 14: claims["ref_path"],
        18: pipeline,
    }  # fmt: skip


def _sct_list(sct: bytes) -> x509.UnrecognizedExtension:
    """Return the extension with the list of one SCT (RFC 6962, section 3.3)."""
    entry = struct.pack("!H", len(sct)) + sct
    return x509.UnrecognizedExtension(_SCT_LIST, _der(_OCTET_STRING, struct.pack("!H", len(entry)) + entry))


def _der(tag: int, content: bytes) -> bytes:
    """Return a value in DER."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def read_request(body: Mapping[str, str]) -> bytes:
    """Return the signing request (PEM) of a call of `/api/v2/signingCert`."""
    return base64.b64decode(body["certificateSigningRequest"])
