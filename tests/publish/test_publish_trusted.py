"""Trusted publishing to the local index: who may publish, who may not, and what the errors say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from index import Answer, Drop, Fault, GitHubPublisher, GitLabPublisher, LocalIndex
from manywheels.core.markdown import code
from manywheels.verify.signatures import TRUST_CONFIG
from publish.program import Run, publish, write_set


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project="demo", environment="pypi"), GitLabPublisher(project="demo"))
        yield index


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(tmp_path / "dist", "cp312")
    return tmp_path / "dist"


def refused(index: LocalIndex, folder: Path, environment: Mapping[str, str], code: str) -> Run:
    """Publish, and check that it is refused, that nothing was sent, and that no identity token is shown."""
    run = publish(folder, index.upload_url, environment=environment)
    assert run.status == 4
    assert f"error {code}" in run.err
    assert set(run.states.values()) == {"not sent"}
    assert index.files() == {}
    shown = [line for line in run.said.splitlines() if not line.startswith("::add-mask::")]
    assert not [line for line in shown if "eyJ" in line], "the start of a JSON web token"
    return run


def words(text: str) -> str:
    """Return a text with single blanks, to compare rows of a table."""
    return " ".join(text.split())


@pytest.mark.parametrize("ci", ["github", "gitlab"])
def test_a_trusted_job_publishes(index: LocalIndex, folder: Path, ci: str) -> None:
    environment = index.github_environment(environment="pypi") if ci == "github" else index.gitlab_environment()
    run = publish(folder, index.upload_url, environment=environment)
    assert (run.status, set(run.states.values())) == (0, {"uploaded"}), run.said
    (upload,) = [request for request in index.requests if request.path == "/legacy/"]
    assert upload.user == "__token__"
    assert upload.password.startswith("pypi-")


def test_the_ci_is_asked_again_for_an_identity_token(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(Answer(status=503), path="/issuer/github/token/*", times=2))
    run = publish(folder, index.upload_url, environment=index.github_environment(environment="pypi"))
    assert (run.status, set(run.states.values())) == (0, {"uploaded"}), run.said


def test_files_are_signed_and_the_index_takes_the_attestations(index: LocalIndex, folder: Path, tmp_path: Path) -> None:
    """The identity, the log and the roots of trust are the local index's; the checks are the real ones."""
    index.verify_attestations()
    summary = tmp_path / "summary.md"
    environment = index.github_environment(environment="pypi") | {
        TRUST_CONFIG: str(index.trust_config), "GITHUB_STEP_SUMMARY": str(summary),
    }  # fmt: skip
    run = publish(folder, index.upload_url, "--attestations=true", "--keep-attestations", environment=environment)
    assert run.status == 0, run.said
    (file,) = index.files().values()
    assert len(file.attestations) == 1
    assert (folder / f"{file.filename}.publish.attestation").is_file()
    assert f"| {code(file.filename)} | uploaded |" in summary.read_text()
    index.delete(file.filename)
    again = publish(folder, index.upload_url, "--attestations=true", environment=environment)
    assert again.status == 4
    assert "There are attestations already" in again.err


def test_attestations_are_for_trusted_publishers(index: LocalIndex, folder: Path) -> None:
    token = {"MANYWHEELS_PASSWORD": index.api_token()}
    run = publish(folder, index.upload_url, "--attestations=true", environment=token)
    assert run.status == 4
    assert "`attestations: true` is set, but the upload uses an API token" in run.err
    assert index.files() == {}


def test_a_pending_publisher_makes_the_project(folder: Path) -> None:
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project="demo", pending=True))
        assert publish(folder, index.upload_url, environment=index.github_environment()).status == 0


def test_githubs_claims_are_shown_beside_the_publishers_fields(index: LocalIndex, folder: Path) -> None:
    environment = index.github_environment(repository="octo/demo", workflow="ci.yml", environment="release")
    run = refused(index, folder, environment, "MW324")
    told = words(run.err)
    assert "invalid-publisher: the identity is genuine, but no trusted publisher of any project" in told
    for row in (
        "Owner octo repository_owner octo",
        "Repository name demo repository octo/demo",
        "Workflow name ci.yml job_workflow_ref octo/demo/.github/workflows/ci.yml@refs/heads/main",
        "Environment name release environment release",
    ):
        assert row in told


def test_a_missing_environment(index: LocalIndex, folder: Path) -> None:
    run = refused(index, folder, index.github_environment(), "MW324")
    assert "Environment name (leave empty) environment (none)" in words(run.err)
    assert "set `environment:` of the job to it" in run.err


def test_a_reusable_workflow_is_named_as_the_cause(index: LocalIndex, folder: Path) -> None:
    called = "octo/shared/.github/workflows/publish.yml"
    environment = index.github_environment(environment="pypi", called_workflow=called)
    run = refused(index, folder, environment, "MW324")
    assert f"The job runs in a reusable workflow: `{called}@" in run.err
    assert "publish in a job of the calling workflow" in run.err


def test_pull_request_target_is_named_as_the_cause(index: LocalIndex, folder: Path) -> None:
    environment = index.github_environment(environment="pypi", event_name="pull_request_target")
    run = refused(index, folder, environment, "MW324")
    assert "The event is `pull_request_target`, which the index refuses" in run.err


def test_gitlabs_claims_are_shown_beside_the_publishers_fields(index: LocalIndex, folder: Path) -> None:
    environment = index.gitlab_environment(project_path="group/sub/thing", workflow="ci/release.yml")
    told = words(refused(index, folder, environment, "MW324").err)
    for row in ("Namespace group/sub project_path group/sub/thing", "Project name thing project_path",
                "Top-level pipeline file path ci/release.yml ci_config_ref_uri"):  # fmt: skip
        assert row in told


def test_a_spent_identity_token(index: LocalIndex, folder: Path) -> None:
    environment = index.gitlab_environment()
    assert publish(folder, index.upload_url, environment=environment).status == 0
    (other := folder.parent / "other").mkdir()
    write_set(other, "cp313")
    run = publish(other, index.upload_url, environment=environment)
    assert run.status == 4
    assert "invalid-reuse-token: the identity token has already been used" in run.err
    assert "Two steps of one GitLab job cannot both publish" in run.err


def test_an_identity_that_has_expired(index: LocalIndex, folder: Path) -> None:
    run = refused(index, folder, index.gitlab_environment(lifetime=-100), "MW324")
    assert "invalid-token: the identity token could not be verified: it has expired" in run.err


def test_an_account_that_was_made_again(index: LocalIndex, folder: Path) -> None:
    """Each row of the form agrees, yet its number is another."""
    environment = index.github_environment(environment="pypi", repository_owner_id="42")
    run = refused(index, folder, environment, "MW324")
    assert "`repository_owner_id`: remove the publisher and add it again" in words(run.err)
    assert "also sent: repository_owner_id `42`" in run.err


def test_an_issuer_that_the_index_does_not_know(index: LocalIndex, folder: Path) -> None:
    with LocalIndex() as other:
        strange = other.gitlab_environment()
    run = refused(index, folder, strange | {"CI_SERVER_URL": "https://gitlab.example"}, "MW324")
    assert "invalid-payload: the index does not know who issued the identity token" in words(run.err)
    assert "must be registered with the index" in words(run.err)
    assert "Update manywheels" not in run.err


@pytest.mark.parametrize("project", ["prohibited", "asyncio"])
def test_a_pending_publisher_whose_name_is_not_allowed(folder: Path, project: str) -> None:
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project=project, pending=True))
        run = publish(folder, index.upload_url, environment=index.github_environment())
    assert run.status == 4
    assert "no new project may have its name" in words(run.err)
    assert "pending publisher for another name" in words(run.err)


def test_a_ci_that_is_switched_off(index: LocalIndex, folder: Path) -> None:
    index.settings.issuers_off.add("github")
    run = refused(index, folder, index.github_environment(environment="pypi"), "MW324")
    assert "not-enabled:" in run.err
    assert "MANYWHEELS_PASSWORD" in run.err


@pytest.mark.parametrize("code", ["invalid-pending-publisher", "invalid-payload", "something-new"])
def test_every_code_is_explained(index: LocalIndex, folder: Path, code: str) -> None:
    body = json.dumps({"message": "Token request failed", "errors": [{"code": code, "description": "Its own words."}]})
    index.fail(Fault(Answer(status=422, body=body.encode()), path="*/mint-token"))
    run = refused(index, folder, index.github_environment(environment="pypi"), "MW324")
    assert f"{code}: " in run.err
    assert "Its own words." in run.err


def test_without_the_permission(index: LocalIndex, folder: Path) -> None:
    run = refused(index, folder, {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "push"}, "MW323")
    assert "lacks the permission `id-token: write`" in run.err
    assert "permissions: {id-token: write, contents: read}" in run.err


def test_a_pull_request_from_a_fork(index: LocalIndex, folder: Path, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"pull_request": {"head": {"repo": {"full_name": "somebody/demo"}}}}))
    environment = {
        "GITHUB_ACTIONS": "true", "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REPOSITORY": "octo/demo",
        "GITHUB_EVENT_PATH": str(event),
    }  # fmt: skip
    run = refused(index, folder, environment, "MW323")
    assert "This is a pull request from a fork" in run.err


def test_gitlab_without_the_id_token(index: LocalIndex, folder: Path) -> None:
    run = refused(index, folder, {"GITLAB_CI": "true"}, "MW323")
    assert "the variable LOCALINDEX_ID_TOKEN is not set" in run.err
    assert "`id_tokens: {LOCALINDEX_ID_TOKEN: {aud: localindex}}`" in run.err


def test_outside_ci(index: LocalIndex, folder: Path) -> None:
    run = refused(index, folder, {}, "MW323")
    assert "no API token, and no CI with trusted publishing" in run.err
    dry = publish(folder, index.upload_url, "--dry-run")
    assert dry.status == 0
    assert "warning: There are no credentials for the upload" in dry.out


@pytest.mark.parametrize(("status", "told"), [(403, "switched off"), (404, "has no trusted publishing")])
def test_an_index_without_trusted_publishing(index: LocalIndex, folder: Path, status: int, told: str) -> None:
    index.fail(Fault(Answer(status=status), path="*/audience"))
    run = refused(index, folder, index.github_environment(environment="pypi"), "MW323")
    assert told in run.err


def test_an_index_whose_mint_is_down(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(Drop(), path="*/mint-token", times=None))
    run = refused(index, folder, index.github_environment(environment="pypi"), "MW321")
    assert "The index did not mint an upload token" in run.err


def test_the_mint_answers_without_a_token(index: LocalIndex, folder: Path) -> None:
    index.fail(Fault(Answer(status=200, body=b"{"), path="*/mint-token"))
    refused(index, folder, index.github_environment(environment="pypi"), "MW321")


@pytest.mark.parametrize("variable", ["MANYWHEELS_PASSWORD", "TWINE_PASSWORD"])
def test_an_api_token_is_used_with_a_warning(index: LocalIndex, folder: Path, variable: str) -> None:
    token = index.api_token("demo")
    run = publish(folder, index.upload_url, environment={variable: f"{token}\n"})
    assert run.status == 0
    assert "warning: an API token is used" in run.out
    assert token not in run.said
    assert not [request for request in index.requests if "oidc" in request.path]


def test_a_token_for_another_project(index: LocalIndex, folder: Path) -> None:
    run = refused(index, folder, {"MANYWHEELS_PASSWORD": index.api_token("other")}, "MW327")
    assert "isn't allowed to upload to project 'demo'" in run.err


def test_the_token_of_pypi_is_not_sent_to_another_index(index: LocalIndex, folder: Path) -> None:
    token = index.api_token("demo")
    run = refused(index, folder, {"PYPI_TOKEN": token}, "MW323")
    assert "warning: PYPI_TOKEN is for `pypi` and is not used here" in run.out
    assert not [request for request in index.requests if request.password == token]


def test_an_invalid_token_is_refused(index: LocalIndex, folder: Path) -> None:
    run = publish(folder, index.upload_url, environment={"MANYWHEELS_PASSWORD": "two\nlines"})
    assert run.status == 2
    assert "The password from MANYWHEELS_PASSWORD has control characters" in run.err
    assert "two" not in run.err
