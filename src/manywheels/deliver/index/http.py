"""The way to the index: requests and answers over HTTP. Redirects are never followed: tokens go to one host only."""

from __future__ import annotations

import hashlib
import html
import ipaddress
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Protocol, Self
from urllib.parse import urlsplit

from manywheels import __version__
from manywheels.core.regular_files import open_regular
from manywheels.core.retry import Clock, RetriesExhausted, RetryPolicy, TransientError, is_transient, retry_after
from manywheels.data import table
from manywheels.errors import FileChanged, UnsafeAddress

if TYPE_CHECKING:
    import requests

    from manywheels.core.cancellation import Cancellation

_EXISTS: Final = re.compile(r"already exists?|already been taken|previously used", re.IGNORECASE)
_LONGEST: Final = 300  # characters
_LONGEST_PAGE: Final = 65_536


Auth = tuple[str, str]  # user and password of HTTP's basic authentication


class NoResponse(Exception):
    """No answer came. `arrived` says whether the whole request can have arrived nevertheless."""

    def __init__(self, reason: str, *, arrived: bool) -> None:
        super().__init__(reason)
        self.arrived = arrived


class Interrupted(Exception):
    """Sending was given up, by whoever watched it; the request has not arrived as a whole."""


@dataclass(frozen=True, kw_only=True)
class Response:
    """What a server said. Header names are in lower case; `reason` is the status line's own text."""

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def redirects(self) -> bool:
        """Whether it sends the client elsewhere."""
        return HTTPStatus.MULTIPLE_CHOICES <= self.status < HTTPStatus.BAD_REQUEST

    @property
    def is_transient(self) -> bool:
        """Whether the same request may be answered otherwise later."""
        return is_transient(self.status)


@dataclass(frozen=True, kw_only=True)
class Form:
    """An upload's form: text fields in order, and the file that goes with them under the name `content`."""

    fields: Sequence[tuple[str, str]]
    path: Path
    size: int
    sha256: str


class Transport(Protocol):
    """How requests are made. Every method raises NoAnswer; `timeout` is in seconds, for the whole exchange."""

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        """Get a page; without its body if only the status is asked for."""
        ...

    def post_json(self, url: str, content: Mapping[str, Any], *, timeout: float) -> Response:
        """Post a JSON document."""
        ...

    def post_form(self, url: str, form: Form, *, auth: Auth, timeout: float, watch: Callable[[int], None]) -> Response:
        """Post an upload. `watch` is called with the number of bytes of the file each time some are read.

        Raises FileChanged, before the last byte is sent, where the file is gone or is not what `form` says.
        """
        ...


def origin(url: str) -> str:
    """Return the scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def require_safe(url: str) -> None:
    """Raise UnsafeAddress for plain http to another machine: whoever listens on the way would have the token."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise UnsafeAddress(
            f"`{origin(url)}` is plain http: tokens and files would go through the network unprotected.",
            remedy="Give the index's https address in `repository-url`; only this machine itself may be http.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _opened(path: Path) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as error:
        raise FileChanged(
            f"`{path}` cannot be read any more: {error.strerror}.",
            remedy="Find out what uses the folder, and publish again; the index has not got this file.",
        ) from None


class SealedFile:
    """A file that is hashed while it is sent; the last bytes are given only if all of them are what was checked."""

    def __init__(self, stream: BinaryIO, form: Form, watch: Callable[[int], None]) -> None:
        self._stream, self._form, self._watch = stream, form, watch
        self._digest = hashlib.sha256()
        self.len = form.size  # what is still to be read; requests-toolbelt looks at it

    @property
    def finished(self) -> bool:
        """Whether the last byte was given."""
        return self.len == 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes. Raises FileChanged."""
        data = self._stream.read(self.len if size < 0 else min(size, self.len))
        self._digest.update(data)
        left = self.len - len(data)
        if (left and not data) or (not left and not self._is_whole()):
            raise FileChanged(
                f"`{self._form.path}` is no longer what was checked; its upload was broken off.",
                remedy="Find out what writes into the folder, and publish again; the index has not got this file.",
            )
        self.len = left
        self._watch(len(data))
        return data

    def _is_whole(self) -> bool:
        return self._digest.hexdigest() == self._form.sha256 and not self._stream.read(1)


class Requests:
    """The real way, through `requests`; one object serves several threads.

    Once the run is cancelled, everything that is on its way has a few seconds left, so that answers which are about to
    come still count.
    """

    def __init__(self, cancellation: Cancellation | None = None) -> None:
        import requests

        from manywheels.core.exchange import Adapter

        self._cancellation, self._last = cancellation, math.inf
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"manywheels/{__version__}"
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, Adapter(pool_maxsize=table("publish")["parallel"] + 1))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        """Get a page; see Transport."""
        most = table("publish")["largest-page"] if with_body else 0
        return self._ask("GET", url, auth, timeout, most=most, headers={"Accept": accept, **_FRESH})

    def post_json(self, url: str, content: Mapping[str, Any], *, timeout: float) -> Response:
        """Post a JSON document; see Transport."""
        return self._ask("POST", url, None, timeout, most=table("publish")["largest-answer"], json=content)

    def post_form(self, url: str, form: Form, *, auth: Auth, timeout: float, watch: Callable[[int], None]) -> Response:
        """Post an upload; see Transport."""
        from requests_toolbelt import MultipartEncoder

        with _opened(form.path) as stream:
            sealed = SealedFile(stream, form, watch)
            content = (form.path.name, sealed, "application/octet-stream")
            body = MultipartEncoder([*form.fields, ("content", content)])
            headers, most = {"Content-Type": body.content_type}, table("publish")["largest-answer"]
            try:
                return self._ask("POST", url, auth, timeout, most=most, data=body, headers=headers)
            except NoResponse as lost:
                raise NoResponse(str(lost), arrived=lost.arrived and sealed.finished) from None

    def _stopped(self) -> bool:
        if not (self._cancellation and self._cancellation.requested):
            return False
        now = time.monotonic()
        self._last = min(self._last, now + table("publish")["grace"])
        return now >= self._last

    def _ask(
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
                    body=exchange.read(response, most) if most else b"",
                )
        except requests.exceptions.RequestException as error:
            raise NoResponse(_shortly(error), arrived=clock.connected) from None


_FRESH: Final = {"Cache-Control": "max-age=0"}  # what was uploaded a second ago must be seen


def _basic(auth: Auth) -> requests.auth.HTTPBasicAuth:
    from requests.auth import HTTPBasicAuth

    user, password = auth
    return HTTPBasicAuth(user.encode(), password.encode())


def _anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keep `requests` from looking for credentials in ~/.netrc."""
    return request


def _never_connected(error: Exception) -> bool:
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)


def _shortly(error: Exception) -> str:
    """Return what went wrong without the addresses of objects; requests' errors hold neither headers nor bodies."""
    import requests

    from manywheels.core.exchange import TimeOver, TooLarge

    if isinstance(error, TimeOver | TooLarge):
        return str(error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return "no connection within the time limit"
    if _never_connected(error):
        return "nobody answers at this address"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer within the time limit"
    return "the connection was lost"


def index_retries(cancellation: Cancellation, clock: Clock | None = None) -> RetryPolicy:
    """Return the policy of data/publish.toml for all requests of one upload."""
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
    """Return the first response of a request that is not transient. Raises NoResponse after some attempts."""

    def attempt() -> Response:
        try:
            response = request()
        except NoResponse as error:
            raise TransientError(str(error)) from None
        if response.is_transient:
            raise TransientError(f"it answers {response.status}", pause=retry_after(response.headers))
        return response

    try:
        return retries.call(attempt, attempts=table("publish")["ask-attempts"])
    except RetriesExhausted as error:
        raise NoResponse(error.reason, arrived=True) from None


def is_name_taken(answer: Response) -> bool:
    """Whether an upload was refused because of its name: 409, or a 400 or 403 that says so in words."""
    if answer.status == HTTPStatus.CONFLICT:
        return True
    is_refusal = answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}
    return is_refusal and _EXISTS.search(reason_text(answer)) is not None


def reason_text(answer: Response, clean: Callable[[str], str] = str) -> str:
    """Return what the index says, in one short line without markup; the status line's own text comes first.

    `clean` takes secrets out, before anything is shortened: half a token would not be recognised.
    """
    usual = {status.value: status.phrase for status in HTTPStatus}
    reason = answer.reason.removeprefix(f"{answer.status} ").strip()
    if not reason or reason.lower() == usual.get(answer.status, "").lower():
        page = clean(answer.body.decode("utf-8", "replace"))[:_LONGEST_PAGE]
        text = re.sub(r"(?s)<(script|style|title)\b.*?</\1>|<[^>]*>", " ", page)
        reason = " ".join(html.unescape(text).split())
    return f"{answer.status} {clean(reason)[:_LONGEST]}".strip()
