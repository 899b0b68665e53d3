"""An index in memory, with faults by chance; it is a Transport, so thousands of uploads take seconds.

publish/test_publish_faults.py compares it with the local index.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from manywheels.deliver.index.http import Auth, Form, NoResponse, Response, SealedFile

JSON = "application/vnd.pypi.simple.v1+json"


class FastClock:
    """A clock that moves in `sleep` only."""

    def __init__(self) -> None:
        self._now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float, /) -> None:
        self._now += seconds
        self.slept.append(seconds)


@dataclass
class FakeIndex:
    """An index: `stored` has sha256 by name, `faults` is the share of requests that fail.

    A new file is missing from up to `lag` of the next pages.
    """

    chance: random.Random = field(default_factory=lambda: random.Random(0))
    faults: float = 0.0
    lag: int = 0
    stored: dict[str, str] = field(default_factory=dict)
    uploads: list[str] = field(default_factory=list)
    answers: list[Response | NoResponse] = field(default_factory=list)  # given to the next uploads, in this order
    _hidden: dict[str, int] = field(default_factory=dict)
    _pending: list[tuple[int, str, str]] = field(default_factory=list)  # after so many requests, this file is stored
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        with self._lock:
            self._work()
            if self.chance.random() < self.faults:
                if self.chance.random() < 0.5:
                    raise NoResponse("the connection was lost", arrived=True)
                return Response(status=503)
            if not with_body:
                return Response(status=200)
            files = [
                {"filename": name, "hashes": {"sha256": sha}} for name, sha in self.stored.items() if self._shown(name)
            ]
            if not files:
                return Response(status=404)
            return Response(status=200, headers={"content-type": JSON}, body=json.dumps({"files": files}).encode())

    def _shown(self, name: str) -> bool:
        left = self._hidden.get(name, 0)
        self._hidden[name] = max(left - 1, 0)
        return left == 0

    def post_json(self, url: str, content: Mapping[str, Any], *, timeout: float) -> Response:
        raise NotImplementedError

    def post_form(self, url: str, form: Form, *, auth: Auth, timeout: float, watch: Callable[[int], None]) -> Response:
        digest = hashlib.sha256()
        with form.path.open("rb") as stream:
            sealed = SealedFile(stream, form, watch)
            while not sealed.finished:
                digest.update(sealed.read(4096))
        with self._lock:
            self._work()
            self.uploads.append(form.path.name)
            if self.answers:
                scripted = self.answers.pop(0)
                if isinstance(scripted, NoResponse):
                    raise scripted
                return scripted
            return self._fault(form, digest.hexdigest()) or self._store(form.path.name, digest.hexdigest())

    def _fault(self, form: Form, sha256: str) -> Response | None:
        """Fail by chance: before the file is stored, after it, or while it is stored behind a gateway."""
        if self.chance.random() >= self.faults:
            return None
        if self.chance.random() < 0.2:
            self._pending.append((self.chance.randrange(40), form.path.name, sha256))
            return Response(status=self.chance.choice([502, 503, 504]))
        if self.chance.random() < 0.5:
            self._store(form.path.name, sha256)
        elif self.chance.random() < 0.3:
            raise NoResponse("no server answers at this address", arrived=False)
        elif self.chance.random() < 0.3:
            return Response(status=429, headers={"retry-after": str(self.chance.randrange(5))})
        if self.chance.random() < 0.5:
            raise NoResponse("the connection was lost", arrived=True)
        return Response(status=self.chance.choice([500, 502, 503, 504]))

    def finish(self) -> None:
        """Store files that are under way behind a gateway that has responded already."""
        while self._pending:
            self._work()

    def _work(self) -> None:
        due = [entry for entry in self._pending if entry[0] == 0]
        self._pending = [(left - 1, name, sha256) for left, name, sha256 in self._pending if left]
        for _, name, sha256 in due:
            self._store(name, sha256)

    def _store(self, name: str, sha256: str) -> Response:
        if name not in self.stored:
            self.stored[name] = sha256
            self._hidden[name] = self.chance.randrange(self.lag + 1)
        if self.stored[name] == sha256:
            return Response(status=200)
        return Response(status=400, reason=f"File already exists ({name!r}).")
