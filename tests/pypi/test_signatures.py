"""What the real Sigstore signed for other projects, as the tests of `pypi_attestations` have it, checked offline."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pypi_attestations
import pytest

from containers.pypi_projects import fetch_source
from manywheels.verify import signatures

pytestmark = pytest.mark.xdist_group("signatures")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The signed files in the tests of `pypi_attestations`, as its source distribution of this version has them."""
    folder = tmp_path_factory.mktemp("recorded")
    return fetch_source(f"pypi-attestations=={pypi_attestations.__version__}", folder) / "test" / "assets"


REAL = {
    "pypi_attestations-0.0.19.tar.gz": "github:trailofbits/pypi-attestations:release.yml",
    "gitlab_oidc_project-0.0.3.tar.gz": "gitlab:facutuesca/gitlab-oidc-project:.gitlab-ci.yml",
}


@pytest.mark.parametrize("name", REAL)
def test_what_sigstore_signed_is_believed(recorded: Path, name: str) -> None:
    attestation = signatures.read_attestation(recorded / f"{name}.publish.attestation")
    digest = hashlib.sha256((recorded / name).read_bytes()).hexdigest()
    verifier = signatures.offline_verifier({})

    claims = signatures.check(attestation, name, digest, verifier)
    signatures.require_signer(claims, signatures.parse_publisher(REAL[name]))

    with pytest.raises(signatures.Invalid, match=r"not by https://github\.com/octo/spam/"):
        signatures.require_signer(claims, signatures.parse_publisher("github:octo/spam:release.yml"))
    with pytest.raises(signatures.Invalid, match="other content"):
        signatures.check(attestation, name, "0" * 64, verifier)
    with pytest.raises(signatures.Invalid, match="another file"):
        signatures.check(attestation, "spam-1.0.tar.gz", digest, verifier)


def test_what_sigstores_staging_signed_is_not(recorded: Path) -> None:
    name = "rfc8785-0.1.2-py3-none-any.whl"
    attestation = signatures.read_attestation(recorded / f"{name}.publish.attestation")
    digest = hashlib.sha256((recorded / name).read_bytes()).hexdigest()

    with pytest.raises(signatures.Invalid, match="signature is invalid"):
        signatures.check(attestation, name, digest, signatures.offline_verifier({}))
