"""Trusted publishing: publishers as an index knows them, the matching of claims, and the minting of tokens."""

from __future__ import annotations

import json
import re
import secrets
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import jwt
from packaging.utils import canonicalize_name

from index.issuer import Claims, Issuer
from index.settings import Settings

PROHIBITED = frozenset({"prohibited"})  # names that the index's administrators have barred


def why_not_new(name: str) -> str | None:
    """Return why no new project may have this name."""
    if canonicalize_name(name) in {canonicalize_name(module.strip("_")) for module in sys.stdlib_module_names}:
        return f"The name {name!r} isn't allowed (conflict with Python Standard Library module name)."
    if canonicalize_name(name) in PROHIBITED:
        return f"The name {name!r} isn't allowed."
    return None


class NoMatch(Exception):
    """A token's claims are not those of a publisher; the text says which."""


class Refused(Exception):
    """No token is minted, for a reason that has a code."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(f"{code}: {description}")
        self.code, self.description = code, description


@dataclass(frozen=True, kw_only=True)
class _Trusted:
    """Who may publish `project`; `environment` is empty for any. A pending one makes the project."""

    project: str
    environment: str = ""
    pending: bool = False


@dataclass(frozen=True, kw_only=True)
class GitHubPublisher(_Trusted):
    """A GitHub workflow that may publish."""

    repository: str = "octo/demo"
    owner_id: str = "583231"  # asked of GitHub when the publisher was added; no form shows it
    workflow: str = "release.yml"
    issuer_name: ClassVar[str] = "github"

    def found_by(self, claims: Claims) -> bool:
        """Whether repository, owner and the name of the workflow are this publisher's."""
        name = re.search(r"/([^/]+\.(yml|yaml))@", claims["job_workflow_ref"])
        if not name:
            raise NoMatch("Could not job extract workflow filename from OIDC claims")
        own = (self.repository, self.owner_id, self.workflow)
        return bool((claims["repository"], claims["repository_owner_id"], name[1]) == own)

    def check(self, claims: Claims) -> None:
        """Raise NoMatch for claims that the index looks at closely."""
        own = f"{self.repository}/.github/workflows/{self.workflow}"
        _check_file(claims, "job_workflow_ref", own, claims.get("ref"))
        if claims.get("event_name") == "pull_request_target":
            raise NoMatch("Publishing from a workflow invoked via 'pull_request_target' is not supported.")


@dataclass(frozen=True, kw_only=True)
class GitLabPublisher(_Trusted):
    """A GitLab pipeline that may publish."""

    project_path: str = "octo/demo"
    workflow: str = ".gitlab-ci.yml"
    issuer_name: ClassVar[str] = "gitlab"

    def found_by(self, claims: Claims) -> bool:
        """Whether the project's path and the file of the pipeline are this publisher's."""
        path = re.search(r"(?<=//)(.*[^/]\.(yml|yaml))(?=@)", claims["ci_config_ref_uri"])
        if not path:
            raise NoMatch("Could not extract workflow filename from OIDC claims")
        return bool(claims["project_path"].lower() == self.project_path.lower() and path[0] == self.workflow)

    def check(self, claims: Claims) -> None:
        """Raise NoMatch for claims that the index looks at closely."""
        host = claims["iss"].partition("://")[2]
        _check_file(claims, "ci_config_ref_uri", f"{host}/{self.project_path}//{self.workflow}", claims.get("ref_path"))
        if ":".join(claims["sub"].split(":")[:2]).lower() != f"project_path:{self.project_path}".lower():
            raise NoMatch("Check failed for required claim 'sub'")


def _check_file(claims: Claims, claim: str, own: str, ref: str | None) -> None:
    """Raise NoMatch unless a claim names the file `own` at the job's ref, or at its commit."""
    expected = sorted({f"{own}@{place}" for place in (ref, claims.get("sha")) if place})
    if claims[claim] not in expected:
        raise NoMatch(f"The {claim} claim does not match, expecting one of {expected!r}, got {claims[claim]!r}")


Publisher = GitHubPublisher | GitLabPublisher
_REQUIRED = {
    "github": ("repository", "repository_owner", "repository_owner_id", "job_workflow_ref", "jti",
               "event_name", "ref", "sha"),
    "gitlab": ("sub", "project_path", "ci_config_ref_uri", "jti", "ref_path", "sha"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Token:
    """A right to upload: `projects` is None for all; `expires` is in Unix seconds, None for never."""

    value: str = field(repr=False)
    projects: frozenset[str] | None = None
    expires: float | None = None
    publisher: Publisher | None = None


class Mint:
    """Tokens: those minted for trusted publishers, and API tokens. May be used from several threads."""

    def __init__(self, issuers: Mapping[str, Issuer], settings: Settings) -> None:
        self.publishers: list[Publisher] = []
        self.tokens: dict[str, Token] = {}
        self.projects: set[str] = set()  # that exist; a pending publisher must not name one of them
        self._issuers, self._settings = issuers, settings
        self._claimed: set[str] = set()
        self._lock = threading.Lock()

    def api_token(self, *projects: str) -> str:
        """Return a new API token for these projects, or for all."""
        names = frozenset(map(canonicalize_name, projects)) or None
        return self._keep(Token(value=f"pypi-api-{secrets.token_urlsafe(24)}", projects=names))

    def mint(self, body: bytes) -> dict[str, Any]:
        """Return what the index answers to a good request. Raises Refused."""
        token = _token_of(body)
        issuer = self._issuer_of(token)
        if issuer.name in self._settings.issuers_off:
            raise Refused("not-enabled", f"{issuer.name} trusted publishing functionality not enabled")
        try:
            claims = issuer.verify(token, audience=self._settings.audience)
        except jwt.PyJWTError:
            raise Refused("invalid-token", "malformed or invalid token") from None
        with self._lock:
            self._accept_pending(issuer, claims)
            publisher = self._publisher(issuer, claims)
            self._claim(claims)
            # Whatever happens from here on, this identity token is spent.
            projects = frozenset(
                canonicalize_name(known.project)
                for known in self.publishers
                if not known.pending and _identity(known) == _identity(publisher)
            )
            expires = int(self._settings.clock() + self._settings.token_lifetime)
            value = self._keep(
                Token(
                    value=f"pypi-minted-{secrets.token_urlsafe(24)}",
                    projects=projects,
                    expires=expires,
                    publisher=publisher,
                )
            )
        return {"success": True, "token": value, "expires": expires}

    def burn(self, body: bytes) -> None:
        """Forget a minted token. Raises Refused for a body that is no request."""
        token = _token_of(body)
        if token in self.tokens and self.tokens[token].publisher:
            del self.tokens[token]

    def _keep(self, token: Token) -> str:
        self.tokens[token.value] = token
        return token.value

    def _issuer_of(self, token: str) -> Issuer:
        try:
            claimed = jwt.decode(token, options={"verify_signature": False})["iss"]
        except (jwt.PyJWTError, KeyError):
            raise Refused("invalid-payload", "malformed JWT") from None
        for issuer in self._issuers.values():
            if issuer.url == claimed:
                return issuer
        raise Refused("invalid-payload", "unknown trusted publishing issuer")

    def _accept_pending(self, issuer: Issuer, claims: Claims) -> None:
        try:
            pending = self._find(issuer, claims, [known for known in self.publishers if known.pending])
        except NoMatch:
            return
        self.publishers.remove(pending)
        if canonicalize_name(pending.project) in self.projects:
            raise Refused("invalid-pending-publisher", "valid token, but project already exists")
        if problem := why_not_new(pending.project):
            raise Refused("invalid-payload", problem)
        self.projects.add(canonicalize_name(pending.project))
        self.publishers.append(replace(pending, pending=False))

    def _publisher(self, issuer: Issuer, claims: Claims) -> Publisher:
        try:
            return self._find(issuer, claims, [known for known in self.publishers if not known.pending])
        except NoMatch as problem:
            raise Refused("invalid-publisher", f"valid token, but no corresponding publisher ({problem})") from None

    def _find(self, issuer: Issuer, claims: Claims, among: Sequence[Publisher]) -> Publisher:
        for name in _REQUIRED[issuer.name]:
            if claims.get(name) is None:
                raise NoMatch(f"Missing claim {name!r}")
        found = [known for known in among if known.issuer_name == issuer.name and known.found_by(claims)]
        environment = str(claims.get("environment", "")).lower()
        fitting = [known for known in found if known.environment.lower() in {"", environment}]
        if not fitting:
            raise NoMatch("Publisher with matching claims was not found")
        publisher = max(fitting, key=lambda known: bool(known.environment))  # the most specific one
        publisher.check(claims)
        return publisher

    def _claim(self, claims: Claims) -> None:
        if claims["jti"] in self._claimed:
            raise Refused("invalid-reuse-token", "invalid token: already used")
        self._claimed.add(claims["jti"])


def _token_of(body: bytes) -> str:
    try:
        payload = json.loads(body)
    except ValueError:
        raise Refused("invalid-payload", "Invalid JSON") from None
    match payload:
        case {"token": str(token)}:
            return token
    raise Refused("invalid-payload", "token: Field required")


def _identity(publisher: Publisher) -> Publisher:
    return replace(publisher, project="", pending=False)
