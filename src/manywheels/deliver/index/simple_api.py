"""The index: its addresses, and its files by the simple API (PEP 503, 691, 700)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from manywheels.core.documents import parse_json
from manywheels.core.retry import RetryPolicy
from manywheels.data import table
from manywheels.deliver.index.http import Auth, NoResponse, Response, Transport, origin, persist, require_safe
from manywheels.errors import InputError

_ACTIVE: Final = "active"
_JSON: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses of an index: `upload`, candidates of the simple API, and `web`, a known index's pages.

    `has_rules` is whether data/publish.toml has its rules (age of releases, size of files).
    """

    upload: str
    simple: tuple[str, ...]
    web: str | None
    has_rules: bool

    def release_page(self, project: str, version: str) -> str | None:
        return f"{self.web}/project/{project}/{version}/" if self.web else None


def addresses(repository: str) -> Addresses:
    """Accept a name of twine's table or an upload address.

    Raises InputError, and UnsafeAddress for plain http to another machine.
    """
    from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

    known = {"pypi": DEFAULT_REPOSITORY, "testpypi": TEST_REPOSITORY}
    upload = known.get(repository, repository)
    try:
        parts = urlsplit(upload)
    except ValueError:  # brackets without an IPv6 address
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        shown = repository.rpartition("@")[2]  # no credentials
        raise InputError(
            f"repository-url: `{shown}` is neither `pypi` nor `testpypi`, nor an upload address.",
            remedy="Give a complete upload address, as `https://…/legacy/`.",
        )
    if parts.username is not None:
        raise InputError(
            f"repository-url: the address at `{parts.hostname}` has credentials, which would appear in logs.",
            remedy="Set `user`, and the password in MANYWHEELS_PASSWORD.",
        )
    require_safe(upload)
    base = parts.path.rstrip("/")
    has_rules = base.endswith("/legacy")
    if has_rules:  # its upload host is its own host, or `upload.` of it
        base, web = base.removesuffix("/legacy"), f"{parts.scheme}://{parts.netloc.removeprefix('upload.')}"
        simple: tuple[str, ...] = (f"{web}{base}/simple/",)
    else:
        web = origin(upload)
        simple = (f"{web}{base}/+simple/", f"{web}{base}/simple/")
    is_known = upload in known.values()
    return Addresses(upload=upload, simple=simple, web=web if is_known else None, has_rules=has_rules)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file on the index: `sha256` in hex, `size` in bytes; None if not listed."""

    sha256: str | None
    size: int | None = None
    uploaded: datetime | None = None


Listing = Mapping[str, Listed]


class Presence(Enum):
    """Whether the index has a file. NO_DIGEST: listed without a sha256; UNAVAILABLE: no listing."""

    SAME = "same"
    OTHER = "other"
    ABSENT = "absent"
    NO_DIGEST = "no digest"
    UNAVAILABLE = "unavailable"


class Index:
    """An index's simple API, found by the first request; for several threads."""

    def __init__(
        self, addresses: Addresses, transport: Transport, retries: RetryPolicy, auth: Auth | None = None
    ) -> None:
        """`auth` goes to the simple API only at the host of uploads."""
        self.addresses = addresses
        self._transport, self._retries, self._auth = transport, retries, auth
        self._simple: str | None = None
        self._states: dict[str, str] = {}
        self._lock = threading.Lock()

    def listing(self, project: str) -> Listing | None:
        """Return a project's files by name (none for a new one); None without a simple API.

        Raises NoResponse after several attempts.
        """
        with self._lock:
            candidates = (self._simple,) if self._simple else self.addresses.simple
        for base in candidates:
            response = self._get(f"{base}{project}/")
            if response.status == HTTPStatus.OK and (found := _parse(response, project)) is not None:
                self._remember(base)
                self._states[project] = _state(response)
                return found
            # Some redirect to another index for projects that they do not have.
            is_absent = response.status == HTTPStatus.NOT_FOUND or (response.redirects and self.addresses.web is None)
            if is_absent and (base == self._simple or self._is_simple_api(base)):
                self._remember(base)
                return {}
        return None

    def state(self, project: str) -> str | None:
        """Return a listed project's state (PEP 792), as `active` or `archived`; None for one that is not there."""
        return self._states.get(project)

    def presence(self, project: str, name: str, sha256: str) -> Presence:
        """Ask anew whether the index has a file."""
        try:
            listing = self.listing(project)
        except NoResponse:
            return Presence.UNAVAILABLE
        return compare(listing, name, sha256)

    @property
    def simple(self) -> str | None:
        """The address of the simple API; None before `listing` has found it."""
        return self._simple

    def _remember(self, base: str) -> None:
        with self._lock:
            self._simple = base

    def _is_simple_api(self, base: str) -> bool:
        """Whether there is a simple API: a wrong address is 404, as an unknown project is."""
        return self.addresses.web is not None or self._get(base, with_body=False).status == HTTPStatus.OK

    def _get(self, url: str, *, with_body: bool = True) -> Response:
        auth = self._auth if origin(url) == origin(self.addresses.upload) else None

        def request() -> Response:
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.get(url, accept=ACCEPT, auth=auth, timeout=limit, with_body=with_body)

        return persist(request, self._retries)


def compare(listing: Listing | None, name: str, sha256: str) -> Presence:
    """`sha256` is in hex."""
    if listing is None:
        return Presence.UNAVAILABLE
    if name not in listing:
        return Presence.ABSENT
    listed = listing[name].sha256
    if listed is None:
        return Presence.NO_DIGEST
    return Presence.SAME if listed == sha256.lower() else Presence.OTHER


def oldest_upload(listing: Listing, version: str) -> datetime | None:
    """Return when a release's first file was uploaded, if listed."""
    times = [file.uploaded for name, file in listing.items() if file.uploaded and _version_of(name) == Version(version)]
    return min(times, default=None)


def listed_sdists(listing: Listing, version: str) -> tuple[str, ...]:
    return tuple(name for name in listing if not name.endswith(".whl") and _version_of(name) == Version(version))


def _version_of(name: str) -> Version | None:
    release = _release_of(name)
    return release and release[1]


def _release_of(name: str) -> tuple[str, Version] | None:
    try:
        return parse_wheel_filename(name)[:2] if name.endswith(".whl") else parse_sdist_filename(name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _parse(response: Response, project: str) -> Listing | None:
    """Return the files of a project's page in JSON or HTML; None for any other page."""
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind.endswith("json"):
            return dict(_of_json(parse_json(response.body, table("publish")["most-values"])))
        if kind.endswith("html") and response.body.count(b"<") <= table("publish")["most-values"]:
            page = _Page()
            page.feed(response.body.decode("utf-8", "replace"))
            return page.files if page.is_of(project) else None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return None


def _state(response: Response) -> str:
    if b'"project-status"' in response.body:
        try:
            state = parse_json(response.body, table("publish")["most-values"])["project-status"]["status"]
        except (ValueError, TypeError, KeyError):  # or a page in HTML
            return _ACTIVE
        return state if isinstance(state, str) else _ACTIVE
    return _ACTIVE


def _of_json(page: Any) -> Iterator[tuple[str, Listed]]:  # noqa: ANN401 - whatever JSON holds
    for file in page["files"]:
        uploaded, size = file.get("upload-time"), file.get("size")
        yield (
            _text(file["filename"]),
            Listed(
                sha256=_lower(file["hashes"].get("sha256")),
                size=size if type(size) is int and size >= 0 else None,
                uploaded=_moment(uploaded) if uploaded else None,
            ),
        )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _moment(text: str) -> datetime:
    """Parse a time; without a zone it is UTC (PEP 700)."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _lower(digest: str | None) -> str | None:
    return digest.lower() if digest else None


class _Page(HTMLParser):
    """A page of PEP 503: each anchor is a file, with its digest in the fragment.

    Unlike a login page, it has PEP 629's version or the title "Links for …", or lists the project's distributions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Listed] = {}
        self._title, self._has_version = "", False

    def is_of(self, project: str) -> bool:
        releases = map(_release_of, self.files)
        is_marked = self._has_version or "links for" in self._title.lower()
        return is_marked or any(release is not None and release[0] == project for release in releases)

    def handle_data(self, data: str) -> None:
        if self.lasttag == "title":
            self._title += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "meta" and dict(attrs).get("name") == "pypi:repository-version":
            self._has_version = True
        href = dict(attrs).get("href") if tag == "a" else None
        if href:
            parts = urlsplit(href)
            name = unquote(urlunsplit(parts._replace(fragment="", query=""))).rpartition("/")[2]
            digest = parts.fragment.partition("sha256=")[2].partition("&")[0]
            self.files[name] = Listed(sha256=_lower(digest))
