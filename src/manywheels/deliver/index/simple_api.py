"""The index: its addresses, and what it says of its files through the simple API (PEP 503, 691, 700)."""

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

_JSON: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where an index takes files, and where it may say which it has; `web` is the root of its pages, where known.

    `has_rules` tells whether it is of the kind whose rules (age of releases, size of files) are in data/publish.toml.
    """

    upload: str
    simple: tuple[str, ...]
    web: str | None
    has_rules: bool

    def release_page(self, project: str, version: str) -> str | None:
        """Return the address of a release's page."""
        return f"{self.web}/project/{project}/{version}/" if self.web else None


def addresses(repository: str) -> Addresses:
    """Return the addresses for a name of twine's table or an upload address.

    Raises InputError for what is neither, and UnsafeAddress for plain http to another machine.
    """
    from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

    known = {"pypi": DEFAULT_REPOSITORY, "testpypi": TEST_REPOSITORY}
    upload = known.get(repository, repository)
    try:
        parts = urlsplit(upload)
    except ValueError:  # brackets that hold no IPv6 address
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        shown = repository.rpartition("@")[2]  # no credentials
        raise InputError(
            f"repository-url: `{shown}` is neither `pypi` nor `testpypi`, nor an upload address.",
            remedy="An upload address is a whole one, as `https://…/legacy/`.",
        )
    if parts.username is not None:
        raise InputError(
            f"repository-url: the address at `{parts.hostname}` holds credentials; addresses are shown in logs.",
            remedy="Give the user with `user`, the password in the variable MANYWHEELS_PASSWORD.",
        )
    require_safe(upload)
    base = parts.path.rstrip("/")
    has_rules = base.endswith("/legacy")
    if has_rules:  # the upload host of an index of this kind is its own host, or a name below it
        base, web = base.removesuffix("/legacy"), f"{parts.scheme}://{parts.netloc.removeprefix('upload.')}"
        simple: tuple[str, ...] = (f"{web}{base}/simple/",)
    else:
        web = origin(upload)
        simple = (f"{web}{base}/+simple/", f"{web}{base}/simple/")
    is_known = upload in known.values()
    return Addresses(upload=upload, simple=simple, web=web if is_known else None, has_rules=has_rules)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file that the index has: `sha256` in hex, `size` in bytes; None where it does not say."""

    sha256: str | None
    size: int | None = None
    uploaded: datetime | None = None


Listing = Mapping[str, Listed]


class Presence(Enum):
    """What the index says of one file. UNTOLD: it has the name, and no sha256 for it. SILENT: it cannot be asked."""

    SAME = "same"
    OTHER = "other"
    ABSENT = "absent"
    UNTOLD = "untold"
    SILENT = "silent"


class Index:
    """An index that can be asked. Its simple API is found at the first question; several threads may ask."""

    def __init__(
        self, addresses: Addresses, transport: Transport, retries: RetryPolicy, auth: Auth | None = None
    ) -> None:
        """`auth` is given for the simple API only where that is at the host that the credentials are for."""
        self.addresses = addresses
        self._transport, self._retries, self._auth = transport, retries, auth
        self._simple: str | None = None
        self._lock = threading.Lock()

    def listing(self, project: str) -> Listing | None:
        """Return a project's files by name (none for a new project), or None where the index has no simple API here.

        Raises NoAnswer where it has one that does not answer, after several attempts.
        """
        with self._lock:
            candidates = (self._simple,) if self._simple else self.addresses.simple
        for base in candidates:
            answer = self._get(f"{base}{project}/")
            if answer.status == HTTPStatus.OK and (found := _parse(answer, project)) is not None:
                self._settle_on(base)
                return found
            # Some send clients to another index for projects that they do not have: that is a no, too.
            is_absent = answer.status == HTTPStatus.NOT_FOUND or (answer.redirects and self.addresses.web is None)
            if is_absent and (base == self._simple or self._is_simple_api(base)):
                self._settle_on(base)
                return {}
        return None

    def presence(self, project: str, name: str, sha256: str) -> Presence:
        """Return what the index says of a file, asked once more; SILENT where it says nothing."""
        try:
            listing = self.listing(project)
        except NoResponse:
            return Presence.SILENT
        return compare(listing, name, sha256)

    @property
    def simple(self) -> str | None:
        """The simple API's address; None before `listing` has found it."""
        return self._simple

    def _settle_on(self, base: str) -> None:
        with self._lock:
            self._simple = base

    def _is_simple_api(self, base: str) -> bool:
        """Whether a simple API is there at all: a project that is not listed is 404 at any wrong address, too."""
        return self.addresses.web is not None or self._get(base, with_body=False).status == HTTPStatus.OK

    def _get(self, url: str, *, with_body: bool = True) -> Response:
        auth = self._auth if origin(url) == origin(self.addresses.upload) else None

        def request() -> Response:
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.get(url, accept=ACCEPT, auth=auth, timeout=limit, with_body=with_body)

        return persist(request, self._retries)


def compare(listing: Listing | None, name: str, sha256: str) -> Presence:
    """Return what a listing says of a file."""
    if listing is None:
        return Presence.SILENT
    if name not in listing:
        return Presence.ABSENT
    listed = listing[name].sha256
    if listed is None:
        return Presence.UNTOLD
    return Presence.SAME if listed == sha256.lower() else Presence.OTHER


def oldest_upload(listing: Listing, version: str) -> datetime | None:
    """Return when the first of a release's files was uploaded, where the index says it."""
    times = [file.uploaded for name, file in listing.items() if file.uploaded and _version_of(name) == Version(version)]
    return min(times, default=None)


def listed_sdists(listing: Listing, version: str) -> tuple[str, ...]:
    """Return the names of a release's sdists."""
    return tuple(name for name in listing if not name.endswith(".whl") and _version_of(name) == Version(version))


def _version_of(name: str) -> Version | None:
    release = _release_of(name)
    return release and release[1]


def _release_of(name: str) -> tuple[str, Version] | None:
    """Return the project and version in a file's name; None for names of old kinds."""
    try:
        return parse_wheel_filename(name)[:2] if name.endswith(".whl") else parse_sdist_filename(name)
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def _parse(answer: Response, project: str) -> Listing | None:
    """Return the files of a project's page, in JSON or HTML; None for what is no such page."""
    kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind.endswith("json"):
            return dict(_of_json(parse_json(answer.body, table("publish")["most-values"])))
        if kind.endswith("html") and answer.body.count(b"<") <= table("publish")["most-values"]:
            page = _Page()
            page.feed(answer.body.decode("utf-8", "replace"))
            return page.files if page.is_of(project) else None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return None


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
    """Return a moment in UTC; PEP 700 has all of them in it, whether they say so or not."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _lower(digest: str | None) -> str | None:
    return digest.lower() if digest else None


class _Page(HTMLParser):
    """A page of PEP 503: each anchor is a file, its digest in the address's fragment.

    A login page is HTML, too, and comes with status 200: a project's page says what it is (PEP 629's version, or the
    title that PyPI's page had before there was one), or it lists a distribution of the project.
    """

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, Listed] = {}
        self._title, self._has_version = "", False

    def is_of(self, project: str) -> bool:
        """Whether it is the page of this project; one without files may be."""
        releases = map(_release_of, self.files)
        says = self._has_version or "links for" in self._title.lower()
        return says or any(release is not None and release[0] == project for release in releases)

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
