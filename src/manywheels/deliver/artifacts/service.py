"""Calls of GitHub's artifact service: its address, requests with retries, and errors.

Twirp 7 (JSON over POST) under ACTIONS_RESULTS_URL, with the job's token. Messages have neither it nor signed addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from manywheels.core.documents import parse_json
from manywheels.core.redaction import redacted
from manywheels.core.retry import RetriesExhausted, RetryPolicy, TransientError, transient_status
from manywheels.deliver.index.claims import read_claims
from manywheels.errors import (
    ArtifactExists,
    ArtifactMissing,
    ArtifactQuota,
    ArtifactRefused,
    ArtifactServiceDown,
    ArtifactServiceMissing,
    DeliveryError,
)

if TYPE_CHECKING:
    import requests

    from manywheels.core.exchange import Exchange

TIMEOUTS: Final = (20.0, 120.0)  # seconds: to connect, and between two bytes
CALL_LIMIT: Final = 120.0  # seconds for a call with its response
SLOWEST: Final = 50_000.0  # bytes per second: the time that content adds
_LONGEST: Final = 65_536  # characters of a message
_METHODS: Final = "/twirp/github.actions.results.api.v1.ArtifactService/"
_RUN_AGAIN: Final = "The token expires with the job: run the job again, within its time limit."
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Service:
    """The service's address and token. `run` and `job` are the backend's ids; `page` is the run's page, or empty."""

    url: str
    token: str = field(repr=False)
    run: str
    job: str
    page: str


def has_service(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("ACTIONS_RESULTS_URL") and environment.get("ACTIONS_RUNTIME_TOKEN"))


def find_service(environment: Mapping[str, str]) -> Service:
    """Raises ArtifactServiceMissing."""
    if not has_service(environment):
        raise ArtifactServiceMissing(
            "There is no artifact service here: ACTIONS_RESULTS_URL and ACTIONS_RUNTIME_TOKEN are not set.",
            remedy="Only the action itself has them, in a GitHub workflow; elsewhere use `publish: none` and folders.",
        )
    token, server = environment["ACTIONS_RUNTIME_TOKEN"], urlsplit(environment["ACTIONS_RESULTS_URL"])
    run, job = _backend_ids(token)
    known = [environment.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")]
    page = "{}/{}/actions/runs/{}".format(*known) if all(known) else ""
    return Service(url=f"{server.scheme}://{server.netloc}", token=token, run=run, job=job, page=page)


def _backend_ids(token: str) -> tuple[str, str]:
    """Return run and job from the token's scope `Actions.Results:<run>:<job>`."""
    for scope in str(read_claims(token).get("scp") or "").split():
        match scope.split(":"):
            case ["Actions.Results", run, job] if run and job:
                return run, job
    raise ArtifactServiceMissing(
        "The job's ACTIONS_RUNTIME_TOKEN does not say whose artifacts these are: it has no scope `Actions.Results`.",
        remedy="Only a runner makes this token; a server older than artifacts version 4 makes others.",
    )


@dataclass(kw_only=True)
class Calls:
    """Calls to one service; `say` prints a line for each retry, `failures` counts them."""

    service: Service
    say: Callable[[str], None]
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    failures: int = 0

    def __post_init__(self) -> None:
        import requests

        from manywheels.core.exchange import Adapter

        self.session = requests.Session()
        for scheme in ("https://", "http://"):
            self.session.mount(scheme, Adapter(limit=_timeout, stopped=lambda: self.retries.cancelled))
        self._secrets = [self.service.token]
        # Sent with each call; the session must not read .netrc.
        self._headers = {"Authorization": f"Bearer {self.service.token}"}
        self.session.auth = lambda prepared: prepared

    def call(self, method: str, request: Mapping[str, object]) -> Mapping[str, Any]:
        """Return the response's fields, in snake_case.

        Raises ArtifactServiceDown, the DeliveryErrors of `error_for`, and Cancelled.
        """
        body = {
            "workflow_run_backend_id": self.service.run,
            "workflow_job_run_backend_id": self.service.job,
            **request,
        }

        def attempt() -> Mapping[str, Any]:
            with self.transient_errors():
                response = self.session.post(
                    self.service.url + _METHODS + method, json=body, headers=self._headers, timeout=TIMEOUTS,
                    allow_redirects=False,
                )  # fmt: skip
            if response.status_code != 200:  # noqa: PLR2004 - Twirp knows no other success
                raise self.error_for(response.status_code, response.headers, method, _twirp_message(response))
            try:
                fields = _snake(parse_json(response.content))
            except (ValueError, RecursionError):
                raise TransientError(f"the response to {method} is not in JSON") from None
            if not isinstance(fields, dict) or fields.get("ok", True) is not True:
                raise TransientError(f"the response to {method} reports no success")
            return fields

        return self.persist(attempt)

    def exchange(self) -> Exchange:
        from manywheels.core.exchange import Exchange

        return Exchange(CALL_LIMIT, stall=TIMEOUTS[1], stopped=lambda: self.retries.cancelled)

    def keep(self, address: str) -> str:
        """Register a signed address as a secret, and return it."""
        self._secrets.append(urlsplit(address).query)
        return address

    def persist(self, operation: Callable[[], T]) -> T:
        """Call again after each TransientError. Raises ArtifactServiceDown and Cancelled."""
        self.retries.cancellation.stop_if_requested("The delivery")
        try:
            return self.retries.call(operation, report=self._report_retry)
        except RetriesExhausted as error:
            raise ArtifactServiceDown(
                f"The artifact service is down: {error}.",
                remedy="The wheels are in the output folder. Check GitHub's status page, and run the job again.",
            ) from None

    def _report_retry(self, what: str) -> None:
        self.failures += 1
        self.say(f"artifact service: {what}")

    @contextmanager
    def transient_errors(self) -> Iterator[None]:
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

    def error_for(self, status: int, headers: Mapping[str, str], what: str, message: str) -> Exception:
        """`message` is the service's."""
        detail = f"{what}: HTTP status {status}" + (f", {self._redact(message)}" if message else "")
        if re.search(r"insufficient usage|quota", message, re.IGNORECASE):
            return ArtifactQuota(
                f"The storage for artifacts is used up ({detail}).",
                remedy="Delete old artifacts, or lower `retention-days`; GitHub recounts twice a day.",
            )
        if failure := transient_status(status, headers):
            return TransientError(f"{failure.reason} ({what})", pause=failure.pause)
        match status:
            case 401 | 403:
                return ArtifactRefused(f"The artifact service refuses the job ({detail}).", remedy=_RUN_AGAIN)
            case 404:
                return ArtifactMissing(f"The artifact does not exist ({detail}).", remedy="Run the building job again.")
            case 409:
                return ArtifactExists(
                    f"The run already has an artifact of this name ({detail}).",
                    remedy="Give each job its own `artifact-name`, or set `overwrite: true` to replace the old one.",
                )
        return DeliveryError(f"The artifact service sent an unknown response ({detail}).", remedy="Please report it.")

    def _redact(self, message: str) -> str:
        return re.sub(r"\S+://\S+", "…", redacted(message[:_LONGEST], self._secrets))[:500]


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
        raise DeliveryError(f"The artifact service's response has no `{name}`.", remedy="Please report it.")
    return str(value)
