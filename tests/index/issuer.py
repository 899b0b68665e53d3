"""Issuers of identity tokens: RS256-signed JWTs with the claims that GitHub and GitLab put into them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

Claims = Mapping[str, Any]
SHA = "5f1c6a0f9f3b4c5d8e7a9b0c1d2e3f4a5b6c7d8e"


@cache  # one for each name and process: making a key takes a tenth of a second
def _key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """An OpenID Connect issuer; `url` is the `iss` of its tokens, `lifetime` theirs, in seconds."""

    name: str
    url: str
    lifetime: float

    @property
    def key_id(self) -> str:
        return f"{self.name}-1"

    @property
    def key(self) -> rsa.RSAPrivateKey:
        return _key(self.name)

    def issue(self, claims: Claims, *, audience: str, lifetime: float | None = None) -> str:
        """Return a signed token with `claims` and those that every token has; each has a `jti` of its own."""
        now = int(time.time())
        usual = {
            "iss": self.url,
            "aud": audience,
            "jti": secrets.token_hex(16),
            "iat": now,
            "nbf": now - 5,
            "exp": now + int(self.lifetime if lifetime is None else lifetime),
        }
        return jwt.encode(usual | dict(claims), self.key, algorithm="RS256", headers={"kid": self.key_id})

    def verify(self, token: str, *, audience: str) -> dict[str, Any]:
        """Return the claims of a token that this issuer signed for `audience`. Raises jwt.PyJWTError."""
        if jwt.get_unverified_header(token).get("kid") != self.key_id:
            raise jwt.InvalidKeyError("unknown key")
        claims: dict[str, Any] = jwt.decode(
            token,
            key=self.key.public_key(),
            algorithms=["RS256"],
            issuer=self.url,
            audience=audience,
            options={"require": ["iss", "iat", "exp", "aud"], "strict_aud": True},
        )
        return claims

    def discovery(self) -> dict[str, Any]:
        """Return the document of `/.well-known/openid-configuration`."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/jwks",
            "subject_types_supported": ["public"],
            "response_types_supported": ["id_token"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["sub", "aud", "exp", "iat", "iss", "jti", "nbf"],
        }

    def keys(self) -> dict[str, Any]:
        """Return the key set (RFC 7517)."""
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [public | {"kid": self.key_id, "alg": "RS256", "use": "sig"}]}


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A job's right to ask the issuer for tokens: the bearer token that it shows, the claims that it gets."""

    claims: Claims
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    bearer: str = field(default_factory=lambda: f"request-{secrets.token_hex(16)}", repr=False)


def github_claims(
    *,
    repository: str = "octo/demo",
    workflow: str = "release.yml",
    ref: str = "refs/heads/main",
    environment: str = "",
    event_name: str = "push",
    called_workflow: str = "",
    **others: object,
) -> dict[str, Any]:
    """Return what GitHub says of a job; `called_workflow` is a reusable one: `owner/repo/.github/workflows/x.yml`."""
    owner = repository.partition("/")[0]
    own = f"{repository}/.github/workflows/{workflow}@{ref}"
    claims = {
        "sub": f"repo:{repository}:" + (f"environment:{environment}" if environment else f"ref:{ref}"),
        "ref": ref, "sha": SHA, "ref_type": "branch" if "/heads/" in ref else "tag", "ref_protected": "false",
        "repository": repository, "repository_id": "1296269", "repository_owner": owner,
        "repository_owner_id": "583231",
        "repository_visibility": "public", "run_id": "9001", "run_number": "7", "run_attempt": "1", "actor": owner,
        "actor_id": "583231", "workflow": "release", "head_ref": "", "base_ref": "", "event_name": event_name,
        "workflow_ref": own, "workflow_sha": SHA,
        "job_workflow_ref": f"{called_workflow}@{ref}" if called_workflow else own, "job_workflow_sha": SHA,
        "runner_environment": "github-hosted",
    }  # fmt: skip
    return claims | ({"environment": environment} if environment else {}) | others


def gitlab_claims(
    issuer: Issuer,
    *,
    project_path: str = "octo/demo",
    workflow: str = ".gitlab-ci.yml",
    ref: str = "main",
    environment: str = "",
    **others: object,
) -> dict[str, Any]:
    """Return what GitLab says of a job on the instance that is `issuer`."""
    namespace = project_path.rpartition("/")[0]
    host = issuer.url.partition("://")[2]
    claims = {
        "sub": f"project_path:{project_path}:ref_type:branch:ref:{ref}", "namespace_id": "72",
        "namespace_path": namespace,
        "project_id": "20", "project_path": project_path, "project_visibility": "public", "user_id": "1",
        "user_login": "octo", "user_email": "octo@example.org", "user_access_level": "owner", "pipeline_id": "574",
        "pipeline_source": "push", "job_id": "302", "ref": ref, "ref_type": "branch", "ref_path": f"refs/heads/{ref}",
        "ref_protected": "true", "runner_id": 1, "runner_environment": "gitlab-hosted", "sha": SHA,
        "ci_config_ref_uri": f"{host}/{project_path}//{workflow}@refs/heads/{ref}", "ci_config_sha": SHA,
    }  # fmt: skip
    return claims | ({"environment": environment, "environment_protected": "false"} if environment else {}) | others
