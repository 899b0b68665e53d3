"""An identity token's claims, beside the index's form for trusted publishers, and known pitfalls."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Claims = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ClaimRow:
    """A field of the index's form, and the claim that it is compared with, as sent."""

    field: str
    enter: str
    claim: str
    sent: str


def read_claims(token: str) -> Claims:
    """Return a token's claims (JWT), not verified; none if unreadable."""
    from id import decode_oidc_token

    try:
        found = json.loads(decode_oidc_token(token)[1])
    except (ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def form_rows(claims: Claims) -> tuple[ClaimRow, ...]:
    """Return nothing for claims that are neither GitHub's nor GitLab's."""
    if "job_workflow_ref" in claims:
        return tuple(_github(claims))
    if "ci_config_ref_uri" in claims:
        return tuple(_gitlab(claims))
    return ()


def _github(claims: Claims) -> Iterator[ClaimRow]:
    owner, _, name = _text(claims, "repository").partition("/")
    workflow = re.search(r"/([^/@]+)@", _text(claims, "job_workflow_ref"))
    yield _row(claims, "Owner", owner, "repository_owner")
    yield _row(claims, "Repository name", name, "repository")
    yield _row(claims, "Workflow name", workflow[1] if workflow else "?", "job_workflow_ref")
    yield _row(claims, "Environment name", _text(claims, "environment") or "(leave empty)", "environment")


def _gitlab(claims: Claims) -> Iterator[ClaimRow]:
    namespace, _, name = _text(claims, "project_path").rpartition("/")
    pipeline = re.search(r"//(.+?)@", _text(claims, "ci_config_ref_uri"))
    yield _row(claims, "Namespace", namespace, "project_path")
    yield _row(claims, "Project name", name, "project_path")
    yield _row(claims, "Top-level pipeline file path", pipeline[1] if pipeline else "?", "ci_config_ref_uri")
    yield _row(claims, "Environment name", _text(claims, "environment") or "(leave empty)", "environment")


def _row(claims: Claims, field: str, enter: str, claim: str) -> ClaimRow:
    return ClaimRow(field=field, enter=enter, claim=claim, sent=_text(claims, claim) or "(none)")


def _text(claims: Claims, name: str) -> str:
    return str(claims.get(name) or "")


def claims_table(claims: Claims) -> Iterator[str]:
    """Yield a table of the form and the claims, then the other claims that the index checks."""
    found = form_rows(claims)
    if found:
        widths = [max(len(cell) for cell in column) for column in zip(*map(_cells, [_HEADINGS, *found]), strict=True)]
        for row in (_HEADINGS, *found):
            yield "  ".join(cell.ljust(width) for cell, width in zip(_cells(row), widths, strict=True)).rstrip()
    others = [
        f"{name} `{claims[name]}`"
        for name in ("repository_owner_id", "ref", "event_name", "sub", "iss")
        if claims.get(name)
    ]
    if others:
        yield f"also sent: {', '.join(others)}"


_HEADINGS = ClaimRow(field="field of the form", enter="enter", claim="claim", sent="as sent")


def _cells(row: ClaimRow) -> tuple[str, ...]:
    return row.field, row.enter, row.claim, row.sent


def reusable_workflow(claims: Claims) -> tuple[str, str] | None:
    """Return a GitHub job's reusable workflow and its caller, or None."""
    called, caller = _text(claims, "job_workflow_ref"), _text(claims, "workflow_ref")
    return (called, caller) if called and caller and called != caller else None


def traps(claims: Claims) -> Iterator[str]:
    """Yield why these claims are, or may be, refused, whatever the form."""
    if call := reusable_workflow(claims):
        called, caller = call
        yield (
            f"The job runs in a reusable workflow: `{called}`, called by `{caller}`. The index does not accept "
            "reusable workflows: publish in a job of the calling workflow."
        )
    if claims.get("event_name") == "pull_request_target":
        yield "The event is `pull_request_target`, which the index refuses: publish on a tag, a release or a push."
    if form_rows(claims) and not claims.get("environment"):
        yield (
            "The job has no environment. If the publisher on the index names one, set `environment:` of the job to it."
        )


def missing_on_github(environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the reason and the remedy."""
    if _is_fork(environment):
        remedy = "leave the job out for pull requests: `if: github.event_name != 'pull_request'`."
        return (
            "This is a pull request from a fork: GitHub gives such jobs no identity token.",
            f"Publish on a tag, a release or a push, and {remedy}",
        )
    remedy = "Add `permissions: {id-token: write, contents: read}` to the job; in a reusable workflow, the calling job"
    return (
        "GitHub gives this job no identity token: it lacks the permission `id-token: write`.",
        f"{remedy} needs it as well.",
    )


def _is_fork(environment: Mapping[str, str]) -> bool:
    if environment.get("GITHUB_EVENT_NAME") != "pull_request":
        return False
    try:
        event = json.loads(Path(environment.get("GITHUB_EVENT_PATH", "")).read_text("utf-8"))
        return bool(event["pull_request"]["head"]["repo"]["full_name"] != environment.get("GITHUB_REPOSITORY"))
    except (OSError, ValueError, LookupError, TypeError):
        return False


def missing_on_gitlab(audience: str) -> tuple[str, str]:
    """Return the reason and the remedy."""
    variable = re.sub("[^A-Z0-9_]|^[^A-Z_]", "_", audience.upper()) + "_ID_TOKEN"
    return (
        f"GitLab gives this job no identity token: the variable {variable} is not set.",
        f"Add to the job: `id_tokens: {{{variable}: {{aud: {audience}}}}}`.",
    )


@dataclass(frozen=True, kw_only=True)
class Cause:
    """Why the index mints no token, and what to do; `cure` is empty for an unknown code."""

    line: str
    cure: str = ""


def cause(code: str, description: str, known: Mapping[str, Mapping[str, Any]]) -> Cause:
    """`known` has texts by code; where a code has several causes, the description tells which it is."""
    entry = known.get(code)
    if entry is None:
        return Cause(line=f"{code}: {description}")
    told = (one for one in entry.get("told", ()) if re.search(one["says"], description, re.IGNORECASE))
    found = next(told, entry)
    return Cause(line=f"{code}: {found['means']} (the index: {description})", cure=found["cure"])


def explain_refusal(causes: Iterable[Cause], claims: Claims) -> list[str]:
    return [*(cause.line for cause in causes), *claims_table(claims), *traps(claims)]
