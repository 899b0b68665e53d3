"""Which findings count: `[tool.manywheels.verify]` with `ignore`, `libraries` and `strict` (docs/verify.md)."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from manywheels.errors import InputError
from manywheels.verify.checks import CHECKS, UNREADABLE
from manywheels.verify.model import Finding, Severity
from manywheels.verify.sets import EVERY_PYTHON

_KEYS: Final = frozenset({"code", "files", "reason"})
_TABLE: Final = "[tool.manywheels.verify]"


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """A check that does not count, for files that match the glob `files`."""

    code: str
    files: str = "*"
    reason: str = ""

    def covers(self, finding: Finding) -> bool:
        return finding.code == self.code and fnmatch.fnmatchcase(finding.problem.member or "", self.files)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which findings count. Other packages provide libraries that match `libraries`.

    With `allow_missing`, missing wheels of missing Pythons are warnings, even if `strict`.
    """

    ignored: tuple[Ignored, ...] = ()
    libraries: tuple[str, ...] = ()
    strict: bool = False
    allow_missing: bool = False

    def judge(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return the findings that count; with `strict`, all are errors."""
        counted = (finding for finding in findings if not any(entry.covers(finding) for entry in self.ignored))
        return tuple(replace(finding, severity=self._severity(finding)) for finding in counted)

    def ignores(self, code: str) -> bool:
        """Whether findings of a check do not count in any file."""
        return any(entry.code == code for entry in self.ignored)

    def _severity(self, finding: Finding) -> Severity:
        if self.allow_missing and finding.code == EVERY_PYTHON:
            return Severity.WARNING
        return Severity.ERROR if self.strict else finding.severity


def verification_rules(settings: Mapping[str, Any], *, strict: bool = False) -> Rules:
    """`settings` is a project's `[tool.manywheels]`.

    Raises InputError for unknown keys and codes, and for values of other types.
    """
    table = settings.get("verify", {})
    if not isinstance(table, dict):
        raise InputError("[tool.manywheels] verify is not a table.", remedy="Write it as `[tool.manywheels.verify]`.")
    unknown = sorted(set(table) - {"ignore", "libraries", "strict"})
    if unknown:
        raise InputError(
            f"{_TABLE}: no such key: {', '.join(unknown)}.", remedy="Its keys are `ignore`, `libraries` and `strict`."
        )
    declared = table.get("strict", False)
    if not isinstance(declared, bool):
        raise InputError(f"{_TABLE} strict: `{declared}` is not a boolean.", remedy="Write `true` or `false`.")
    libraries = table.get("libraries", [])
    if not isinstance(libraries, list) or not all(isinstance(name, str) for name in libraries):
        raise InputError(
            f"{_TABLE} libraries is not a list of names.", remedy='Write it as `libraries = ["libtbb.so.*"]`.'
        )
    entries = table.get("ignore", [])
    if not isinstance(entries, list):
        raise InputError(f"{_TABLE} ignore is not a list.", remedy='Write it as `ignore = ["MW253"]`.')
    return Rules(ignored=tuple(map(_parse_entry, entries)), libraries=tuple(libraries), strict=declared or strict)


def _parse_entry(entry: Any) -> Ignored:  # noqa: ANN401 - any TOML value
    match entry:
        case str():
            ignored = Ignored(code=entry)
        case {"code": str(code)} if set(entry) <= _KEYS and all(isinstance(text, str) for text in entry.values()):
            ignored = Ignored(code=code, files=str(entry.get("files", "*")), reason=str(entry.get("reason", "")))
        case _:
            raise InputError(
                f"{_TABLE} ignore: `{entry}` is not a valid entry.",
                remedy='Write a code, or `{ code = "MW253", files = "glob", reason = "why" }`.',
            )
    if ignored.code not in {check.code for check in CHECKS}:
        raise InputError(
            f"{_TABLE} ignore: there is no check `{ignored.code}`.",
            remedy="`manywheels explain` lists the checks.",
        )
    if ignored.code == UNREADABLE.code:
        raise InputError(
            f"{_TABLE} ignore: `{ignored.code}` cannot be ignored: nothing in such a file was checked.",
            remedy="Do not verify the file.",
        )
    return ignored
