"""Sending: files in parallel, each until the index is known to have it; nothing is repeated before the index was asked.

The first file that cannot be brought there stops the others that were not begun; those on their way are finished.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import count
from typing import Final, Protocol

from manywheels.core.cancellation import Cancellation
from manywheels.core.retry import RetryPolicy, TransientError, retry_after
from manywheels.data import table
from manywheels.deliver.index.distributions import Distribution
from manywheels.deliver.index.http import Auth, Interrupted, NoResponse, Response, Transport, is_name_taken, reason_text
from manywheels.deliver.index.identity import Secrets
from manywheels.deliver.index.ledger import Ledger, UploadState
from manywheels.deliver.index.simple_api import Index, Presence
from manywheels.deliver.index.trusted import Credentials, redirected
from manywheels.errors import DeliveryError

Extra = Mapping[str, tuple[tuple[str, str], ...]]
_NOTING: Final = 0.5  # seconds that threads get, after a cancellation's grace, to note what came of their files
_OTHER: Final = "the index has a file of this name with other content"


class Progress(Protocol):
    """Who is told how the upload goes; called from several threads."""

    def began(self, file: Distribution) -> None:
        """Say that a file is sent, from its first byte on; again at each attempt."""
        ...

    def sent(self, file: Distribution, count: int) -> None:
        """Say that some more bytes were sent."""
        ...

    def waits(self, file: Distribution, reason: str) -> None:
        """Say why a file is tried again."""
        ...

    def ended(self, file: Distribution, state: UploadState, reason: str) -> None:
        """Say where a file stands."""
        ...


@dataclass(frozen=True, kw_only=True)
class _End:
    """Where a file stands after all."""

    state: UploadState
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class _Again:
    """An attempt that settled nothing. `doubtful`: the index may have the file, or be about to have it."""

    reason: str
    doubtful: bool = False
    answer: Response | None = None


@dataclass(frozen=True, kw_only=True)
class UploadContext:
    """What an upload needs: how requests are made, the index, the credentials, the time there is."""

    transport: Transport
    index: Index
    credentials: Credentials
    retries: RetryPolicy
    secrets: Secrets
    cancellation: Cancellation


class Sender:
    """Sends files, and notes in the ledger where each of them stands."""

    def __init__(self, line: UploadContext, ledger: Ledger, progress: Progress, extra: Extra | None = None) -> None:
        """`extra` are further fields of the files' forms, by the files' names."""
        self._line, self._ledger, self._progress, self._extra = line, ledger, progress, extra or {}
        self._halt = threading.Event()
        self._failure: BaseException | None = None

    def send(self, files: Sequence[Distribution]) -> None:
        """Send sdists, then wheels. Raises what stopped it if that was more than one file's misfortune."""
        for group in ([file for file in files if file.is_sdist], [file for file in files if not file.is_sdist]):
            if not self._stopped:
                self._send_group(group)
        if self._failure:
            raise self._failure

    @property
    def _stopped(self) -> bool:
        return self._halt.is_set() or self._line.retries.over

    def _send_group(self, files: Sequence[Distribution]) -> None:
        """Wait for the threads; after a cancellation, only as long as requests that are on their way have."""
        queue = deque(files)
        count = min(table("publish")["parallel"], len(files))
        threads = [threading.Thread(target=self._work, args=(queue,), daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        left = table("publish")["grace"] + _NOTING
        for thread in threads:
            while thread.is_alive() and left > 0:
                thread.join(0.1)
                left -= 0.1 if self._line.cancellation.requested else 0.0

    def _work(self, queue: deque[Distribution]) -> None:
        while not self._stopped:
            try:
                file = queue.popleft()
            except IndexError:
                return
            try:
                end = self._bring(file)
                end = replace(end, reason=self._line.secrets.cleaned(end.reason))
                if not end.state.is_there:
                    self._halt.set()
                self._ledger.note(file.name, end.state, end.reason)
                self._progress.ended(file, end.state, end.reason)
            except BaseException as error:  # noqa: BLE001 - it is raised again in `send`
                self._failure = self._failure or error
                self._halt.set()

    def _bring(self, file: Distribution) -> _End:
        """Attempt it until it has ended, or attempts or time are used up."""
        retries = self._line.retries
        tried: list[_Again] = []
        for number in count(1):
            try:
                outcome = self._attempt(file, number, tried)
            except DeliveryError as error:  # no file can be sent any more, or not this one
                self._failure = self._failure or error
                outcome = _End(state=UploadState.NOT_SENT, reason=error.message.partition("\n")[0])
            if isinstance(outcome, _Again) and outcome.doubtful:
                outcome = self._ask(file) or outcome
            if isinstance(outcome, _End):
                return self._looked_after(file, outcome, tried)
            tried.append(outcome)
            self._progress.waits(file, outcome.reason)
            asked = retry_after(outcome.answer.headers) if outcome.answer else 0.0
            if self._stopped or not retries.again(number, TransientError(outcome.reason, pause=asked)):
                return self._give_up(file, tried)
        raise AssertionError("unreachable")  # pragma: no cover

    def _attempt(self, file: Distribution, number: int, tried: Sequence[_Again]) -> _End | _Again:
        line = self._line
        auth = line.credentials.current()
        if line.credentials.valid_until is not None:
            line.retries.end_at(line.credentials.valid_until)
        self._ledger.note(file.name, UploadState.UNKNOWN, "it is being sent", attempts=number)
        self._progress.began(file)

        def watch(count: int) -> None:
            if line.retries.over:
                raise Interrupted
            self._progress.sent(file, count)

        form = file.form(*self._extra.get(file.name, ()))
        limit = line.retries.timeout(_longest(file))
        try:
            answer = line.transport.post_form(line.index.addresses.upload, form, auth=auth, timeout=limit, watch=watch)
        except Interrupted:
            reason = "the run was cancelled" if line.retries.cancelled else "the time for uploads was over"
            return _End(state=UploadState.NOT_SENT, reason=f"{reason} before it was sent as a whole")
        except NoResponse as lost:
            return _Again(reason=str(lost), doubtful=lost.arrived)
        return self._judge(file, answer, auth, tried)

    def _judge(self, file: Distribution, answer: Response, auth: Auth, tried: Sequence[_Again]) -> _End | _Again:
        """Return what an answer to an upload means."""
        said = reason_text(answer, self._line.secrets.cleaned)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return _End(state=UploadState.UPLOADED)
        if answer.redirects:
            raise redirected(answer)
        if is_name_taken(answer):
            return self._existing(file, said, tried)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            # A token that has just expired is refused as a wrong one is: once, another may help.
            if self._line.credentials.renewable and not any(again.answer and _refuses(again.answer) for again in tried):
                self._line.credentials.renew(auth)
                return _Again(reason=said, answer=answer)
            return _End(state=UploadState.NOT_SENT, reason=f"the index refuses the credentials: {said}")
        if answer.is_transient:
            return _Again(reason=said, doubtful=answer.status != HTTPStatus.TOO_MANY_REQUESTS, answer=answer)
        return _End(state=UploadState.NOT_SENT, reason=f"the index refuses it: {said}")

    def _existing(self, file: Distribution, said: str, tried: Sequence[_Again]) -> _End:
        """Some indexes refuse a name that they have, whatever the content: only a question tells."""
        presence = self._settled(file)
        was_ours = any(again.doubtful for again in tried)
        match presence:
            case Presence.SAME:
                return _End(state=UploadState.UPLOADED if was_ours else UploadState.IDENTICAL)
            case Presence.OTHER:
                return _End(state=UploadState.CONFLICT, reason=_OTHER)
            case Presence.ABSENT if not was_ours:
                return _End(state=UploadState.CONFLICT, reason=f"the index refuses its name: {said}")
        return _End(
            state=UploadState.UNKNOWN, reason=f"the index has a file of this name, and does not say which: {said}"
        )

    def _looked_after(self, file: Distribution, end: _End, tried: Sequence[_Again]) -> _End:
        """What an attempt was refused says nothing of an earlier one whose answer was lost."""
        if end.state is UploadState.NOT_SENT and any(again.doubtful for again in tried):
            return self._give_up(file, [*tried, _Again(reason=end.reason)])
        return end

    def _give_up(self, file: Distribution, tried: Sequence[_Again]) -> _End:
        reason = f"{tried[-1].reason} (after {len(tried)} attempt{'s' * (len(tried) > 1)})"
        if not any(again.doubtful for again in tried):
            return _End(state=UploadState.NOT_SENT, reason=reason)
        # That it is not listed proves nothing: behind a gateway that gave up, too, the index may store it yet.
        unknown = _End(state=UploadState.UNKNOWN, reason=f"{reason}, and the index does not say that it has it")
        return _known(self._settled(file)) or unknown

    def _ask(self, file: Distribution) -> _End | None:
        return _known(self._line.index.presence(file.project, file.name, file.sha256))

    def _settled(self, file: Distribution) -> Presence:
        """Ask several times: what an index was sent a moment ago may not be shown yet."""
        facts = table("publish")
        presence = Presence.SILENT
        for number in range(facts["settle-asks"]):
            presence = self._line.index.presence(file.project, file.name, file.sha256)
            if presence in {Presence.SAME, Presence.OTHER} or self._line.cancellation.requested:
                break
            if number < facts["settle-asks"] - 1:
                self._line.retries.sleep(facts["settle-pause"])
        return presence


def _longest(file: Distribution) -> float:
    """Return the seconds that one attempt to upload a file may take."""
    facts = table("publish")
    return float(facts["send-timeout"] + file.size / facts["slowest-rate"])


def _known(presence: Presence) -> _End | None:
    """Return the end of a file that was sent, and is now there."""
    match presence:
        case Presence.SAME:
            return _End(state=UploadState.UPLOADED)
        case Presence.OTHER:
            return _End(state=UploadState.CONFLICT, reason=_OTHER)
    return None


def _refuses(answer: Response) -> bool:
    return answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
