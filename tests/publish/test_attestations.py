"""Attestations: sigstore's client signs them at the local index's Sigstore; pypi-attestations checks them."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pypi_attestations
import pytest
import requests

from index import Answer, Drop, Fault, GitHubPublisher, GitLabPublisher, LocalIndex
from index.clients import twine
from index.rekor import Log
from index.signing import sign
from manywheels.core.cancellation import Cancellation
from manywheels.deliver.index import attestations
from manywheels.deliver.index.attestations import Signed, attest, form_field, keep
from manywheels.deliver.index.http import index_retries
from manywheels.deliver.index.identity import Identity, Secrets
from manywheels.errors import (
    AttestationExists,
    AttestationNotKept,
    AttestationsUnavailable,
    NoSigningIdentity,
    SigningFailed,
)
from manywheels.verify import signatures
from publish.indexing import simple
from publish.program import publish, write_sdist, write_set
from unit.helpers import write_wheel

PYTHONS = ("cp310", "cp311", "cp312", "cp313", "cp314")
CERTIFICATE, ENTRY = "/api/v2/signingCert", "/api/v1/log/entries"


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as running:
        running.verify_attestations()
        yield running


@pytest.fixture
def wheels(tmp_path: Path) -> dict[Path, str]:
    """Wheels for several Pythons, with their sha256."""
    paths = [write_wheel(tmp_path, tags=f"{tag}-{tag}-manylinux_2_28_x86_64") for tag in PYTHONS]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def job(index: LocalIndex, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Identity:
    """Be in a job whose Sigstore is the index; return the job's identity."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cancellation = Cancellation()
    return Identity(
        retries=index_retries(cancellation),
        secrets=Secrets(environment=environment),
        environment={**environment, signatures.TRUST_CONFIG: str(index.trust_config)},
    )


def fresh(index: LocalIndex, ci: str) -> dict[str, str]:
    """Return the environment of another job, whose Sigstore is the index."""
    of_job = index.github_environment() if ci == "github" else index.gitlab_environment(sigstore=True)
    return {**of_job, signatures.TRUST_CONFIG: str(index.trust_config)}


def calls(index: LocalIndex, path: str) -> list[int]:
    """Return the answers that were given at a path."""
    return [entry.status for entry in index.requests if entry.path == path]


# --- signing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_every_file_is_signed_under_one_certificate(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch, ci: str
) -> None:
    of_job = index.github_environment() if ci == "github" else index.gitlab_environment(sigstore=True)
    identity = job(index, monkeypatch, of_job)

    signed = attest(wheels, identity)

    assert set(signed.attestations) == set(wheels)
    assert calls(index, CERTIFICATE) == [201]
    assert calls(index, ENTRY) == [201] * len(wheels)
    # Checked by the library that the index uses, for the publisher that the index knows.
    publisher = (
        pypi_attestations.GitHubPublisher(repository="octo/demo", workflow="release.yml")
        if ci == "github"
        else pypi_attestations.GitLabPublisher(repository="octo/demo", workflow_filepath=".gitlab-ci.yml")
    )
    verifier = index.settings.verifier
    assert verifier
    for path, text in signed.attestations.items():
        attestation = pypi_attestations.Attestation.model_validate_json(text)
        verifier.verify_dsse(attestation.to_bundle(), publisher._as_policy())
        assert attestation.statement["subject"] == [{"name": path.name, "digest": {"sha256": wheels[path]}}]
        assert attestation.statement["predicateType"] == pypi_attestations.AttestationType.PYPI_PUBLISH_V1


def test_an_index_takes_them_with_the_upload(
    index: LocalIndex, wheels: dict[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.trust(GitHubPublisher(project="demo"), GitLabPublisher(project="demo"))
    identity = job(index, monkeypatch, index.github_environment())
    kept = keep(attest(wheels, identity))

    # twine sends what lies beside the files.
    ran = twine(
        tmp_path, "--attestations", *wheels, *kept, environment={**identity.environment, **index.proxy_environment()}
    )

    assert ran.status == 0, ran.text
    assert {file.sha256 for file in index.files().values()} == set(wheels.values())
    for entry in simple(index):
        provenance = requests.get(f"{index.simple_url}demo/{entry['provenance']}", timeout=20).json()
        assert provenance["attestation_bundles"][0]["publisher"]["workflow"] == "release.yml"


def test_the_field_of_an_upload_is_a_list(index: LocalIndex, wheels: dict[Path, str]) -> None:
    path = next(iter(wheels))
    attestation = sign(index, path.name, wheels[path])
    assert json.loads(form_field(attestation)) == [json.loads(attestation)]


@pytest.mark.parametrize(
    "faults",
    [
        [Fault(Answer(status=503), path=CERTIFICATE, times=2)],
        [Fault(Answer(status=429, headers={"Retry-After": "1"}), path=ENTRY), Fault(Drop(), path=ENTRY)],
        [Fault(Drop(after=True), path=ENTRY)],  # the log has the entry, and says so when it is sent again
        [Fault(Answer(status=503), path="/issuer/github/token/*"), Fault(Drop(), path="/issuer/github/token/*")],
    ],
    ids=["authority is busy", "log is busy", "answer is lost", "CI is busy"],
)
def test_transient_failures_are_retried(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch, faults: list[Fault]
) -> None:
    identity = job(index, monkeypatch, index.github_environment())
    index.fail(*faults)

    assert set(attest(wheels, identity).attestations) == set(wheels)


def test_the_identity_that_signs_is_masked_and_in_no_message(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sigstore's answer quotes the token that it was sent."""
    identity = job(index, monkeypatch, index.github_environment())
    token = identity.token("sigstore")
    assert token
    assert capsys.readouterr().out == f"::add-mask::{token}\n"
    monkeypatch.setattr(attestations, "_sign_all", lambda *_: (_ for _ in ()).throw(ValueError(f"{token} is bad")))
    monkeypatch.setattr("id.detect_credential", lambda _: token)
    with pytest.raises(SigningFailed, match=r"Sigstore did not sign: \*\*\* is bad"):
        attest(wheels, identity)


def test_a_refusal_of_sigstore_is_reported_in_its_words(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = job(index, monkeypatch, index.github_environment())
    index.fail(Fault(Answer(status=401, body=b'{"message": "no"}'), path=CERTIFICATE, times=None))

    with pytest.raises(SigningFailed, match=r"401 Client Error: Unauthorized") as failed:
        attest(wheels, identity)

    assert "attestations: false" in failed.value.remedy
    assert identity.environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] not in str(failed.value)


def test_a_log_entry_with_a_wrong_key_is_rejected(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = job(index, monkeypatch, index.github_environment())
    index.log_of_signatures = Log()  # with another key than the one to trust

    with pytest.raises(SigningFailed, match="signature is invalid"):
        attest(wheels, identity)


@pytest.mark.parametrize("demanded", [True, False], ids=["demanded", "automatic"])
def test_a_reusable_workflow_is_not_attested(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch, *, demanded: bool
) -> None:
    called = "octo/shared/.github/workflows/publish.yml"
    identity = job(index, monkeypatch, index.github_environment(called_workflow=called))

    if demanded:
        with pytest.raises(AttestationsUnavailable, match="reusable workflow octo/shared"):
            attest(wheels, identity, demanded=True)
    else:
        signed = attest(wheels, identity)
        assert not signed.attestations
        assert "reusable workflow octo/shared" in signed.warning
    assert not calls(index, CERTIFICATE)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "no CI here"),
        ({"GITHUB_ACTIONS": "true"}, "ACTIONS_ID_TOKEN_REQUEST_TOKEN environment variable was unset"),
        ({"GITLAB_CI": "true"}, "SIGSTORE_ID_TOKEN not found"),
    ],
)
def test_without_an_identity_the_error_says_how_to_get_one(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(NoSigningIdentity, match=said) as failed:
        attest(wheels, job(index, monkeypatch, environment))
    assert "id-token: write" in failed.value.remedy
    assert "SIGSTORE_ID_TOKEN" in failed.value.remedy


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_an_index_that_verifies_attestations_accepts_what_publish_signs(
    index: LocalIndex, tmp_path: Path, ci: str
) -> None:
    index.trust(GitHubPublisher(project="demo"), GitLabPublisher(project="demo"))
    folder = tmp_path / "dist"
    files = [*write_set(folder, "cp312", "cp313"), write_sdist(folder)]
    options = ("--attestations=true", "--keep-attestations")

    ran = publish(folder, index.upload_url, *options, environment=fresh(index, ci))

    assert ran.status == 0, ran.said
    stored = index.files()
    for file in files:
        [sent] = stored[file.name].attestations
        assert json.loads(file.with_name(file.name + ".publish.attestation").read_text()) == sent
    assert calls(index, CERTIFICATE) == [201]
    # The next run has nothing to upload, and signs nothing.
    again = publish(folder, index.upload_url, "--attestations=true", environment=fresh(index, ci))
    assert again.status == 0, again.said
    assert calls(index, CERTIFICATE) == [201]


def test_kept_attestations_do_not_block_the_next_run(index: LocalIndex, tmp_path: Path) -> None:
    """The attestations of files that were not uploaded are not kept: the next run signs those files again."""
    index.trust(GitHubPublisher(project="demo"))
    folder = tmp_path / "dist"
    wheels, sdist = write_set(folder, "cp312", "cp313"), write_sdist(folder)
    index.fail(Fault(Answer(status=400, body=b"Project size too large"), path="/legacy/", file=wheels[1].name))
    options = ("--attestations=true", "--keep-attestations")

    first = publish(folder, index.upload_url, *options, environment=fresh(index, "github"))
    kept = {path.name.removesuffix(".publish.attestation") for path in folder.glob("*.attestation")}
    second = publish(folder, index.upload_url, *options, environment=fresh(index, "github"))

    assert first.status == 4
    assert kept == {name for name, state in first.states.items() if state == "uploaded"}
    assert sdist.name in kept
    assert wheels[1].name not in kept
    assert second.status == 0, second.said
    assert len(list(folder.glob("*.attestation"))) == 3


def test_nothing_is_sent_if_sigstore_does_not_sign(index: LocalIndex, tmp_path: Path) -> None:
    index.trust(GitHubPublisher(project="demo"))
    index.fail(Fault(Answer(status=401), path=CERTIFICATE, times=None))
    folder = tmp_path / "dist"
    write_set(folder, "cp312")

    ran = publish(folder, index.upload_url, "--attestations=true", environment=fresh(index, "github"))

    assert ran.status == 4
    assert "MW333" in ran.said
    assert not index.files()
    assert not calls(index, "/_/oidc/mint-token")


# --- files beside -------------------------------------------------------------------------------------------------


def test_an_existing_attestation_is_an_error_and_is_kept(
    index: LocalIndex, wheels: dict[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = job(index, monkeypatch, index.github_environment())
    path = next(iter(wheels))
    beside = path.with_name(path.name + ".publish.attestation")
    beside.write_text("of somebody else")

    with pytest.raises(AttestationExists, match=path.name):
        attest(wheels, identity)
    with pytest.raises(AttestationExists, match=path.name):
        keep(Signed(attestations=dict.fromkeys(wheels, "{}")))

    assert beside.read_text() == "of somebody else"
    assert not index.requests


def test_an_attestation_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AttestationNotKept, match="No such file or directory"):
        keep(Signed(attestations={tmp_path / "gone" / "demo-1.0.tar.gz": "{}"}))


def test_no_partly_written_attestation_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Path.open

    def full(path: Path, *arguments: Any, **options: Any) -> None:
        usual(path, *arguments, **options).close()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(AttestationNotKept, match="No space left on device"):
        keep(Signed(attestations={tmp_path / "demo-1.0.tar.gz": "{}"}))
    assert list(tmp_path.iterdir()) == []


# --- whether to sign ----------------------------------------------------------------------------------------------

ON_GITHUB = {"GITHUB_ACTIONS": "true"}
ON_GITLAB = {"GITLAB_CI": "true", "CI_SERVER_HOST": "gitlab.com", "SIGSTORE_ID_TOKEN": "x"}


@pytest.mark.parametrize(
    ("environment", "changed", "answer"),
    [
        (ON_GITHUB, {}, True),
        (ON_GITHUB, {"trusted": False}, False),
        (ON_GITHUB, {"known": False}, False),
        (ON_GITHUB, {"known": False, "choice": True}, True),
        (ON_GITHUB, {"choice": False}, False),
        (ON_GITLAB, {}, True),
        (ON_GITLAB | {"SIGSTORE_ID_TOKEN": ""}, {}, False),
        (ON_GITLAB | {"CI_SERVER_HOST": "gitlab.example.org"}, {}, False),
        (ON_GITLAB | {"CI_SERVER_HOST": "gitlab.example.org"}, {"choice": True}, True),
        ({}, {}, False),
    ],
)
def test_when_attestations_are_made_by_default(
    environment: dict[str, str], changed: dict[str, bool], *, answer: bool
) -> None:
    usual: dict[str, bool | None] = {"choice": None, "trusted": True, "known": True}
    given = usual | changed

    wanted = attestations.wanted(
        choice=given["choice"], trusted=bool(given["trusted"]), known=bool(given["known"]), environment=environment
    )

    assert wanted is answer


def test_attestations_with_an_api_token_are_refused() -> None:
    with pytest.raises(AttestationsUnavailable, match="API token"):
        attestations.wanted(choice=True, trusted=False, known=True, environment=ON_GITHUB)
