"""Trusted publishing: the CI's identity token is exchanged for a short-lived upload token.

`GET /_/oidc/audience`, an identity token for that audience (by the library `id`), `POST /_/oidc/mint-token`. An
identity token can be used once: GitHub issues more, GitLab one for each job.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from manywheels.core.documents import parse_json
from manywheels.core.retry import server_time
from manywheels.data import table
from manywheels.deliver.index import claims as claimed
from manywheels.deliver.index.audiences import require_own
from manywheels.deliver.index.claims import Claims
from manywheels.deliver.index.http import Auth, NoResponse, Response, Transport, origin, persist
from manywheels.deliver.index.identity import Identity
from manywheels.errors import IndexUnreachable, MintRefused, NoIdentity, UnsafeAddress

USER: Final = "__token__"
_SPENT: Final = "invalid-reuse-token"
_OFF: Final[Mapping[int, str]] = {
    HTTPStatus.FORBIDDEN: "has trusted publishing switched off",
    HTTPStatus.NOT_FOUND: "has no trusted publishing",
}
_USE_A_TOKEN: Final = "or set an API token in MANYWHEELS_PASSWORD"  # noqa: S105 - a remedy


class Credentials(Protocol):
    """The credentials of uploads."""

    @property
    def renewable(self) -> bool:
        """Whether `renew` can replace a refused token."""
        ...

    @property
    def valid_until(self) -> float | None:
        """The clock's time at which they expire for good; None for never."""
        ...

    @property
    def described(self) -> str:
        """How they were sent, in a clause without secrets: with which user, and where they come from."""
        ...

    def current(self) -> Auth:
        """Return user and password for the next upload.

        Raises IndexUnreachable, MintRefused, NoIdentity or UnsafeAddress.
        """
        ...

    def renew(self, refused: Auth) -> None:
        """Make `current` return others than the refused ones."""
        ...


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A user and password, or `__token__` and an API token; `source` is where the password comes from."""

    user: str
    password: str = field(repr=False)
    source: str = "the caller"
    renewable: bool = False
    valid_until: float | None = None

    def current(self) -> Auth:
        return self.user, self.password

    @property
    def described(self) -> str:
        # A token in the place of the user's name is not shown.
        user = f"the user `{self.user}`" if re.fullmatch(r"[\w.@+-]{1,40}", self.user) else "another user"
        return f"with {user} and the password from {self.source}"

    def renew(self, refused: Auth) -> None:
        """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class _Token:
    value: str = field(repr=False)
    until: float


class TrustedPublisher:
    """Upload tokens of trusted publishing, minted when needed; for several threads."""

    def __init__(self, upload: str, transport: Transport, identity: Identity) -> None:
        self._upload, self._oidc = upload, f"{origin(upload)}/_/oidc"
        self._transport, self._ci = transport, identity
        self._retries, self._secrets = identity.retries, identity.secrets
        self._audience: str | None = None
        self._token: _Token | None = None
        self._fixed: str | None = None  # the identity token of a CI that issues no more
        self._lock = threading.Lock()

    @property
    def renewable(self) -> bool:
        return self._ci.renewable

    @property
    def valid_until(self) -> float | None:
        """When the upload token expires, if not renewable; None before it is minted."""
        return self._token.until if self._token and not self.renewable else None

    @property
    def described(self) -> str:
        return "with a token of trusted publishing"

    def identify(self) -> Claims:
        """Return the job's identity, without minting a token. Raises NoIdentity, IndexUnreachable and UnsafeAddress."""
        return claimed.read_claims(self._identity())

    def current(self) -> Auth:
        """Mint a new upload token if it is missing or about to expire."""
        with self._lock:
            now = self._retries.now()
            if self._token is None or (
                self.renewable and self._token.until - now < table("publish")["token"]["renew-before"]
            ):
                self._token = self._mint()
            return USER, self._token.value

    def renew(self, refused: Auth) -> None:
        """Drop the refused token, unless another thread has replaced it."""
        with self._lock:
            if self.renewable and self._token and self._token.value == refused[1]:
                self._token = None

    def _mint(self) -> _Token:
        """Exchange an identity token; after a lost response again, on GitHub with a new one."""
        used: list[str] = []

        def exchange() -> Response:
            used.append(self._identity())
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.post_json(f"{self._oidc}/mint-token", {"token": used[-1]}, timeout=limit)

        try:
            response = persist(exchange, self._retries)
            if self.renewable and _SPENT in dict(_errors(response)):
                response = persist(exchange, self._retries)
        except NoResponse as fault:
            raise IndexUnreachable(
                f"The index did not mint an upload token: {fault}.",
                remedy=fault.cure or "Run the job again when the index is up; a new job has a new identity token.",
            ) from None
        return self._accept(response, used[-1], is_first=len(used) == 1)

    def _accept(self, response: Response, identity: str, *, is_first: bool) -> _Token:
        _require_no_redirect(response)
        if response.status == HTTPStatus.OK:
            found = _object(response)
            token, expires = found.get("token"), found.get("expires")
            if isinstance(token, str) and token:
                return _Token(value=self._secrets.keep(token), until=self._expiry(response, expires))
            raise IndexUnreachable(
                "The index did not return a token in exchange for the identity token.",
                remedy=f"Check that `repository-url` is the index's upload address, {_USE_A_TOKEN}.",
            )
        raise self._refusal(response, identity, is_first=is_first)

    def _expiry(self, response: Response, expires: object) -> float:
        """Return the expiry by the monotonic clock; `expires` is by the server's."""
        longest: float = table("publish")["token"]["lifetime"]
        now = server_time(response.headers)
        left = longest
        if isinstance(expires, int | float) and now is not None:
            left = max(min(expires, now + longest), now) - now  # bounded first: a huge integer is no float
        return self._retries.now() + left

    def _refusal(self, response: Response, identity: str, *, is_first: bool) -> MintRefused:
        known = table("publish")["mint"]
        errors = _errors(response)
        codes = [code for code, _ in errors]
        if _SPENT in codes and not is_first:
            return MintRefused(
                "The response with the upload token was lost, and the job's identity token can be used only once.",
                remedy="Run the job again: it gets a new identity token. Nothing has been uploaded.",
            )
        causes = [claimed.cause(code, description, known) for code, description in errors]
        lines = claimed.explain_refusal(causes, claimed.read_claims(identity)) or [f"it answers {response.status}"]
        remedies = dict.fromkeys(found.cure for found in causes if found.cure)
        return MintRefused(
            "\n".join(
                [
                    "The index did not exchange the CI's identity for an upload token:",
                    *map(self._secrets.redact, lines),
                ]
            ),
            remedy=" ".join(remedies) or "Check the publisher in the project's settings on the index.",
        )

    def _identity(self) -> str:
        from id import AmbientCredentialError

        if self._fixed is None:
            audience = self._find_audience()
            try:
                token = self._ci.token(audience)
            except AmbientCredentialError as error:
                raise self._no_identity(audience, str(error)) from None
            if token is None:
                raise NoIdentity(
                    "There are no credentials for the upload: no API token, and no CI with trusted publishing.",
                    remedy="Set an API token in MANYWHEELS_PASSWORD, or publish from GitHub Actions or GitLab CI.",
                )
            if self.renewable:
                return token
            self._fixed = token
        return self._fixed

    def _no_identity(self, audience: str, fault: str) -> NoIdentity:
        if self.renewable and not self._ci.permitted:
            message, remedy = claimed.missing_on_github(self._ci.environment)
        elif self._ci.environment.get("GITLAB_CI") and "not found" in fault:
            message, remedy = claimed.missing_on_gitlab(audience)
        else:
            message = f"The CI gave no identity token: {self._secrets.redact(fault)}."
            remedy = f"Run the job again, {_USE_A_TOKEN}."
        return NoIdentity(message, remedy=remedy)

    def _find_audience(self) -> str:
        if self._audience is None:
            response = self._request_audience()
            _require_no_redirect(response)
            audience = _object(response).get("audience") if response.status == HTTPStatus.OK else None
            if not isinstance(audience, str) or not audience:
                problem = _OFF.get(
                    response.status, f"does not name the audience of identity tokens ({response.status})"
                )
                raise NoIdentity(
                    f"There are no credentials for the upload: no API token, and the index {problem}.",
                    remedy="Set an API token in MANYWHEELS_PASSWORD.",
                )
            self._audience = require_own(audience, self._upload)
        return self._audience

    def _request_audience(self) -> Response:
        def request() -> Response:
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.get(f"{self._oidc}/audience", accept="application/json", auth=None, timeout=limit)

        try:
            return persist(request, self._retries)
        except NoResponse as fault:
            raise IndexUnreachable(
                f"The index at `{self._oidc}` does not answer: {fault}.",
                remedy=fault.cure or "Run the job again when it is up.",
            ) from None


def _require_no_redirect(response: Response) -> None:
    if response.redirects:
        raise redirected(response)


def redirected(response: Response) -> UnsafeAddress:
    return UnsafeAddress(
        f"The index redirects uploads (`{response.status}`, to {_target_of(response)}); the token was not sent there.",
        remedy="Set `repository-url` to the upload address that the index documents.",
    )


def _target_of(response: Response) -> str:
    """Return the host of a redirect; the rest may have secrets."""
    try:
        place = origin(response.headers.get("location", ""))
    except ValueError:
        return "an invalid address"
    return f"`{place}`" if place != "://" else "another path"


def _object(response: Response) -> Mapping[str, object]:
    try:
        found = parse_json(response.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _errors(response: Response) -> list[tuple[str, str]]:
    found = _object(response).get("errors")
    if not isinstance(found, list):
        return []
    return [(str(e.get("code", "?")), str(e.get("description", ""))) for e in found if isinstance(e, dict)]
