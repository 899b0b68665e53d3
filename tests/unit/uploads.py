"""An upload as by the command, with a clock that moves in `sleep` only."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from manywheels.core.cancellation import Cancellation
from manywheels.deliver.index.http import Transport, index_retries
from manywheels.deliver.index.identity import Secrets
from manywheels.deliver.index.ledger import Ledger, UploadState
from manywheels.deliver.index.publish import first_entries
from manywheels.deliver.index.simple_api import Index, Presence, addresses
from manywheels.deliver.index.trusted import ApiToken
from manywheels.deliver.index.upload import Progress, Sender, UploadContext
from manywheels.verify.distributions import Distribution
from manywheels.wheels.output import LEDGER
from unit.fakeindex import FastClock

URL = "https://index.example/legacy/"


class Silence:
    """A progress that shows nothing."""

    def began(self, file: Distribution) -> None: ...
    def sent(self, file: Distribution, count: int) -> None: ...
    def waits(self, file: Distribution, reason: str) -> None: ...
    def ended(self, file: Distribution, state: UploadState, reason: str) -> None: ...


class Upload:
    """An upload of files to an index; `clock` records its pauses."""

    def __init__(
        self,
        index: Transport,
        files: Sequence[Distribution],
        credentials: ApiToken | None = None,
        *,
        url: str = URL,
        rules: str = "pypi",
        chance: random.Random | None = None,
    ) -> None:
        self.clock, self.cancellation, self.files = FastClock(), Cancellation(), files
        self.folder = files[0].path.parent
        retries = index_retries(self.cancellation, self.clock)
        if chance is not None:
            retries = replace(retries, jitter=chance)
        self.index = Index(addresses(url, rules=rules), index, retries)
        seen = {file.name: self.index.presence(file) for file in files}
        self.to_send = [file for file in files if seen[file.name] not in {Presence.SAME, Presence.NO_DIGEST}]
        self.stops = bool({Presence.OTHER, Presence.UNAVAILABLE} & set(seen.values()))  # as the preflight does
        self.ledger = Ledger(self.folder, url, first_entries(files, seen))
        self.context = UploadContext(
            transport=index, index=self.index, credentials=credentials or ApiToken(user="__token__", password="secret"),
            retries=retries, secrets=Secrets(environment={}), cancellation=self.cancellation,
        )  # fmt: skip

    def send(self, progress: Progress | None = None) -> dict[str, str]:
        """Send what is missing; return the states that the ledger on disk has."""
        self.sender = Sender(self.context, self.ledger, progress or Silence())
        self.sender.send(self.to_send)
        return self.states()

    def states(self) -> dict[str, str]:
        content: dict[str, Any] = json.loads((self.folder / LEDGER).read_text("utf-8"))
        return {entry["name"]: entry["state"] for entry in content["files"]}

    def reason(self) -> str:
        return self.ledger.entries[0].reason


def check(stored: Mapping[str, str], upload: Upload) -> None:
    """Check that the ledger on disk is correct."""
    wanted = {file.name: file.sha256 for file in upload.files}
    for name, state in upload.states().items():
        found = stored.get(name)
        if state in {"uploaded", "identical"}:
            assert found == wanted[name], f"{name}: {state}"
        elif state == "not sent":
            assert found != wanted[name], f"{name}: {state}"
        elif state == "conflict":
            assert found not in {None, wanted[name]}, f"{name}: {state}"
