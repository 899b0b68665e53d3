"""Attestations are checked offline. These are from the local Sigstore; tests/pypi has those of the real one."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus.makers import wheel as honest_wheel
from index import LocalIndex
from index.signing import sign
from manywheels.errors import InputError
from manywheels.verify import signatures
from manywheels.verify.attestations import attested
from publish.program import clean_environment, run_here
from unit.helpers import write_wheel


def verify(home: Path, *arguments: str | Path, trust: Path | None = None) -> tuple[int, str]:
    """Run `manywheels verify` in an empty home; return its status and what it said."""
    trusted = {signatures.TRUST_CONFIG: str(trust)} if trust else {}
    environment = clean_environment(HOME=str(home), **trusted)
    status, out, err = run_here(["verify", *map(str, arguments)], environment, home)
    return status, out + err


def attested_wheel(index: LocalIndex, folder: Path, issuer: str = "github") -> Path:
    wheel = honest_wheel()(folder)
    text = sign(index, wheel.name, hashlib.sha256(wheel.read_bytes()).hexdigest(), issuer=issuer)
    wheel.with_name(wheel.name + ".publish.attestation").write_text(text)
    return wheel


@pytest.mark.parametrize(
    ("issuer", "publisher"),
    [("github", "github:octo/demo:release.yml"), ("gitlab", "gitlab:octo/demo:.gitlab-ci.yml"), ("github", "")],
)
def test_the_command_line_checks_attestations(index: LocalIndex, tmp_path: Path, issuer: str, publisher: str) -> None:
    wheel = attested_wheel(index, tmp_path, issuer)
    trust = tmp_path / "trust.json"
    shutil.copy(index.trust_config, trust)
    index.forget()

    options = ["--publisher", publisher] if publisher else []
    status, said = verify(tmp_path, "--attestations", *options, wheel, trust=trust)

    assert status == 0, said
    assert f"{wheel.name} was signed by https://{issuer}.com/octo/demo" in said
    assert not index.requests


@pytest.mark.parametrize(
    ("publisher", "named"),
    [
        ("github:octo/other:release.yml", "github.com/octo/other/.github/workflows/release.yml"),
        ("github:octo/demo:elsewhere.yml", "elsewhere.yml"),
        ("github:octo/demo:release.y", "release.y"),
        ("gitlab:octo/demo:.gitlab-ci.yml", "gitlab.com/octo/demo//.gitlab-ci.yml"),
    ],
)
def test_another_publisher_is_rejected(index: LocalIndex, tmp_path: Path, publisher: str, named: str) -> None:
    trust = {signatures.TRUST_CONFIG: str(index.trust_config)}
    check = attested(signatures.parse_publisher(publisher), trust)

    [finding] = check(attested_wheel(index, tmp_path))

    signer = "https://github.com/octo/demo/.github/workflows/release.yml@refs/heads/main"
    assert f"it was signed by {signer}, not by " in finding.problem.message
    assert finding.problem.message.endswith(named)
    assert not check.signers


def _no_file(beside: Path) -> None:
    beside.unlink()


def _no_json(beside: Path) -> None:
    beside.write_text("{")


def _huge(beside: Path) -> None:
    beside.write_bytes(b" " * (1 << 21))


def _changed_signature(beside: Path) -> None:
    text = json.loads(beside.read_text())
    signature = text["envelope"]["signature"]
    text["envelope"]["signature"] = signature[:20] + ("A" if signature[20] != "A" else "B") + signature[21:]
    beside.write_text(json.dumps(text))


def _no_entry(beside: Path) -> None:
    text = json.loads(beside.read_text())
    text["verification_material"]["transparency_entries"][0]["integratedTime"] = "1"
    beside.write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_file, "has no attestation"),
        (_no_json, "is not an attestation"),
        (_huge, "larger than an attestation can be"),
        (_changed_signature, "its signature is invalid"),
        (_no_entry, "its signature is invalid"),
    ],
)
def test_an_invalid_attestation_is_found(
    index: LocalIndex, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    wheel = attested_wheel(index, tmp_path)
    spoil(wheel.with_name(wheel.name + ".publish.attestation"))

    [finding] = attested(None, {signatures.TRUST_CONFIG: str(index.trust_config)})(wheel)

    assert finding.code == "MW280"
    assert message in finding.problem.message


def test_a_changed_wheel_is_found(index: LocalIndex, tmp_path: Path) -> None:
    attested_wheel(index, tmp_path)
    wheel = honest_wheel(also={"demo/more.py": b"answer = 43\n"})(tmp_path)

    status, said = verify(tmp_path, "--attestations", wheel, trust=index.trust_config)

    assert status == 3
    assert "about other content" in said
    assert "1 wheel: 1 error" in said


def test_signatures_of_another_sigstore_are_rejected(index: LocalIndex, tmp_path: Path) -> None:
    status, said = verify(tmp_path, "--attestations", attested_wheel(index, tmp_path))

    assert status == 3
    assert "its signature is invalid" in said


@pytest.mark.parametrize("text", ["github", "github:octo:release.yml", "github:octo/demo", "forgejo:octo/demo:x.yml"])
def test_an_invalid_publisher_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is not a publisher"):
        signatures.parse_publisher(text)


def test_an_invalid_trust_configuration_is_refused(tmp_path: Path) -> None:
    status, said = verify(tmp_path, "--attestations", write_wheel(tmp_path), trust=tmp_path / "absent.json")

    assert status == 2
    assert "is not a client trust configuration" in said
