"""Scripted faults: which requests something goes wrong with, and what."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Another answer than the right one. With `after`, the request is carried out first: stored, or its `jti` spent.

    With `early` the answer comes before the body is read, as from a proxy; the file's name is then not known.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    after: bool = False
    early: bool = False


@dataclass(frozen=True, kw_only=True)
class Drop:
    """No answer: the socket is closed. With `after`, the request is carried out first.

    With `received` it is closed when so many bytes of the body have come; the file's name is then not known.
    """

    after: bool = False
    received: int | None = None

    @property
    def early(self) -> bool:
        return self.received is not None


@dataclass(frozen=True, kw_only=True)
class Delay:
    """The right answer, but later; in seconds."""

    seconds: float = field(kw_only=False)
    early: ClassVar[bool] = False


def redirect(location: str, status: int = 307) -> Answer:
    """Return the answer that sends the client elsewhere."""
    return Answer(status=status, headers={"Location": location})


def too_many(retry_after: str | None = None) -> Answer:
    """Return the answer 429; `retry_after` is seconds, or a date."""
    return Answer(status=429, headers={"Retry-After": retry_after} if retry_after is not None else {})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What goes wrong with the requests that match: `method`, and globs over the path and the uploaded file's name.

    The first `skip` matching requests go well, then `times` of them do not; None is all the others.
    """

    action: Answer | Drop | Delay = field(kw_only=False)
    method: str = "*"
    path: str = "*"
    file: str = "*"
    skip: int = 0
    times: int | None = 1

    def matches(self, method: str, path: str, file: str) -> bool:
        """Whether it is about this request."""
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path) and fnmatchcase(file, self.file)


@dataclass
class _Scripted:
    fault: Fault
    seen: int = 0


class Script:
    """The faults to come, in order; the first that matches a request takes it. May be used from several threads."""

    def __init__(self) -> None:
        self._faults: list[_Scripted] = []
        self._lock = threading.Lock()

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._faults += [_Scripted(fault) for fault in faults]

    def take(self, method: str, path: str, file: str = "", *, early: bool = False) -> Answer | Drop | Delay | None:
        """Return what goes wrong with this request, if anything does; `early`, before its body is read."""
        with self._lock:
            for entry in self._faults:
                fault = entry.fault
                if fault.action.early != early or not fault.matches(method, path, file):
                    continue
                entry.seen += 1
                past = entry.seen - fault.skip
                if past > 0 and (fault.times is None or past <= fault.times):
                    return fault.action
        return None
