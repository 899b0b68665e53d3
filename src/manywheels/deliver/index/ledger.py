"""The ledger, `manywheels-ledger.json`: the state of each file of an upload, correct even after a kill."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from manywheels import __version__
from manywheels.core.files import write_atomically
from manywheels.core.markdown import code, fit, prose
from manywheels.errors import LedgerError
from manywheels.wheels.output import LEDGER

_SCHEMA: Final = 1


class UploadState(StrEnum):
    """The state of a file. UNKNOWN: the index may have it, unconfirmed; NOT_SENT: it does not have it."""

    UPLOADED = "uploaded"
    IDENTICAL = "identical"
    CONFLICT = "conflict"
    NOT_SENT = "not sent"
    UNKNOWN = "unknown"

    @property
    def is_there(self) -> bool:
        """Whether the index has the file with this content."""
        return self in {UploadState.UPLOADED, UploadState.IDENTICAL}


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """A file of the upload: `size` in bytes, `sha256` in hex, `reason` in one sentence."""

    name: str
    size: int
    sha256: str
    state: UploadState
    reason: str = ""
    attempts: int = 0


class Ledger:
    """The states of an upload's files, rewritten at `path` after each change; for several threads."""

    def __init__(self, folder: Path, repository: str, entries: Iterable[LedgerEntry]) -> None:
        """Write it for the first time. Raises LedgerError."""
        self.path, self._repository = folder / LEDGER, repository
        self._entries = {entry.name: entry for entry in entries}
        self._lock = threading.Lock()
        self._write()

    @property
    def entries(self) -> tuple[LedgerEntry, ...]:
        """All files, in the order of sending."""
        with self._lock:
            return tuple(self._entries.values())

    def note(self, name: str, state: UploadState, reason: str = "", *, attempts: int | None = None) -> None:
        """`attempts` None keeps their number. Raises LedgerError."""
        with self._lock:
            entry = self._entries[name]
            counted = entry.attempts if attempts is None else attempts
            self._entries[name] = replace(entry, state=state, reason=reason, attempts=counted)
            self._write()

    def _write(self) -> None:
        # By lines, not `json.dumps` of all: it is rewritten at each change of any of thousands of files.
        head = json.dumps({"schema": _SCHEMA, "manywheels": __version__, "repository": self._repository})
        files = ",\n".join(f"  {json.dumps(vars(entry))}" for entry in self._entries.values())
        try:
            with write_atomically(self.path) as file:
                file.write(f'{head[:-1]}, "files": [\n{files}\n]}}\n'.encode())
        except OSError as error:
            raise LedgerError(
                f"The ledger `{self.path}` cannot be written: {error.strerror}.",
                remedy="Make the folder writable: an upload needs the ledger to record what it did.",
            ) from None


def as_markdown(entries: Iterable[LedgerEntry], budget: int) -> str:
    """Return a table of about `budget` bytes, which counts the files left out.

    The reasons quote the index; they cannot become markup.
    """
    rows = (f"| {code(entry.name)} | {entry.state} | {prose(entry.reason)} |" for entry in entries)
    return "\n".join(["| file | state | |", "| --- | --- | --- |", fit(budget, rows, "files", "the ledger"), ""])
