"""HTTP requests to the index. Redirects are not followed: tokens go to one host only."""

from __future__ import annotations

import hashlib
import html
import ipaddress
import math
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, Self
from urllib.parse import urlsplit

from manywheels import __version__
from manywheels.core.certificates import untrusted_cure
from manywheels.core.documents import parse_json
from manywheels.core.regular_files import open_regular
from manywheels.core.retry import Clock, RetriesExhausted, RetryPolicy, TransientError, is_transient, retry_after
from manywheels.data import table
from manywheels.errors import FileChanged, UnsafeAddress

if TYPE_CHECKING:
    import requests

    from manywheels.core.cancellation import Cancellation

_LONGEST_PAGE: Final = 65_536
_SAYS: Final = ("message", "detail", "error", "description", "title")  # keys of errors in JSON
_MOST_DEEP: Final = 4


Auth = tuple[str, str]  # user and password of basic authentication


class NoResponse(Exception):
    """No response came. `arrived` is whether the whole request may have arrived.

    With a `cure`, the reason is one that lasts: another attempt fails in the same way.
    """

    def __init__(self, reason: str, *, arrived: bool, cure: str = "") -> None:
        super().__init__(reason)
        self.arrived, self.cure = arrived, cure


class Interrupted(Exception):
    """An upload's `watch` stopped it; the request did not arrive whole."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """A response. Header names are in lower case; `reason` is the status line's."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def redirects(self) -> bool:
        return HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST

    @property
    def is_transient(self) -> bool:
        return is_transient(self.status)


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of an upload: text fields in order, and the file (`size` in bytes, `sha256` in hex) as `content`."""

    fields: Sequence[tuple[str, str]]
    path: Path
    size: int
    sha256: str


class Transport(Protocol):
    """How requests are made. Every method raises NoResponse; `timeout` is in seconds, for the whole exchange."""

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        """Without `with_body`, the body stays empty."""
        ...

    def post_json(self, url: str, content: Mapping[str, Any], *, timeout: float) -> Response: ...

    def post_form(self, url: str, form: Form, *, auth: Auth, timeout: float, watch: Callable[[int], None]) -> Response:
        """`watch` gets the number of bytes of each read of the file.

        Raises FileChanged, before the last byte is sent, if the file is not what `form` says.
        """
        ...


def origin(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def require_safe(url: str, name: str = "repository-url") -> None:
    """Raises UnsafeAddress for plain http to another machine, which would expose the token; `name` is the input."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise UnsafeAddress(
            f"`{origin(url)}` is plain http: tokens and files would be sent unencrypted.",
            remedy=f"Set `{name}` to the index's https address; only this machine itself may use http.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _open_file(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise FileChanged(
            f"`{path}` can no longer be read: {error.strerror}.",
            remedy="Find out what uses the folder, and publish again; the index does not have this file.",
        ) from None


class SealedFile:
    """A file that is hashed while it is sent; its last bytes only if the form's sha256 is right."""

    def __init__(self, stream: BinaryIO, form: Form, watch: Callable[[int], None]) -> None:
        self._stream, self._form, self._watch = stream, form, watch
        self._digest = hashlib.sha256()
        self.len = form.size  # bytes left, for requests-toolbelt

    @property
    def finished(self) -> bool:
        return self.len == 0

    def read(self, size: int = -1) -> bytes:
        """Raises FileChanged, and what `watch` raises."""
        data = self._stream.read(self.len if size < 0 else min(size, self.len))
        self._digest.update(data)
        left = self.len - len(data)
        if (left and not data) or (not left and not self._is_whole()):
            raise FileChanged(
                f"`{self._form.path}` has changed since it was checked; its upload was stopped.",
                remedy="Find out what writes to the folder, and publish again; the index does not have this file.",
            )
        self.len = left
        self._watch(len(data))
        return data

    def _is_whole(self) -> bool:
        return self._digest.hexdigest() == self._form.sha256 and not self._stream.read(1)


class Requests:
    """The Transport through `requests`, for several threads.

    After a cancellation, requests have `grace` seconds (data/publish.toml), so that responses under way count.
    """

    def __init__(self, cancellation: Cancellation | None = None) -> None:
        import requests

        from manywheels.core.exchange import Adapter

        self._cancellation, self._grace_ends = cancellation, math.inf
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"manywheels/{__version__}"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, Adapter(pool_maxsize=table("publish")["parallel"] + 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        most = table("publish")["largest-page"] if with_body else 0
        return self._request("GET", url, auth, timeout, most=most, headers={"Accept": accept, **_FRESH})

    def post_json(self, url: str, content: Mapping[str, Any], *, timeout: float) -> Response:
        return self._request("POST", url, None, timeout, most=table("publish")["largest-response"], json=content)

    def post_form(self, url: str, form: Form, *, auth: Auth, timeout: float, watch: Callable[[int], None]) -> Response:
        from requests_toolbelt import MultipartEncoder

        with _open_file(form.path) as stream:
            sealed = SealedFile(stream, form, watch)
            content = (form.path.name, sealed, "application/octet-stream")
            body = MultipartEncoder([*form.fields, ("content", content)])
            headers, most = {"Content-Type": body.content_type}, table("publish")["largest-response"]
            try:
                return self._request("POST", url, auth, timeout, most=most, data=body, headers=headers)
            except NoResponse as lost:
                raise NoResponse(str(lost), arrived=lost.arrived and sealed.finished, cure=lost.cure) from None

    def _stopped(self) -> bool:
        if not (self._cancellation and self._cancellation.requested):
            return False
        now = time.monotonic()
        self._grace_ends = min(self._grace_ends, now + table("publish")["grace"])
        return now >= self._grace_ends

    def _request(
        self,
        method: str,
        url: str,
        auth: Auth | None,
        timeout: float,
        *,
        most: int,
        **content: Any,  # noqa: ANN401 - what `requests` takes
    ) -> Response:
        import requests

        from manywheels.core import exchange

        facts = table("publish")
        waits = (min(timeout, facts["connect-timeout"]), min(timeout, facts["send-timeout"]))
        clock = exchange.Exchange(timeout, stall=waits[1], stopped=self._stopped)
        try:
            with clock, self._session.request(
                method, url, auth=_basic(auth) if auth else _anonymous, timeout=waits, allow_redirects=False,
                stream=True, **content,
            ) as response:  # fmt: skip
                return Response(
                    status=response.status_code,
                    reason=response.reason or "",
                    headers={name.lower(): value for name, value in response.headers.items()},
                    body=exchange.read_body(response, most) if most else b"",
                )
        except requests.exceptions.RequestException as error:
            reason, cure = _describe(error)
            raise NoResponse(reason, arrived=clock.connected and not cure, cure=cure) from None


_FRESH: Final = {"Cache-Control": "max-age=0"}  # to see what was just uploaded


def _basic(auth: Auth) -> requests.auth.HTTPBasicAuth:
    from requests.auth import HTTPBasicAuth

    user, password = auth
    return HTTPBasicAuth(user.encode(), password.encode())


def _anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Add no credentials; otherwise, `requests` reads ~/.netrc."""
    return request


def _never_connected(error: Exception) -> bool:
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _describe(error: Exception) -> tuple[str, str]:
    """Describe an error in a clause, without secrets: neither addresses nor headers; and what cures a lasting one."""
    import requests

    from manywheels.core.exchange import TimeOver, TooLarge

    if isinstance(error, requests.exceptions.SSLError):
        return _describe_tls(error)
    if isinstance(error, TimeOver | TooLarge):
        return str(error), ""
    if _never_connected(error):
        return "no server answers at this address", ""
    kinds = ((kind, clause) for kind, clause in _LOST if isinstance(error, getattr(requests.exceptions, kind)))
    return next(kinds)[1], ""


_LOST: Final = (
    ("ConnectTimeout", "no connection within the time limit"),
    ("ProxyError", "the proxy lets no connection through"),
    ("Timeout", "no response within the time limit"),
    ("RequestException", "the connection was lost"),
)


def _describe_tls(error: Exception) -> tuple[str, str]:
    fault: BaseException | None = error
    for _ in range(8):  # requests, urllib3 and ssl have one each
        if fault is None or isinstance(fault, ssl.SSLError):
            break
        reason = getattr(fault, "reason", None) or next(iter(fault.args), None)
        fault = reason if isinstance(reason, BaseException) else fault.__cause__ or fault.__context__
    if isinstance(fault, ssl.SSLCertVerificationError):
        clause = f"the server's certificate is not trusted: {fault.verify_message.removesuffix('.')}"
        return clause, _TLS_CURES.get(fault.verify_code) or untrusted_cure()
    name = str(getattr(fault, "reason", "") or "").replace("_", " ").lower()
    if name in _NO_TLS:
        return "the server does not speak TLS at this address", "Correct the address: its port is perhaps that of http."
    return f"the TLS connection failed{f': {name}' if name else ''}", ""


_NO_TLS: Final = {"wrong version number", "http request", "record layer failure", "packet length too long"}
_RENEW: Final = "Have the server's certificate renewed, and check this machine's clock."
_HOST: Final = (
    "Use the name that the server's certificate has in the address, or have the certificate issued for this one."
)
_TLS_CURES: Final[Mapping[int, str]] = {9: _RENEW, 10: _RENEW, 62: _HOST, 64: _HOST}  # OpenSSL's X509_V_ERR_…


def index_retries(cancellation: Cancellation, clock: Clock | None = None) -> RetryPolicy:
    """All requests of one upload share this policy of data/publish.toml."""
    facts = table("publish")
    return RetryPolicy(
        cancellation=cancellation,
        attempts=facts["attempts"],
        first_pause=facts["first-pause"],
        longest_pause=facts["longest-pause"],
        budget=facts["deadline"],
        last_request=facts["last-questions"],
        clock=clock,
    )


def persist(request: Callable[[], Response], retries: RetryPolicy) -> Response:
    """Return the first response that is not transient. Raises NoResponse."""

    def attempt() -> Response:
        try:
            response = request()
        except NoResponse as error:
            if error.cure:
                raise
            raise TransientError(str(error)) from None
        if response.is_transient:
            raise TransientError(f"it answers {response.status}", pause=retry_after(response.headers))
        return response

    try:
        return retries.call(attempt, attempts=table("publish")["ask-attempts"])
    except RetriesExhausted as error:
        raise NoResponse(error.reason, arrived=True) from None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A final answer to an upload: what it means, in a clause, and what cures it."""

    means: str
    cure: str
    renewable: bool  # another token may cure it


def refusal(response: Response, reason: str) -> Refusal:
    """Return what a final answer means, by its status and `reason_text`: the first entry of data/publish.toml."""
    for entry in table("publish")["refusals"]:
        statuses, says = entry.get("statuses"), entry.get("says", "")
        if (statuses is None or response.status in statuses) and re.search(says, reason, re.IGNORECASE):
            return Refusal(means=entry["means"], cure=entry["cure"], renewable=entry.get("renewable", False))
    raise AssertionError("the last entry matches every answer")  # pragma: no cover


def is_name_taken(response: Response) -> bool:
    """Whether an upload was refused for its name: 409, or another refusal with such words."""
    facts = table("publish")["name-taken"]
    if response.status == HTTPStatus.CONFLICT:
        return True
    return response.status in facts["statuses"] and _says(response, facts["says"])


def is_name_spent(response: Response) -> bool:
    """Whether the name belonged to a file that was deleted: it cannot be used again."""
    return _says(response, table("publish")["name-taken"]["spent"])


def _says(response: Response, words: str) -> bool:
    return re.search(words, reason_text(response), re.IGNORECASE) is not None


def reason_text(response: Response, clean: Callable[[str], str] = str) -> str:
    """Return status and reason in one line; the status line's reason takes precedence.

    `clean` removes secrets.
    """
    usual = {status.value: status.phrase for status in HTTPStatus}
    reason = response.reason.removeprefix(f"{response.status} ").strip()
    if not reason or reason.lower() == usual.get(response.status, "").lower():
        page = clean(response.body.decode("utf-8", "replace"))[:_LONGEST_PAGE]
        text = _json_messages(page) or html.unescape(re.sub(_MARKUP, " ", page))
        reason = " ".join(text.split())
    return f"{response.status} {clean(reason)}".strip()


_MARKUP: Final = re.compile(r"(?s)<(script|style|title)\b.*?</\1>|<[^>]*>")


def _json_messages(page: str) -> str:
    """Return the messages of an error in JSON."""
    if not page.lstrip().startswith("{"):
        return ""
    try:
        return " ".join(dict.fromkeys(_messages(parse_json(page.encode()), _MOST_DEEP)))
    except ValueError:
        return ""


def _messages(value: object, deep: int) -> Iterator[str]:
    if isinstance(value, list) and deep:
        for part in value:
            yield from _messages(part, deep - 1)
    if isinstance(value, dict) and deep:
        yield from (value[key] for key in _SAYS if isinstance(value.get(key), str))
        for part in value.values():
            yield from _messages(part, deep - 1)
