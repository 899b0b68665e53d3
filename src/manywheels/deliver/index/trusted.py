"""Trusted publishing: the CI's identity is exchanged for an upload token that is valid for some minutes.

The protocol: `GET /_/oidc/audience`, an identity token from the CI for that audience (by the library `id`), and
`POST /_/oidc/mint-token`. An identity token is spent by its first use: GitHub issues others,
GitLab has one for each job.
"""

from __future__ import annotations

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
_USE_A_TOKEN: Final = "or give an API token in the variable MANYWHEELS_PASSWORD"  # noqa: S105 - a remedy


class Credentials(Protocol):
    """What uploads are authorised with."""

    @property
    def renewable(self) -> bool:
        """Whether `renew` can help against a token that is refused."""
        ...

    @property
    def valid_until(self) -> float | None:
        """The moment of the clock at which they end for good; None for never."""
        ...

    def current(self) -> Auth:
        """Return user and password for the next upload. Raises PublishError."""
        ...

    def renew(self, refused: Auth) -> None:
        """Let `current` return others than those that were refused. Raises PublishError."""
        ...


@dataclass(frozen=True, kw_only=True)
class ApiToken:
    """A user and password, or `__token__` and an API token, that somebody made by hand."""

    user: str
    password: str = field(repr=False)
    renewable: bool = False
    valid_until: float | None = None

    def current(self) -> Auth:
        """Return them."""
        return self.user, self.password

    def renew(self, refused: Auth) -> None:
        """Do nothing: there are no others."""


@dataclass(frozen=True, kw_only=True)
class _Token:
    value: str = field(repr=False)
    until: float


class TrustedPublisher:
    """The upload tokens of trusted publishing: minted when needed, renewed where the CI can; for several threads."""

    def __init__(self, upload: str, transport: Transport, identity: Identity) -> None:
        self._upload, self._oidc = upload, f"{origin(upload)}/_/oidc"
        self._transport, self._ci = transport, identity
        self._retries, self._secrets = identity.retries, identity.secrets
        self._audience: str | None = None
        self._token: _Token | None = None
        self._fixed: str | None = None  # the one identity token of a CI that issues no further ones
        self._lock = threading.Lock()

    @property
    def renewable(self) -> bool:
        """Whether the CI issues further identity tokens: GitHub does."""
        return self._ci.renewable

    @property
    def valid_until(self) -> float | None:
        """When the only token there is ends; None before it is minted, and where there will be others."""
        return self._token.until if self._token and not self.renewable else None

    def identify(self) -> Claims:
        """Return the claims of this job's identity, without minting: what can be seen to fail fails here.

        Raises NoIdentity, IndexUnreachable and UnsafeAddress.
        """
        return claimed.read_claims(self._identity())

    def current(self) -> Auth:
        """Return `__token__` and an upload token; mints one where there is none, or too little time is left."""
        with self._lock:
            now = self._retries.now()
            if self._token is None or (
                self.renewable and self._token.until - now < table("publish")["token"]["renew-before"]
            ):
                self._token = self._mint()
            return USER, self._token.value

    def renew(self, refused: Auth) -> None:
        """Forget the token that was refused, unless another thread has done so."""
        with self._lock:
            if self.renewable and self._token and self._token.value == refused[1]:
                self._token = None

    def _mint(self) -> _Token:
        """Exchange an identity token. Where an answer is lost, another is tried: of GitHub a fresh one."""
        used: list[str] = []

        def exchange() -> Response:
            used.append(self._identity())
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.post_json(f"{self._oidc}/mint-token", {"token": used[-1]}, timeout=limit)

        try:
            answer = persist(exchange, self._retries)
            if self.renewable and _SPENT in dict(_errors(answer)):
                answer = persist(exchange, self._retries)
        except NoResponse as fault:
            raise IndexUnreachable(
                f"The index did not mint an upload token: {fault}.",
                remedy="Run the job again when the index answers; a new job has a new identity.",
            ) from None
        return self._accept(answer, used[-1], is_first=len(used) == 1)

    def _accept(self, answer: Response, identity: str, *, is_first: bool) -> _Token:
        _require_no_redirect(answer)
        if answer.status == HTTPStatus.OK:
            found = _object(answer)
            token, expires = found.get("token"), found.get("expires")
            if isinstance(token, str) and token:
                return _Token(value=self._secrets.keep(token), until=self._end_of(answer, expires))
            raise IndexUnreachable(
                "The index answered the exchange of the identity with something else than a token.",
                remedy=f"Look whether `repository-url` is the index's upload address, {_USE_A_TOKEN}.",
            )
        raise self._refusal(answer, identity, is_first=is_first)

    def _end_of(self, answer: Response, expires: object) -> float:
        """Return the moment at which a token ends, by this machine's monotonic clock and the server's own time."""
        longest: float = table("publish")["token"]["lifetime"]
        now = server_time(answer.headers)
        left = longest
        if isinstance(expires, int | float) and now is not None:
            left = max(min(expires, now + longest), now) - now  # in this order: no float holds the largest integers
        return self._retries.now() + left

    def _refusal(self, answer: Response, identity: str, *, is_first: bool) -> MintRefused:
        known = table("publish")["mint"]
        errors = _errors(answer)
        codes = [code for code, _ in errors]
        if _SPENT in codes and not is_first:
            return MintRefused(
                "The answer with the upload token was lost, and the job's identity token can be used only once.",
                remedy="Run the job again: it gets a new identity token. Nothing has been uploaded.",
            )
        lines = claimed.explain(errors, claimed.read_claims(identity), known) or [f"it answers {answer.status}"]
        cures = dict.fromkeys(known[code]["cure"] for code in codes if code in known)
        return MintRefused(
            "\n".join(
                [
                    "The index did not exchange the CI's identity for an upload token:",
                    *map(self._secrets.cleaned, lines),
                ]
            ),
            remedy=" ".join(cures) or "Look at the publisher in the project's settings on the index.",
        )

    def _identity(self) -> str:
        from id import AmbientCredentialError

        if self._fixed is None:
            audience = self._ask_audience()
            try:
                token = self._ci.token(audience)
            except AmbientCredentialError as error:
                raise self._no_identity(audience, str(error)) from None
            if token is None:
                raise NoIdentity(
                    "There is nothing to authorise the upload with: no API token, and no CI with trusted publishing.",
                    remedy="Give an API token in the variable MANYWHEELS_PASSWORD, or publish from "
                    "GitHub Actions or GitLab CI.",
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
            message = f"The CI gave no identity token: {self._secrets.cleaned(fault)}."
            remedy = f"Run the job again, {_USE_A_TOKEN}."
        return NoIdentity(message, remedy=remedy)

    def _ask_audience(self) -> str:
        if self._audience is None:
            answer = self._get_audience()
            _require_no_redirect(answer)
            audience = _object(answer).get("audience") if answer.status == HTTPStatus.OK else None
            if not isinstance(audience, str) or not audience:
                problem = _OFF.get(answer.status, f"does not say for whom the identity must be ({answer.status})")
                raise NoIdentity(
                    f"There is nothing to authorise the upload with: no API token, and the index {problem}.",
                    remedy="Give an API token in the variable MANYWHEELS_PASSWORD.",
                )
            self._audience = require_own(audience, self._upload)
        return self._audience

    def _get_audience(self) -> Response:
        def request() -> Response:
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.get(f"{self._oidc}/audience", accept="application/json", auth=None, timeout=limit)

        try:
            return persist(request, self._retries)
        except NoResponse as fault:
            raise IndexUnreachable(
                f"The index at `{self._oidc}` does not answer: {fault}.", remedy="Run the job again when it does."
            ) from None


def _require_no_redirect(answer: Response) -> None:
    if answer.redirects:
        raise redirected(answer)


def redirected(answer: Response) -> UnsafeAddress:
    """Return the error for an answer that sends the client elsewhere."""
    return UnsafeAddress(
        f"The index sends uploads elsewhere (`{answer.status}`, to {_place(answer)}); the token was not sent there.",
        remedy="Give the address that the index itself names for uploads in `repository-url`.",
    )


def _place(answer: Response) -> str:
    """Return where an answer leads to: only the host, for the rest may hold what nobody else should see."""
    try:
        place = origin(answer.headers.get("location", ""))
    except ValueError:
        return "an address that is none"
    return f"`{place}`" if place != "://" else "another path"


def _object(answer: Response) -> Mapping[str, object]:
    try:
        found = parse_json(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _errors(answer: Response) -> list[tuple[str, str]]:
    found = _object(answer).get("errors")
    if not isinstance(found, list):
        return []
    return [(str(e.get("code", "?")), str(e.get("description", ""))) for e in found if isinstance(e, dict)]
