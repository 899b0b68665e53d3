"""The CI job's identity: tokens, requested by the library `id`, and kept secret."""

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
    """The job's identity, by the CI of `environment`; `id` itself reads the process's."""

    retries: RetryPolicy
    secrets: Secrets
    environment: Mapping[str, str]

    @property
    def renewable(self) -> bool:
        """Whether the CI issues further identity tokens: GitHub does."""
        return self.environment.get("GITHUB_ACTIONS") == "true"

    @property
    def permitted(self) -> bool:
        """Whether this is a GitHub job with `id-token: write`."""
        return self.renewable and bool(self.environment.get(_BEARER))

    def token(self, audience: str) -> str | None:
        """Return None without a CI; GitHub is asked several times.

        Raises the library's AmbientCredentialError.
        """
        from id import AmbientCredentialError

        self.secrets.hide(self.environment.get(_BEARER, ""))  # the library quotes the issuer's response

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
        """Ask once, in a thread: the library's requests have no overall deadline."""
        from id import AmbientCredentialError, detect_credential

        limit = self.retries.timeout(table("publish")["ask-timeout"])
        try:
            return within(limit, lambda: detect_credential(audience), lambda: self.retries.cancelled)
        except TimeoutError:
            raise AmbientCredentialError(f"the CI gave no identity token within {limit:.0f} s") from None


@dataclass(kw_only=True)
class Secrets:
    """The run's tokens, which GitHub's runner masks in the log."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _known: list[str] = field(default_factory=list, repr=False)

    def keep(self, token: str) -> str:
        """Register a token, have it masked, and return it."""
        if token and token not in self._known:
            self._known.append(token)
            if self.environment.get("GITHUB_ACTIONS") == "true":
                printing.write_lines("".join(f"{mask}\n" for mask in masks([token])), self.stream)
        return token

    def hide(self, token: str) -> None:
        """Register a token that the runner masks already."""
        if token and token not in self._known:
            self._known.append(token)

    def redact(self, text: str) -> str:
        """The tokens are removed in any encoding."""
        return redacted(text, self._known)

    @contextmanager
    def redacting_errors(self) -> Iterator[None]:
        """Remove the tokens from any ManywheelsError that leaves the block."""
        try:
            yield
        except ManywheelsError as error:
            error.message, error.remedy = self.redact(error.message), self.redact(error.remedy)
            raise
