"""The index: its addresses, and its files by the simple API (PEP 503, 691, 700)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from html.parser import HTMLParser
from http import HTTPStatus
from operator import itemgetter
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urljoin, urlsplit, urlunsplit

from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from manywheels.core.documents import parse_json
from manywheels.core.retry import RetryPolicy
from manywheels.data import table
from manywheels.deliver.index.http import Auth, NoResponse, Response, Transport, origin, persist, require_safe
from manywheels.errors import InputError
from manywheels.verify.distributions import Distribution

READING_USER: Final = "MANYWHEELS_CHECK_USER"
READING_PASSWORD: Final = "MANYWHEELS_CHECK_PASSWORD"  # noqa: S105 - a variable's name
_READING: Final = (READING_USER, READING_PASSWORD)
_UPLOAD_PATHS: Final = ("/legacy", "/upload")  # beside which some indexes have their simple API
_MOST_REDIRECTS: Final = 3
# The digests that a page may have, the best first; PyPI's name for BLAKE2 is not hashlib's.
_ALGORITHMS: Final = (
    "sha256", "sha512", "sha384", "sha3_512", "sha3_384", "sha3_256", "blake2b", "blake2b_256", "blake2s", "sha224",
    "sha3_224", "sha1", "md5",
)  # fmt: skip
_ACTIVE: Final = "active"
_JSON: Final = "application/vnd.pypi.simple.v1+json"
ACCEPT: Final = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The addresses of an index: `upload`, candidates of the simple API, and `web`, a known index's pages.

    `has_simple` is whether the simple API is at the first candidate for certain; `has_rules` is whether PyPI's rules
    apply (age of releases, size of files, metadata).
    """

    upload: str
    simple: tuple[str, ...]
    web: str | None
    has_simple: bool
    has_rules: bool

    def release_page(self, project: str, version: str) -> str | None:
        return f"{self.web}/project/{project}/{version}/" if self.web else None


def addresses(repository: str, *, check: str = "", rules: str = "auto") -> Addresses:
    """Accept a name of twine's table or an upload address; `check` is the simple API's address, if given.

    `rules` is `auto`, `pypi` or `none`. Raises InputError, and UnsafeAddress for plain http to another machine.
    """
    from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

    known = {"pypi": DEFAULT_REPOSITORY, "testpypi": TEST_REPOSITORY}
    upload = known.get(repository, repository)
    upload = next((url for url in known.values() if url.rstrip("/") == upload.rstrip("/")), upload)
    parts = _split(upload, "repository-url", "neither `pypi` nor `testpypi`, nor an upload address", "…/legacy/")
    is_known = upload in known.values()
    web = origin(upload).replace("://upload.", "://") if is_known else None
    if check:
        _split(check, "check-url", "not the address of a simple API", "…/simple/")
        simple: tuple[str, ...] = (f"{check.rstrip('/')}/",)
    else:
        simple = (f"{web}/simple/",) if web else _derived(parts)
    return Addresses(
        upload=upload,
        simple=simple,
        web=web,
        has_simple=is_known or bool(check),
        has_rules=is_known if rules == "auto" else rules == "pypi",
    )


def _split(url: str, name: str, is_not: str, example: str) -> SplitResult:
    """Raises InputError and UnsafeAddress."""
    try:
        parts = urlsplit(url)
    except ValueError:  # brackets without an IPv6 address
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        shown = url.rpartition("@")[2]  # no credentials
        raise InputError(f"{name}: `{shown}` is {is_not}.", remedy=f"Give a complete address, as `https://{example}`.")
    if parts.username is not None:
        variables = ("`user`", "MANYWHEELS_PASSWORD") if name == "repository-url" else _READING
        raise InputError(
            f"{name}: the address at `{parts.hostname}` has credentials, which would appear in logs.",
            remedy=f"Set {variables[0]}, and the password in {variables[1]}.",
        )
    require_safe(url, name)
    return parts


def _derived(upload: SplitResult) -> tuple[str, ...]:
    """Return where other indexes have their simple API: beside the upload address, or below it."""
    host, path = f"{upload.scheme}://{upload.netloc}", upload.path.rstrip("/")
    below = (f"{host}{path}/+simple/", f"{host}{path}/simple/")
    base = next((path.removesuffix(end) for end in _UPLOAD_PATHS if path.endswith(end)), None)
    if base is None:
        return below
    # Some have a host for uploads, `upload.` of their own.
    beside = (f"{upload.scheme}://{upload.netloc.removeprefix('upload.')}{base}/simple/", f"{host}{base}/simple/")
    return tuple(dict.fromkeys((*beside, *below)))


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A file on the index: `sha256` in hex, `size` in bytes; None if not listed.

    `digest` is the best other digest: its algorithm, and its value in hex. `metadata` is the address of its METADATA
    (PEP 658, 714), None if the index does not serve it.
    """

    sha256: str | None
    digest: tuple[str, str] | None = None
    size: int | None = None
    uploaded: datetime | None = None
    metadata: str | None = None


Listing = Mapping[str, Listed]


class Presence(Enum):
    """Whether the index has a file. NO_DIGEST: listed without a digest to compare; UNAVAILABLE: no listing."""

    SAME = "same"
    OTHER = "other"
    ABSENT = "absent"
    NO_DIGEST = "no digest"
    UNAVAILABLE = "unavailable"


class Index:
    """An index's simple API, found by the first request; for several threads."""

    def __init__(
        self,
        addresses: Addresses,
        transport: Transport,
        retries: RetryPolicy,
        auth: Auth | None = None,
        reading: Auth | None = None,
    ) -> None:
        """`auth` goes to the simple API only at the host of uploads; `reading` goes to it at any, in its place."""
        self.addresses = addresses
        self._transport, self._retries, self._auth, self._reading = transport, retries, auth, reading
        self._simple: str | None = None
        self._states: dict[str, str] = {}
        self._lock = threading.Lock()
        self.why_unlisted = ""

    def listing(self, project: str) -> Listing | None:
        """Return a project's files by name (none for a new one); None without a simple API, see `why_unlisted`.

        Raises NoResponse after several attempts.
        """
        with self._lock:
            candidates = (self._simple,) if self._simple else self.addresses.simple
        faults = []
        for base in candidates:
            page = f"{base}{project}/"
            response = self._get(page)
            if response.status == HTTPStatus.OK and (found := _parse(response, project, page)) is not None:
                self._remember(base)
                self._states[project] = _state(response)
                return found
            # Some redirect to another index for projects that they do not have.
            is_absent = response.status == HTTPStatus.NOT_FOUND or (response.redirects and self.addresses.web is None)
            if is_absent and (base == self._simple or self._is_simple_api(base)):
                self._remember(base)
                return {}
            is_ok = response.status == HTTPStatus.OK
            why = "is not a project's page" if is_ok else f"is {response.status}"
            faults.append((response.status == HTTPStatus.NOT_FOUND, f"the answer of `{base}` {why}"))
        self.why_unlisted = min(faults, key=itemgetter(0))[1]
        return None

    def state(self, project: str) -> str | None:
        """Return a listed project's state (PEP 792), as `active` or `archived`; None for one that is not there."""
        return self._states.get(project)

    def presence(self, file: Distribution) -> Presence:
        """Ask anew whether the index has a file."""
        try:
            listing = self.listing(file.project)
        except NoResponse:
            return Presence.UNAVAILABLE
        return compare(listing, file)

    def metadata(self, file: Listed) -> bytes | None:
        """Return a listed file's METADATA; None if the index does not serve it, or it is too long to be one.

        Raises NoResponse after several attempts.
        """
        if file.metadata is None:
            return None
        response = self._get(file.metadata)
        is_read = response.status == HTTPStatus.OK and len(response.body) <= table("index")["archive"]["text"]
        return response.body if is_read else None

    @property
    def simple(self) -> str | None:
        """The address of the simple API; None before `listing` has found it."""
        return self._simple

    def _remember(self, base: str) -> None:
        with self._lock:
            self._simple = base

    def _is_simple_api(self, base: str) -> bool:
        """Whether there is a simple API: a wrong address is 404, as an unknown project is."""
        return self.addresses.has_simple or self._get(base, with_body=False).status == HTTPStatus.OK

    def _get(self, url: str, *, with_body: bool = True) -> Response:
        """Follow redirects on the same host only."""
        for _ in range(_MOST_REDIRECTS):
            response = self._request(url, with_body=with_body)
            target = _target(url, response)
            if target is None:
                return response
            url = target
        return self._request(url, with_body=with_body)

    def _request(self, url: str, *, with_body: bool) -> Response:
        is_index = self._simple is None or origin(url) == origin(self._simple)
        own = self._auth if origin(url) == origin(self.addresses.upload) else None
        auth = (self._reading or own) if is_index else None

        def request() -> Response:
            limit = self._retries.timeout(table("publish")["ask-timeout"])
            return self._transport.get(url, accept=ACCEPT, auth=auth, timeout=limit, with_body=with_body)

        return persist(request, self._retries)


def _target(url: str, response: Response) -> str | None:
    """Return the address of a redirect to the same host."""
    if not response.redirects or "location" not in response.headers:
        return None
    try:
        target = urljoin(url, response.headers["location"])
        return target if origin(target) == origin(url) else None
    except ValueError:
        return None


def compare(listing: Listing | None, file: Distribution) -> Presence:
    if listing is None:
        return Presence.UNAVAILABLE
    listed = listing.get(file.name)
    if listed is None:
        return Presence.ABSENT
    if listed.sha256 is not None:
        return Presence.SAME if listed.sha256 == file.sha256.lower() else Presence.OTHER
    if listed.size is not None and listed.size != file.size:
        return Presence.OTHER
    own = file.digest(listed.digest[0]) if listed.digest else None
    if listed.digest is None or own is None:
        return Presence.NO_DIGEST
    return Presence.SAME if listed.digest[1] == own else Presence.OTHER


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


def _parse(response: Response, project: str, address: str) -> Listing | None:
    """Return the files of a project's page in JSON or HTML; None for any other page. `address` is the page's."""
    kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
    try:
        if kind.endswith("json"):
            return dict(_of_json(parse_json(response.body, table("publish")["most-values"]), address))
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


def _of_json(page: Any, address: str) -> Iterator[tuple[str, Listed]]:  # noqa: ANN401 - whatever JSON holds
    for file in page["files"]:
        uploaded, size = file.get("upload-time"), file.get("size")
        yield (
            _text(file["filename"]),
            Listed(
                sha256=_lower(file["hashes"].get("sha256")),
                digest=_best(file["hashes"]),
                size=size if type(size) is int and 0 <= size < 1 << 63 else None,
                uploaded=_moment(uploaded) if uploaded else None,
                metadata=_metadata_address(file, address),
            ),
        )


def _metadata_address(file: Mapping[str, Any], page: str) -> str | None:
    """Return where a file's METADATA is; None unless it is as safe to ask as the page itself."""
    if not file.get("core-metadata", file.get("dist-info-metadata")) or not isinstance(file.get("url"), str):
        return None
    try:
        address = urljoin(page, f"{urlsplit(file['url'])._replace(query='', fragment='').geturl()}.metadata")
        is_safe = origin(address) == origin(page) or urlsplit(address).scheme == "https"
    except ValueError:  # brackets without an IPv6 address
        return None
    return address if is_safe else None


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


def _best(digests: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the best digest other than sha256."""
    found = ((algorithm, _lower(digests.get(algorithm))) for algorithm in _ALGORITHMS if algorithm != "sha256")
    return next(((algorithm, digest) for algorithm, digest in found if digest), None)


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
            self._add(href)

    def _add(self, href: str) -> None:
        try:
            parts = urlsplit(href)
        except ValueError:
            return
        name = unquote(urlunsplit(parts._replace(fragment="", query=""))).rpartition("/")[2]
        digests = {algorithm.lower(): digest for algorithm, digest in parse_qsl(parts.fragment)}
        self.files[name] = Listed(sha256=_lower(digests.get("sha256")), digest=_best(digests))
