"""GitHub's cache of a repository's workflows, version 2: one file kept from run to run, under a key.

As actions/toolkit's client (packages/cache), but for the file itself, without a tar archive around it. Nothing here
fails a run: what cannot be had is a `Skipped` with its reason. A file is as trustworthy as every job whose entries
this one can read: what it holds must be checked by whoever reads it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from manywheels.core.files import write_atomically
from manywheels.core.regular_files import open_regular
from manywheels.core.retry import RetriesExhausted, RetryPolicy, TransientError
from manywheels.core.text import size as format_size
from manywheels.deliver.results_service import Calls, Refused, Server, find_server, is_quota, text_of
from manywheels.errors import ManywheelsError

if TYPE_CHECKING:
    import requests

    from manywheels.core.cancellation import Cancellation

_SALT: Final = "1.0"  # actions/toolkit's
_RANGE: Final = 32 << 20  # bytes asked for at once: what a lost connection repeats
_LARGEST: Final = 4 << 30  # bytes of an entry
_RESTORE_LIMIT, _SAVE_LIMIT = 300.0, 900.0  # seconds
_ATTEMPTS: Final = 3  # of each request: without the cache, a run is only slower
_MOST_KEYS: Final = 10  # actions/toolkit's limits, also of the next two
_LONGEST_KEY: Final = 512
_SEPARATOR: Final = ","
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_NO_READ: Final = frozenset({"none", "write-only"})  # values of ACTIONS_CACHE_MODE
_NO_WRITE: Final = frozenset({"none", "read"})
_EXISTS: Final = re.compile(r"already exists|another job|^$", re.IGNORECASE)
_DENIED: Final = re.compile(r"denied", re.IGNORECASE)  # `cache write denied: …`, `cache read denied: …`


class Why(StrEnum):
    """Why nothing was restored or saved."""

    NO_SERVICE = "no service"  # not in a job of GitHub's, or of a GitHub Enterprise Server's
    MISSING = "missing"  # no entry of these keys and this version
    EXISTS = "exists"  # an entry is never replaced
    DENIED = "denied"  # as to jobs of a fork's pull request
    QUOTA = "quota"
    TOO_LARGE = "too large"
    BAD_KEY = "bad key"
    FILE = "file"  # the local file cannot be read or written
    TIME = "time"  # the limit in seconds was over
    FAILED = "failed"  # the service or the connection, despite retries


# After 404 the server has no cache at all, or the entry is gone.
_STATUSES: Final = {401: Why.DENIED, 403: Why.DENIED, 404: Why.MISSING, 409: Why.EXISTS}


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """Nothing was restored or saved. `reason` is a clause with what the service said, not safe to print as it is."""

    why: Why
    reason: str

    @property
    def is_usual(self) -> bool:
        """Whether this happens in runs where all is as it should be."""
        return self.why in {Why.NO_SERVICE, Why.MISSING, Why.EXISTS, Why.DENIED}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A file was restored or saved: its entry's key, as the service tells it, and its size in bytes."""

    key: str
    size: int


class _Skip(Exception):
    def __init__(self, why: Why, reason: str) -> None:
        super().__init__(reason)
        self.skipped = Skipped(why=why, reason=reason)


def cache_version(paths: Sequence[str], compression: str = "") -> str:
    """Return the sha256 (hex) that entries must share beside the key; make it of what the file is and its format.

    The formula of actions/toolkit's `getCacheVersion`. That always names a compression, so without one an entry is
    never taken for one of actions/cache, nor the other way round.
    """
    components = [*paths, *([compression] if compression else []), _SALT]
    return hashlib.sha256("|".join(components).encode()).hexdigest()


def open_cache(
    environment: Mapping[str, str], cancellation: Cancellation, say: Callable[[str], None]
) -> ActionsCache | Skipped:
    """Return the cache of this job, or why there is none; `say` gets a line for each retry.

    ACTIONS_CACHE_SERVICE_V2 does not count: the runner sets it for JavaScript actions only. As in actions/toolkit, any
    GITHUB_SERVER_URL but github.com's and *.ghe.com's is a GitHub Enterprise Server, which has version 1 alone.
    """
    server = find_server(environment)
    if server is None:
        return Skipped(why=Why.NO_SERVICE, reason="ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN are not set")
    host = urlsplit(environment.get("GITHUB_SERVER_URL") or "https://github.com").hostname or ""
    if host != "github.com" and not host.endswith((".ghe.com", ".localhost")):
        return Skipped(why=Why.NO_SERVICE, reason=f"{host} is a GitHub Enterprise Server, without this cache")
    retries = RetryPolicy(cancellation=cancellation, attempts=_ATTEMPTS)
    mode = environment.get("ACTIONS_CACHE_MODE", "").strip().lower()
    return ActionsCache(server=server, say=say, retries=retries, mode=mode)


@dataclass(frozen=True, kw_only=True)
class ActionsCache:
    """A client of the service. `mode` is ACTIONS_CACHE_MODE, what the workflow allows; `largest` in bytes."""

    server: Server
    say: Callable[[str], None]
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    mode: str = ""
    largest: int = _LARGEST

    def restore(
        self, key: str, prefixes: Sequence[str], version: str, into: Path, *, limit: float = _RESTORE_LIMIT
    ) -> Kept | Skipped:
        """Download the entry of a key, else the newest whose key begins with it or a prefix, in their order.

        The file takes its place whole, or `into` stays as it is. `limit` is seconds, for all of it. Raises Cancelled.
        """

        def work(calls: Calls) -> Kept:
            _require_keys(key, *prefixes)
            request = {"key": key, "restore_keys": list(prefixes), "version": version}
            found = calls.call("GetCacheEntryDownloadURL", request, may_fail=True)
            if found.get("ok") is not True:
                raise _Skip(Why.MISSING, "there is no entry yet")
            matched, address = text_of(found, "matched_key"), calls.address_of(found, "signed_download_url")
            with write_atomically(into) as file:
                size = self._download(calls, address, file)
            return Kept(key=matched, size=size)

        if self.mode in _NO_READ:
            return Skipped(why=Why.DENIED, reason=f"ACTIONS_CACHE_MODE is {self.mode}")
        return self._do(work, limit)

    def save(self, key: str, version: str, path: Path, *, limit: float = _SAVE_LIMIT) -> Kept | Skipped:
        """Upload a regular file, which must not change meanwhile, as a new entry.

        `limit` is seconds, for all of it. Raises Cancelled.
        """

        def work(calls: Calls) -> Kept:
            _require_keys(key)
            with open_regular(path, largest=self.largest, links=False) as file:
                size = os.fstat(file.fileno()).st_size
                if not size:
                    raise _Skip(Why.FILE, f"`{path}` is empty")
                entry = {"key": key, "version": version}
                reserved = _success(calls, calls.call("CreateCacheEntry", entry, may_fail=True))
                calls.send(calls.address_of(reserved, "signed_upload_url"), file, "application/octet-stream", _ignore)
                if file.tell() != size:
                    raise _Skip(Why.FILE, f"`{path}` changed while it was sent")
            finished = {**entry, "size_bytes": str(size)}
            _success(calls, calls.call("FinalizeCacheEntryUpload", finished, may_fail=True))
            return Kept(key=key, size=size)

        if self.mode in _NO_WRITE:
            return Skipped(why=Why.DENIED, reason=f"ACTIONS_CACHE_MODE is {self.mode}")
        return self._do(work, limit)

    def _do(self, work: Callable[[Calls], Kept], limit: float) -> Kept | Skipped:
        """Return what the work returns, or why it was not done. Raises Cancelled."""
        retries = self.retries.within(limit)
        try:
            calls = Calls(
                server=self.server, name="CacheService", label="cache", say=self.say, retries=retries,
                ends_with_budget=True,
            )  # fmt: skip
            with calls.session:
                return work(calls)
        except (_Skip, Refused, RetriesExhausted, ManywheelsError, OSError) as error:
            retries.cancellation.stop_if_requested("The cache")
            if isinstance(error, RetriesExhausted) and retries.over:
                return Skipped(why=Why.TIME, reason=f"it did not end within {limit:.0f} s")
            return _skipped_by(error)

    def _download(self, calls: Calls, address: str, file: IO[bytes]) -> int:
        """Write a blob, range by range; return its size in bytes."""
        part = _Part(end=0, total=0)
        while not part.total or part.end < part.total:
            part = calls.persist(lambda before=part: self._receive(calls, address, file, before))  # type: ignore[misc]
        return part.total

    def _receive(self, calls: Calls, address: str, file: IO[bytes], before: _Part) -> _Part:
        """Write the next range. Raises TransientError, also for other bytes than the response announces."""
        start = before.end
        file.seek(start)
        file.truncate()
        headers = {"Range": f"bytes={start}-{start + _RANGE - 1}", "Accept-Encoding": "identity"}
        with calls.receive(address, headers) as (response, pieces):
            part = _part_of(response, before)
            if part.total > self.largest:
                reason = f"the entry has {format_size(part.total)}, more than {format_size(self.largest)}"
                raise _Skip(Why.TOO_LARGE, reason)
            at = start
            for piece in pieces:
                at += len(piece)
                if at > part.end:
                    raise TransientError("the download is longer than announced")
                file.write(piece)
        if at < part.end:
            raise TransientError("the download is cut short")
        return part


@dataclass(frozen=True, kw_only=True)
class _Part:
    """Where a range of a blob ends, and how long the blob is, in bytes; 0 before the first range."""

    end: int
    total: int


def _part_of(response: requests.Response, before: _Part) -> _Part:
    """Read what a response holds: a range (RFC 9110, 14.4), or all of it if the server knows no ranges."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    first, last, total = map(int, found.groups()) if found else (0, -1, 0)
    if response.status_code == 200:  # noqa: PLR2004
        length = response.headers.get("Content-Length", "")
        first, total = 0, int(length) if re.fullmatch(r"\d{1,18}", length) else 0
        last = total - 1
    if not (first == before.end <= last < total) or before.total not in {0, total}:
        raise TransientError("the download is not the part that was asked for")
    return _Part(end=last + 1, total=total)


def _require_keys(*keys: str) -> None:
    if len(keys) > _MOST_KEYS:
        raise _Skip(Why.BAD_KEY, f"there are {len(keys)} keys, and at most {_MOST_KEYS} can be asked for")
    for key in keys:
        if not key or len(key) > _LONGEST_KEY or _SEPARATOR in key:
            shown = f"{key[:50]}…" if len(key) > _LONGEST_KEY else key
            raise _Skip(Why.BAD_KEY, f"`{shown}` is no key: it has 1 to {_LONGEST_KEY} characters and no comma")


def _success(calls: Calls, response: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a response that reports success; a service that does not save says why in `message`."""
    if response.get("ok") is True:
        return response
    message = calls.redact(str(response.get("message") or ""))
    raise _Skip(_why(message), message or "another job has saved, or is saving, an entry of this key")


def _why(message: str) -> Why:
    if _DENIED.search(message):
        return Why.DENIED
    if is_quota(message):
        return Why.QUOTA
    return Why.EXISTS if _EXISTS.search(message) else Why.FAILED


def _skipped_by(error: Exception) -> Skipped:
    match error:
        case _Skip(skipped=skipped):
            return skipped
        case Refused(is_quota=True):
            return Skipped(why=Why.QUOTA, reason=error.detail)
        case Refused():
            return Skipped(why=_STATUSES.get(error.status, Why.FAILED), reason=error.detail)
        case OSError(filename=name, strerror=text, errno=number):
            why = Why.TOO_LARGE if number == errno.EFBIG else Why.FILE
            return Skipped(why=why, reason=f"`{name}`: {text}")
        case ManywheelsError():  # an unknown response, or no certificates
            return Skipped(why=Why.FAILED, reason=error.message)
    return Skipped(why=Why.FAILED, reason=str(error))


def _ignore(_sent: int) -> None:
    """Tell nothing of the progress."""
