"""Every check there is, for tables, `manywheels explain` and the codes that may be ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from manywheels.errors import InputError
from manywheels.verify import sets
from manywheels.verify.attestations import ATTESTATION_CHECK
from manywheels.verify.checks import CHECKS
from manywheels.verify.installs import INSTALL_CHECKS
from manywheels.verify.model import Severity

if TYPE_CHECKING:
    from manywheels.verify.rules import Rules


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


def verification_rules(settings: Mapping[str, Any], *, strict: bool = False) -> Rules:
    """Return the rules of `[tool.manywheels.verify]` in a project's settings. Raises InputError."""
    from manywheels.verify.catalogue import catalogue
    from manywheels.verify.rules import Rules, parse_rules

    table = settings.get("verify")
    if table is None:
        return Rules(strict=strict)
    if not isinstance(table, dict):
        raise InputError("[tool.manywheels] verify is no table.", remedy="Write it as `[tool.manywheels.verify]`.")
    return parse_rules(table, (entry.code for entry in catalogue()), strict=strict)
