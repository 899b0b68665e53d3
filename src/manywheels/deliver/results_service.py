"""Calls of the services under ACTIONS_RESULTS_URL (artifacts, cache), and the blobs that they give signed addresses of.

Twirp 7 (JSON over POST) with the job's token, as actions/toolkit's clients (packages/artifact, packages/cache). A blob
is an Azure block blob. Messages have neither the token nor signed addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from manywheels.core.documents import parse_json
from manywheels.core.redaction import redacted
from manywheels.core.retry import RetriesExhausted, RetryPolicy, TransientError, transient_status
from manywheels.errors import DeliveryError

if TYPE_CHECKING:
    import requests

    from manywheels.core.exchange import Exchange

TIMEOUTS: Final = (20.0, 120.0)  # seconds: to connect, and between two bytes
CALL_LIMIT: Final = 120.0  # seconds for a call with its response
SLOWEST: Final = 50_000.0  # bytes per second: the time that content adds
_BLOCK: Final = 8 << 20  # bytes, as in the official artifact client
_PIECE: Final = 1 << 20  # bytes of a download read at once
_LONGEST: Final = 65_536  # characters of a message
_PACKAGE: Final = "/twirp/github.actions.results.api.v1."
_QUOTA: Final = re.compile(r"insufficient usage|quota", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a job's services are, and its token."""

    url: str
    token: str = field(repr=False)


def find_server(environment: Mapping[str, str]) -> Server | None:
    """Return None outside of a job of GitHub's; in one, only actions have these variables."""
    address, token = (environment.get(name) for name in ("ACTIONS_RESULTS_URL", "ACTIONS_RUNTIME_TOKEN"))
    if not address or not token:
        return None
    parts = urlsplit(address)
    return Server(url=f"{parts.scheme}://{parts.netloc}", token=token)


class Refused(Exception):
    """A response that will not change: its HTTP status, and the service's `message`, without secrets."""

    def __init__(self, status: int, what: str, message: str) -> None:
        self.status, self.message = status, message
        self.detail = f"{what}: HTTP status {status}" + (f", {message}" if message else "")
        super().__init__(self.detail)

    @property
    def is_quota(self) -> bool:
        """Whether storage is used up."""
        return is_quota(self.message)


def is_quota(message: str) -> bool:
    return bool(_QUOTA.search(message))


@dataclass(kw_only=True)
class Calls:
    """Calls to one service; `say` prints a line for each retry, `failures` counts them.

    `name` is the service's in the protocol, `label` its name in those lines. `ends_with_budget`: the budget of
    `retries` ends a running exchange as well.
    """

    server: Server
    name: str
    label: str
    say: Callable[[str], None]
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    ends_with_budget: bool = False
    failures: int = 0

    def __post_init__(self) -> None:
        import requests

        from manywheels.core.exchange import Adapter

        self.session = requests.Session()
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, Adapter(limit=_timeout, stopped=self._stopped))
        self._secrets = [self.server.token]
        # Sent with each call; the session must not read .netrc.
        self._headers = {"Authorization": f"Bearer {self.server.token}"}
        self.session.auth = lambda prepared: prepared

    # --- calls --------------------------------------------------------------------------------------------------------

    def call(self, method: str, request: Mapping[str, object], *, may_fail: bool = False) -> Mapping[str, Any]:
        """Return the response's fields, in snake_case; with `may_fail` also if they report no success.

        Raises what `persist` raises.
        """

        def attempt() -> Mapping[str, Any]:
            with self._transient_errors():
                response = self.session.post(
                    f"{self.server.url}{_PACKAGE}{self.name}/{method}", json=request, headers=self._headers,
                    timeout=TIMEOUTS, allow_redirects=False,
                )  # fmt: skip
            if response.status_code != 200:  # noqa: PLR2004 - Twirp knows no other success
                raise self._error_for(response.status_code, response.headers, method, _twirp_message(response))
            try:
                fields = _snake(parse_json(response.content))
            except (ValueError, RecursionError):
                raise TransientError(f"the response to {method} is not in JSON") from None
            if not isinstance(fields, dict) or not (may_fail or fields.get("ok", True) is True):
                raise TransientError(f"the response to {method} reports no success")
            return fields

        return self.persist(attempt)

    def persist(self, operation: Callable[[], T]) -> T:
        """Call again after each TransientError. Raises RetriesExhausted, Refused and Cancelled."""
        self.retries.cancellation.stop_if_requested("The delivery")
        if self._stopped():  # an exchange notices only after a moment: many short ones would not
            raise RetriesExhausted("there was no time left", 0)
        return self.retries.call(operation, report=self._report_retry)

    def address_of(self, fields: Mapping[str, Any], name: str) -> str:
        """Return a field with a signed address, which becomes a secret. Raises DeliveryError."""
        address = text_of(fields, name)
        try:
            self._secrets.append(urlsplit(address).query)
        except ValueError:
            raise DeliveryError(f"The service's `{name}` is not an address.", remedy="Please report it.") from None
        return address

    def redact(self, message: str) -> str:
        """Return at most 500 characters of a message, without secrets and addresses."""
        return re.sub(r"\S+://\S+", "…", redacted(message[:_LONGEST], self._secrets))[:500]

    # --- blobs --------------------------------------------------------------------------------------------------------

    def send(self, address: str, file: IO[bytes], content_type: str, report: Callable[[int], None]) -> None:
        """Upload what is left of a file as a block blob; `report` gets the bytes sent, after each block.

        Raises DeliveryError for an address that is not a blob's, and what `persist` raises.
        """
        from azure.core.credentials import AzureSasCredential
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import BlobBlock, BlobClient, ContentSettings

        # As a credential, because Azure keeps only its own parameters of an address.
        parts = urlsplit(address)
        try:
            client = BlobClient.from_blob_url(
                parts._replace(query="").geturl(), credential=AzureSasCredential(parts.query), retry_total=0,
                connection_timeout=TIMEOUTS[0], read_timeout=TIMEOUTS[1],
                transport=RequestsTransport(session=self.session, session_owner=False),
            )  # fmt: skip
        except ValueError:
            raise DeliveryError("The address for the upload is not a blob's.", remedy="Please report it.") from None
        with client as blob:
            blocks: list[BlobBlock] = []
            sent = 0
            while block := file.read(_BLOCK):
                number = f"{len(blocks):08d}"
                self.persist(lambda number=number, block=block: self._blob(blob.stage_block, number, block))  # type: ignore[misc]
                blocks.append(BlobBlock(block_id=number))
                sent += len(block)
                report(sent)
            settings = ContentSettings(content_type=content_type)
            self.persist(lambda: self._blob(blob.commit_block_list, blocks, content_settings=settings))

    def _blob(self, operation: Callable[..., object], *arguments: object, **named: object) -> None:
        from azure.core.exceptions import AzureError, HttpResponseError

        try:
            operation(*arguments, **named)
        except HttpResponseError as error:
            headers: Mapping[str, str] = getattr(error.response, "headers", {})
            raise self._error_for(error.status_code or 0, headers, "The upload", error.reason or "") from None
        except AzureError:
            raise TransientError("the connection for the upload was lost") from None

    @contextmanager
    def receive(
        self, address: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[tuple[requests.Response, Iterator[bytes]]]:
        """Request a blob once: the response, which is a success, and the pieces of its body.

        For an operation of `persist`. Raises TransientError and Refused.
        """
        with (
            self._transient_errors(),
            self._exchange() as clock,
            self.session.get(address, headers=headers, stream=True, timeout=TIMEOUTS) as response,
        ):
            if not response.ok:
                raise self._error_for(response.status_code, response.headers, "The download", response.reason)
            yield response, self._pieces(response, clock)

    def _pieces(self, response: requests.Response, clock: Exchange) -> Iterator[bytes]:
        for piece in response.iter_content(_PIECE):
            if self.retries.left > 0:
                clock.extend(len(piece) / SLOWEST)
            yield piece

    # --- time and errors ----------------------------------------------------------------------------------------------

    def _stopped(self) -> bool:
        return self.retries.over if self.ends_with_budget else self.retries.cancelled

    def _exchange(self) -> Exchange:
        from manywheels.core.exchange import Exchange

        return Exchange(CALL_LIMIT, stall=TIMEOUTS[1], stopped=self._stopped)

    def _report_retry(self, what: str) -> None:
        self.failures += 1
        self.say(f"{self.label}: {what}")

    @contextmanager
    def _transient_errors(self) -> Iterator[None]:
        """Turn errors of requests into TransientError, without their texts, which have the signed address."""
        import requests

        from manywheels.core.exchange import TimeOver, TooLarge

        try:
            yield
        except (TimeOver, TooLarge) as error:
            raise TransientError(str(error)) from None
        except requests.Timeout:
            raise TransientError(f"nothing came for {TIMEOUTS[1]:.0f} s") from None
        except requests.RequestException as error:
            raise TransientError(f"the connection was lost ({type(error).__name__})") from None

    def _error_for(self, status: int, headers: Mapping[str, str], what: str, message: str) -> Exception:
        """Return Refused, or TransientError for a status that may pass; `message` is the service's."""
        refused = Refused(status, what, self.redact(message))
        failure = None if refused.is_quota else transient_status(status, headers)  # GitHub sends 429 for some quotas
        return TransientError(f"{failure.reason} ({what})", pause=failure.pause) if failure else refused


def _twirp_message(response: requests.Response) -> str:
    try:
        found = parse_json(response.content)
    except ValueError:
        return response.reason
    return str(found.get("msg") or response.reason) if isinstance(found, dict) else response.reason


def _timeout(request: requests.PreparedRequest) -> float:
    return CALL_LIMIT + int(request.headers.get("Content-Length", "0")) / SLOWEST


def _snake(value: object) -> Any:  # noqa: ANN401 - JSON
    """Turn field names into snake_case; ProtoJSON allows both forms, and servers send both."""
    if isinstance(value, dict):
        return {re.sub("[A-Z]", lambda big: f"_{big[0].lower()}", name): _snake(entry) for name, entry in value.items()}
    return [_snake(entry) for entry in value] if isinstance(value, list) else value


def text_of(fields: Mapping[str, Any], name: str) -> str:
    """Return a required field, numbers as text. Raises DeliveryError."""
    value = fields.get(name)
    if not value or not isinstance(value, str | int):
        raise DeliveryError(f"The service's response has no `{name}`.", remedy="Please report it.")
    return str(value)
