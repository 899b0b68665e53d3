"""Trusted publishing at the local index: identity tokens, whose they are, and what is minted for them."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import jwt
import pytest
import requests

from index import Answer, Fault, GitHubPublisher, GitLabPublisher, LocalIndex
from publish.indexing import mint, minted, upload
from unit.helpers import write_wheel


def code_of(answer: requests.Response) -> str:
    assert answer.status_code == 422
    assert answer.json()["message"] == "Token request failed"
    code: str = answer.json()["errors"][0]["code"]
    return code


def test_the_issuers_tokens_can_be_verified_by_their_published_keys(index: LocalIndex) -> None:
    for name in ("github", "gitlab"):
        issuer = f"{index.url}/issuer/{name}"
        discovery = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=20).json()
        token = index.identity_token(name, audience="somebody")
        key = jwt.PyJWKClient(discovery["jwks_uri"]).get_signing_key_from_jwt(token)

        claims = jwt.decode(token, key, algorithms=["RS256"], audience="somebody", issuer=discovery["issuer"])

        assert claims["sub"].startswith(("repo:octo/demo", "project_path:octo/demo"))


def test_a_job_gets_a_new_identity_token_each_time_if_it_shows_its_own(index: LocalIndex) -> None:
    job = index.github_environment()
    url = job["ACTIONS_ID_TOKEN_REQUEST_URL"] + "&audience=pypi"
    allowed = {"Authorization": f"bearer {job['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}

    first, second = (requests.get(url, headers=allowed, timeout=20).json()["value"] for _ in range(2))

    assert jwt.decode(first, options={"verify_signature": False})["aud"] == "pypi"
    assert first != second
    assert requests.get(url, headers={"Authorization": "bearer guessed"}, timeout=20).status_code == 401


def test_an_identity_token_mints_once(index: LocalIndex) -> None:
    index.trust(GitHubPublisher(project="demo"))
    identity = index.identity_token()

    answer = mint(index, identity)

    assert answer.json()["success"] is True
    assert 890 < answer.json()["expires"] - time.time() <= 900
    assert code_of(mint(index, identity)) == "invalid-reuse-token"


def test_a_token_that_was_minted_and_not_received_is_spent(index: LocalIndex) -> None:
    index.trust(GitHubPublisher(project="demo"))
    index.fail(Fault(Answer(status=502, after=True), path="*/mint-token"))
    identity = index.identity_token()

    assert mint(index, identity).status_code == 502
    assert code_of(mint(index, identity)) == "invalid-reuse-token"


def test_an_invalid_identity_token_is_refused_with_its_code(index: LocalIndex) -> None:
    index.trust(GitHubPublisher(project="demo"))
    with LocalIndex() as stranger:
        assert code_of(mint(index, stranger.identity_token())) == "invalid-payload"
    head, body, _ = index.identity_token().split(".")
    forged = base64.urlsafe_b64encode(b"x" * 256).decode().rstrip("=")

    assert code_of(mint(index, "nonsense")) == "invalid-payload"
    assert code_of(requests.post(f"{index.url}/_/oidc/mint-token", data=b"{", timeout=20)) == "invalid-payload"
    assert code_of(mint(index, f"{head}.{body}.{forged}")) == "invalid-token"
    assert code_of(mint(index, index.identity_token(audience="sigstore"))) == "invalid-token"
    assert code_of(mint(index, index.identity_token(claims={"exp": int(time.time()) - 60}))) == "invalid-token"
    index.settings.issuers_off.add("github")
    assert code_of(mint(index, index.identity_token())) == "not-enabled"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"repository": "octo/fork"}, "Publisher with matching claims was not found"),
        ({"environment": "staging"}, "Publisher with matching claims was not found"),
        ({"event_name": "pull_request_target"}, "pull_request_target"),
        ({"called_workflow": "octo/shared/.github/workflows/release.yml"}, "job_workflow_ref claim does not match"),
    ],
)
def test_claims_of_another_publisher_mint_nothing(index: LocalIndex, said: dict[str, str], reason: str) -> None:
    index.trust(GitHubPublisher(project="demo", environment="release"))
    job = index.github_environment(**({"environment": "release"} | said))
    headers = {"Authorization": f"bearer {job['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    url = f"{job['ACTIONS_ID_TOKEN_REQUEST_URL']}&audience={index.settings.audience}"
    identity = requests.get(url, headers=headers, timeout=20).json()["value"]

    answer = mint(index, identity)

    assert code_of(answer) == "invalid-publisher"
    assert reason in answer.json()["errors"][0]["description"]


def test_gitlab_claims_are_matched(index: LocalIndex) -> None:
    index.trust(GitLabPublisher(project="demo", project_path="Octo/Demo"))
    good = index.gitlab_environment()["LOCALINDEX_ID_TOKEN"]
    other = index.gitlab_environment(workflow="ci/other.yml")["LOCALINDEX_ID_TOKEN"]
    spent = index.gitlab_environment(lifetime=-60)["LOCALINDEX_ID_TOKEN"]

    assert code_of(mint(index, other)) == "invalid-publisher"
    assert code_of(mint(index, spent)) == "invalid-token"
    # The file of the pipeline is compared as it is written; only the project's path is not.
    assert "ci_config_ref_uri" in mint(index, good).json()["errors"][0]["description"]


def test_a_pending_publisher_makes_the_project_once(index: LocalIndex, wheel: Path) -> None:
    index.trust(GitHubPublisher(project="demo", pending=True))
    assert upload(index, wheel, minted(index)).status_code == 200

    index.trust(GitHubPublisher(project="demo", workflow="late.yml", pending=True))
    late = index.identity_token(claims={"job_workflow_ref": "octo/demo/.github/workflows/late.yml@refs/heads/main"})
    assert code_of(mint(index, late)) == "invalid-pending-publisher"


def test_minted_tokens_expire_and_can_be_revoked(index: LocalIndex, tmp_path: Path, wheel: Path) -> None:
    index.trust(GitHubPublisher(project="demo"))
    first, second = minted(index), minted(index)
    requests.post(f"{index.url}/_/oidc/burn-token", json={"token": first}, timeout=20).raise_for_status()
    assert upload(index, wheel, first).status_code == 403
    assert upload(index, wheel, second).status_code == 200

    index.settings.clock = lambda: time.time() + 901
    assert upload(index, wheel, second).status_code == 403


def test_a_minted_token_is_for_its_projects_only(index: LocalIndex, tmp_path: Path) -> None:
    index.trust(GitHubPublisher(project="other"), GitHubPublisher(project="demo", workflow="x.yml"))
    answer = upload(index, write_wheel(tmp_path), minted(index))

    assert answer.status_code == 403
    assert "isn't allowed to upload to project 'demo'" in answer.reason
