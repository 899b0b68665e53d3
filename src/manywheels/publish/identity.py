"""The identity of the CI's job: tokens that say who this is, found by the library `id` and kept secret here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from manywheels.data import table
from manywheels.publish.pauses import Pauses
from manywheels.publish.secrets import Secrets
from manywheels.waiting import within

_ATTEMPTS: Final = 4
_BEARER: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What the job can prove to others. `environment` tells which CI this is; `id` reads the process's own."""

    pauses: Pauses
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
        for number in range(_ATTEMPTS):
            try:
                return self.secrets.keep(self._detect(audience) or "") or None
            except AmbientCredentialError:
                last = number == _ATTEMPTS - 1
                if last or not self.permitted or not self.pauses.take(self.pauses.length(number)):
                    raise
        raise AssertionError("unreachable")  # pragma: no cover

    def _detect(self, audience: str) -> str | None:
        """Ask once. The library's own requests have no clock over all of an answer, so it is left behind in time."""
        from id import AmbientCredentialError, detect_credential

        limit = self.pauses.limit(table("publish")["ask-timeout"])
        try:
            return within(limit, lambda: detect_credential(audience), lambda: self.pauses.cancelled)
        except TimeoutError:
            raise AmbientCredentialError(f"the CI gave no identity token within {limit:.0f} s") from None
