"""The identity of the CI's job: tokens that say who this is, found by the library `id` and kept secret here."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, TextIO

from manywheels.core import printing
from manywheels.core.github_commands import masks
from manywheels.core.interruptible import within
from manywheels.core.redaction import redacted
from manywheels.core.retry import RetriesExhausted, RetryPolicy, TransientError
from manywheels.data import table
from manywheels.errors import ManywheelsError

_BEARER: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the job can prove to others. `environment` tells which CI this is; `id` reads the process's own."""

    retries: RetryPolicy
    secrets: Secrets
    environment: Mapping[str, str]

    @property
    def renewable(self) -> bool:
        """Whether the CI issues further identity tokens: GitHub does."""
        return self.environment.get("GITHUB_ACTIONS") == "true"

    @property
    def permitted(self) -> bool:
        """Whether GitHub lets this job ask for tokens: with `id-token: write`."""
        return self.renewable and bool(self.environment.get(_BEARER))

    def token(self, audience: str) -> str | None:
        """Return a token for an audience, None where there is no CI; a CI that can be asked again, is.

        Raises AmbientCredentialError of the library `id`.
        """
        from id import AmbientCredentialError

        self.secrets.hide(self.environment.get(_BEARER, ""))  # the library quotes what an issuer answers

        def detect() -> str | None:
            try:
                return self.secrets.keep(self._detect(audience) or "") or None
            except AmbientCredentialError as error:
                if not self.permitted:
                    raise
                raise TransientError(str(error)) from None

        try:
            return self.retries.call(detect, attempts=table("publish")["ask-attempts"])
        except RetriesExhausted as error:
            raise AmbientCredentialError(error.reason) from None

    def _detect(self, audience: str) -> str | None:
        """Ask once. The library's own requests have no clock over all of an answer, so it is left behind in time."""
        from id import AmbientCredentialError, detect_credential

        limit = self.retries.timeout(table("publish")["ask-timeout"])
        try:
            return within(limit, lambda: detect_credential(audience), lambda: self.retries.cancelled)
        except TimeoutError:
            raise AmbientCredentialError(f"the CI gave no identity token within {limit:.0f} s") from None


@dataclass(kw_only=True)
class Secrets:
    """The tokens of this run. GitHub's runner is told of each, and masks it in everything that is logged after."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _known: list[str] = field(default_factory=list, repr=False)

    def keep(self, token: str) -> str:
        """Remember a token, have it masked, and return it."""
        if token and token not in self._known:
            self._known.append(token)
            if self.environment.get("GITHUB_ACTIONS") == "true":
                printing.write("".join(f"{mask}\n" for mask in masks([token])), self.stream)
        return token

    def hide(self, token: str) -> None:
        """Remember a token that the runner itself has made, and masks."""
        if token and token not in self._known:
            self._known.append(token)

    def cleaned(self, text: str) -> str:
        """Return a text, as of a server, without the tokens in it, in whatever form."""
        return redacted(text, self._known)

    @contextmanager
    def kept_out(self) -> Iterator[None]:
        """Take the tokens out of whatever error leaves the block: servers' words and addresses are in many."""
        try:
            yield
        except ManywheelsError as error:
            error.message, error.remedy = self.cleaned(error.message), self.cleaned(error.remedy)
            raise
