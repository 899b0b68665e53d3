"""Every check there is, for tables, `manywheels explain` and the codes that may be ignored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from manywheels.verify import sets
from manywheels.verify.attested import ATTESTATION_CHECK
from manywheels.verify.check import CHECKS
from manywheels.verify.installs import INSTALL_CHECKS
from manywheels.verify.model import Severity


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A check as users read of it: `must_hold` is one sentence, `why` another."""

    code: str
    title: str
    must_hold: str
    why: str
    severity: Severity


@cache
def catalogue() -> tuple[Entry, ...]:
    """Return every check, ordered by code."""
    unreadable = Entry(
        code="MW200", title="a wheel", must_hold="The file is a zip archive whose name is a wheel's.",
        why="What is no wheel cannot be checked, nor installed.", severity=Severity.ERROR,
    )  # fmt: skip
    of_wheels = [_entry(check.code, check.title, check.run, check.reason, check.severity) for check in CHECKS]
    of_sets = [_entry(check.code, check.title, check.run, check.reason, check.severity) for check in sets.CHECKS]
    of_installs = [
        Entry(code=check.code, title=check.title, must_hold=check.summary, why=check.reason, severity=check.severity)
        for check in (*INSTALL_CHECKS, ATTESTATION_CHECK)
    ]
    return tuple(sorted([unreadable, *of_wheels, *of_sets, *of_installs], key=lambda entry: entry.code))


def _entry(code: str, title: str, run: Callable[..., Any], why: str, severity: Severity) -> Entry:
    """Return a check's entry; what must hold is its function's docstring."""
    return Entry(code=code, title=title, must_hold=" ".join((run.__doc__ or "").split()), why=why, severity=severity)
