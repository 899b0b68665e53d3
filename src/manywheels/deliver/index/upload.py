"""Upload files in parallel, each until the index is known to have it; ask the index before each repetition.

The first file that fails for good keeps others from being started; those under way are finished. A file whose name is
taken, with content that cannot be compared, does not: the others are known to be absent.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, Protocol

from manywheels.core.cancellation import Cancellation
from manywheels.core.retry import RetryPolicy, TransientError, retry_after
from manywheels.data import table
from manywheels.deliver.index.http import (
    Auth,
    Form,
    Interrupted,
    NoResponse,
    Response,
    Transport,
    is_name_spent,
    is_name_taken,
    reason_text,
    refusal,
)
from manywheels.deliver.index.identity import Secrets
from manywheels.deliver.index.ledger import Ledger, UploadState
from manywheels.deliver.index.simple_api import Index, Presence
from manywheels.deliver.index.trusted import Credentials, redirected
from manywheels.errors import DeliveryError
from manywheels.verify.distributions import Distribution

ExtraFields = Mapping[str, tuple[tuple[str, str], ...]]
_RECORDING: Final = 0.5  # seconds for threads to write the ledger after a cancellation's grace
_OTHER: Final = "the index has a file of this name with other content"
AGAIN: Final = "Publish the same files again: those on the index are skipped, the rest is sent."
RAISE: Final = "Raise the version: what is on the index cannot be replaced."
COMPARE: Final = (
    "The index has files of these names, and whether they are the same is not known: it lists no digest of them, is "
    "late, or has its simple API elsewhere (`check-url`). Run this once more later, or compare them yourself: "
    "`skip-existing` passes over those that are there; if they differ, raise the version."
)
_UNCOMPARED: Final = {
    Presence.ABSENT: "does not list it",
    Presence.NO_DIGEST: "lists no digest",
    Presence.UNAVAILABLE: "cannot be asked for it",
}


class Progress(Protocol):
    """An upload's listener; called from several threads."""

    def began(self, file: Distribution) -> None:
        """An attempt to send a file begins."""
        ...

    def sent(self, file: Distribution, count: int) -> None:
        """Another `count` bytes of it were sent."""
        ...

    def waits(self, file: Distribution, reason: str) -> None:
        """An attempt failed, and may be repeated."""
        ...

    def ended(self, file: Distribution, state: UploadState, reason: str) -> None:
        """A file has its final state."""
        ...


@dataclass(frozen=True, kw_only=True)
class _Result:
    """How a file ended: `cure` is what to do about it.

    `is_uncompared`: the index has a file of this name, with content that is not known.
    """

    state: UploadState
    reason: str = ""
    cure: str = AGAIN
    is_uncompared: bool = False

    @property
    def halts(self) -> bool:
        """Whether files that were not begun are kept here."""
        return not self.state.is_there and not self.is_uncompared


@dataclass(frozen=True, kw_only=True)
class _Inconclusive:
    """An attempt without a result. `doubtful`: the index may have the file, or get it yet."""

    reason: str
    doubtful: bool = False
    response: Response | None = None


@dataclass(frozen=True, kw_only=True)
class UploadContext:
    """What all files of an upload share."""

    transport: Transport
    index: Index
    credentials: Credentials
    retries: RetryPolicy
    secrets: Secrets
    cancellation: Cancellation


class Sender:
    """Sends files, and writes their states to the ledger."""

    def __init__(
        self, context: UploadContext, ledger: Ledger, progress: Progress, extra: ExtraFields | None = None
    ) -> None:
        """`extra` are more fields of the forms, by file name."""
        self._context, self._ledger, self._progress, self._extra = context, ledger, progress, extra or {}
        self._halt = threading.Event()
        self._failure: BaseException | None = None
        self._cures: dict[str, None] = {}
        self.uncompared: set[str] = set()

    def send(self, files: Sequence[Distribution]) -> None:
        """Send sdists, then wheels; a release's first file alone.

        PyPI answers 500 to a file of a new release that comes while another one begins it. Raises errors that concern
        more than one file, LedgerError among them.
        """
        for group in _groups(files):
            if not self._stopped:
                self._send_group(group)
        if self._failure:
            raise self._failure

    @property
    def cures(self) -> tuple[str, ...]:
        """What to do about the files that did not arrive."""
        return tuple(self._cures)

    @property
    def _stopped(self) -> bool:
        return self._halt.is_set() or self._context.retries.over

    def _send_group(self, files: Sequence[Distribution]) -> None:
        """Send in threads; after a cancellation, wait for them only as long as requests under way have."""
        queue = deque(files)
        count = min(table("publish")["parallel"], len(files))
        threads = [threading.Thread(target=self._work, args=(queue,), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        left = table("publish")["grace"] + _RECORDING
        for thread in threads:
            while thread.is_alive() and left > 0:
                thread.join(0.1)
                left -= 0.1 if self._context.cancellation.requested else 0.0

    def _work(self, queue: deque[Distribution]) -> None:
        while not self._stopped:
            try:
                file = queue.popleft()
            except IndexError:
                return
            try:
                end = self._upload(file)
                end = replace(end, reason=self._context.secrets.redact(end.reason))
                self._note(file, end)
                self._ledger.note(file.name, end.state, end.reason)
                self._progress.ended(file, end.state, end.reason)
            except BaseException as error:  # noqa: BLE001 - it is raised again in `send`
                self._failure = self._failure or error
                self._halt.set()

    def _note(self, file: Distribution, end: _Result) -> None:
        if end.halts:
            self._halt.set()
        if not end.state.is_there:
            self._cures[end.cure] = None
        if end.is_uncompared:
            self.uncompared.add(file.name)

    def _upload(self, file: Distribution) -> _Result:
        retries = self._context.retries
        earlier: list[_Inconclusive] = []
        while True:
            number = len(earlier) + 1
            try:
                outcome = self._attempt(file, number, earlier)
            except DeliveryError as error:  # for all files, or this one
                self._failure = self._failure or error
                reason = " ".join(error.message.split("\n"))
                outcome = _Result(state=UploadState.NOT_SENT, reason=reason, cure=error.remedy)
            if isinstance(outcome, _Inconclusive) and outcome.doubtful:
                outcome = self._lookup(file) or outcome
            if isinstance(outcome, _Result):
                return self._with_doubts(file, outcome, earlier)
            earlier.append(outcome)
            self._progress.waits(file, outcome.reason)
            asked = retry_after(outcome.response.headers) if outcome.response else 0.0
            if self._stopped or not retries.again(number, TransientError(outcome.reason, pause=asked)):
                return self._exhausted(file, earlier)

    def _attempt(self, file: Distribution, number: int, earlier: Sequence[_Inconclusive]) -> _Result | _Inconclusive:
        context = self._context
        auth = context.credentials.current()
        if context.credentials.valid_until is not None:
            context.retries.end_at(context.credentials.valid_until)
        self._ledger.note(file.name, UploadState.UNKNOWN, "it is being sent", attempts=number)
        self._progress.began(file)

        def watch(count: int) -> None:
            if context.retries.over:
                raise Interrupted
            self._progress.sent(file, count)

        form = form_of(file, *self._extra.get(file.name, ()))
        limit = context.retries.timeout(_timeout(file))
        try:
            response = context.transport.post_form(
                context.index.addresses.upload, form, auth=auth, timeout=limit, watch=watch
            )
        except Interrupted:
            reason = "the run was cancelled" if context.retries.cancelled else "the time for uploads was over"
            return _Result(state=UploadState.NOT_SENT, reason=f"{reason} before it was sent completely")
        except NoResponse as lost:
            if lost.cure:
                return _Result(state=UploadState.NOT_SENT, reason=str(lost), cure=lost.cure)
            return _Inconclusive(reason=str(lost), doubtful=lost.arrived)
        return self._interpret(file, response, auth, earlier)

    def _interpret(
        self, file: Distribution, response: Response, auth: Auth, earlier: Sequence[_Inconclusive]
    ) -> _Result | _Inconclusive:
        reason = reason_text(response, self._context.secrets.redact)
        if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
            return _Result(state=UploadState.UPLOADED)
        if response.redirects:
            raise redirected(response)
        if is_name_taken(response):
            return self._name_taken(file, response, earlier)
        if response.is_transient:
            return _Inconclusive(
                reason=reason, doubtful=response.status != HTTPStatus.TOO_MANY_REQUESTS, response=response
            )
        refused = refusal(response, reason)
        # An expired token is refused as a wrong one is: try once with another.
        if refused.renewable and self._context.credentials.renewable and not any(map(_refuses, earlier)):
            self._context.credentials.renew(auth)
            return _Inconclusive(reason=reason, response=response)
        cure = refused.cure.replace("{who}", self._context.credentials.described)
        return _Result(state=UploadState.NOT_SENT, reason=f"{refused.means}: {reason}", cure=cure)

    def _name_taken(self, file: Distribution, response: Response, earlier: Sequence[_Inconclusive]) -> _Result:
        """Look the file up: some indexes refuse an existing name even with the same content."""
        reason = reason_text(response, self._context.secrets.redact)
        presence = self._lookup_repeatedly(file)
        was_ours = any(attempt.doubtful for attempt in earlier)
        # PyPI takes the same content twice; what others do not list may come late.
        is_other = presence is Presence.ABSENT and self._context.index.addresses.has_rules
        match presence:
            case Presence.SAME:
                return _Result(state=UploadState.UPLOADED if was_ours else UploadState.IDENTICAL)
            case Presence.OTHER:
                return _Result(state=UploadState.CONFLICT, reason=_OTHER, cure=RAISE)
        if not was_ours and (is_other or is_name_spent(response)):
            return _Result(state=UploadState.CONFLICT, reason=f"the index refuses its name: {reason}", cure=RAISE)
        return _Result(
            state=UploadState.UNKNOWN,
            reason=f"the index has a file of this name, and {_UNCOMPARED[presence]}: {reason}",
            cure=AGAIN if was_ours else COMPARE,
            is_uncompared=True,
        )

    def _with_doubts(self, file: Distribution, end: _Result, earlier: Sequence[_Inconclusive]) -> _Result:
        """Look up whether an earlier attempt without a response was stored."""
        if end.state is UploadState.NOT_SENT and any(attempt.doubtful for attempt in earlier):
            found = self._exhausted(file, [*earlier, _Inconclusive(reason=end.reason)])
            return replace(found, cure=end.cure) if found.state is UploadState.UNKNOWN else found
        return end

    def _exhausted(self, file: Distribution, earlier: Sequence[_Inconclusive]) -> _Result:
        reason = f"{earlier[-1].reason} (after {len(earlier)} attempt{'s' * (len(earlier) > 1)})"
        if not any(attempt.doubtful for attempt in earlier):
            return _Result(state=UploadState.NOT_SENT, reason=reason)
        # If unlisted, the index may store it yet, behind a gateway that timed out.
        unknown = _Result(state=UploadState.UNKNOWN, reason=f"{reason}, and the index has not confirmed it")
        return _known(self._lookup_repeatedly(file)) or unknown

    def _lookup(self, file: Distribution) -> _Result | None:
        return _known(self._context.index.presence(file))

    def _lookup_repeatedly(self, file: Distribution) -> Presence:
        """Ask several times: a new file may not be listed yet."""
        facts = table("publish")
        presence = Presence.UNAVAILABLE
        for number in range(facts["settle-asks"]):
            presence = self._context.index.presence(file)
            is_silent = self._context.index.simple is None  # there is no simple API
            if presence in {Presence.SAME, Presence.OTHER} or is_silent or self._context.cancellation.requested:
                break
            if number < facts["settle-asks"] - 1:
                self._context.retries.sleep(facts["settle-pause"])
        return presence


def form_of(file: Distribution, *more: tuple[str, str]) -> Form:
    """Return what the index is sent for a file; `more` are further fields."""
    return Form(fields=(*file.fields, *more), path=file.path, size=file.size, sha256=file.sha256)


def _groups(files: Iterable[Distribution]) -> Iterator[list[Distribution]]:
    """Yield the files that may be sent side by side."""
    ordered = sorted(files, key=lambda file: not file.is_sdist)
    first = {(file.project, file.version): file.name for file in reversed(ordered)}.values()
    yield from ([file] for file in ordered if file.name in first)
    rest = [file for file in ordered if file.name not in first]
    yield [file for file in rest if file.is_sdist]
    yield [file for file in rest if not file.is_sdist]


def _timeout(file: Distribution) -> float:
    facts = table("publish")
    return float(facts["send-timeout"] + file.size / facts["slowest-rate"])


def _known(presence: Presence) -> _Result | None:
    match presence:
        case Presence.SAME:
            return _Result(state=UploadState.UPLOADED)
        case Presence.OTHER:
            return _Result(state=UploadState.CONFLICT, reason=_OTHER, cure=RAISE)
    return None


def _refuses(attempt: _Inconclusive) -> bool:
    return attempt.response is not None and attempt.response.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
