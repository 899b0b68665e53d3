"""Verification of many wheels: each in a process of its own, then what only the whole set can show."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from manywheels.errors import WheelFileError
from manywheels.jobserver import available_cores
from manywheels.manifest import Manifest
from manywheels.verify import archive, sets
from manywheels.verify.check import Report, check_wheel
from manywheels.verify.model import Finding, Problem, Severity
from manywheels.verify.rules import Rules

UNREADABLE = "MW200"
_OF_ARCHIVES = frozenset(check.code for check in archive.CHECKS)
Extra = Callable[[Path], Iterable[Finding]]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What verification says of wheels; findings are those that count."""

    reports: tuple[Report, ...]
    set_findings: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Every finding, wheel by wheel, those of the set last."""
        return (*(finding for report in self.reports for finding in report.findings), *self.set_findings)

    @property
    def passed(self) -> bool:
        """Whether there is no error among the findings."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)


def verify_wheels(
    paths: Sequence[Path], rules: Rules, *, manifest: Manifest | None = None, extra: Sequence[Extra] = ()
) -> Verdict:
    """Check wheels side by side, and those of one project as a set; `extra` checks are asked wheel by wheel.

    A file that is no wheel at all is a finding, MW200: it does not keep the others from being checked.
    """
    left_out = {wheel.name: wheel.left_out for wheel in manifest.wheels} if manifest else {}
    read = _check_all([(path, left_out.get(path.name, ())) for path in paths])
    with ThreadPoolExecutor(available_cores()) as pool:  # extra checks wait for processes of their own
        reports = list(pool.map(lambda report: _with_extra(report, extra), read))
    facts = [report.facts for report in reports if report.facts]
    return Verdict(
        reports=tuple(replace(report, findings=rules.judge(report.findings)) for report in reports),
        set_findings=rules.judge(_check_sets(facts, manifest)),
    )


def _check_all(wheels: Sequence[tuple[Path, tuple[str, ...]]]) -> list[Report]:
    workers = min(len(wheels), available_cores())
    if workers <= 1:
        return [_check(wheel) for wheel in wheels]
    # Wheels are read by processes forked from this one, which has no other threads: they start at once.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        return list(pool.map(_check, wheels))


def _check(wheel: tuple[Path, tuple[str, ...]]) -> Report:
    path, left_out = wheel
    try:
        return check_wheel(path, left_out)
    except WheelFileError as error:
        problem = Problem(message=error.message.removesuffix("."), remedy=error.remedy)
        finding = Finding(code=UNREADABLE, severity=Severity.ERROR, wheel=path.name, problem=problem)
        return Report(path=path, size=path.stat().st_size, findings=(finding,))


def _with_extra(report: Report, extra: Sequence[Extra]) -> Report:
    # Installers read archives with less care than the checks: they get none that is not what it seems to be.
    if not extra or report.facts is None or any(finding.code in _OF_ARCHIVES for finding in report.findings):
        return report
    found = [finding for check in extra for finding in check(report.path)]
    return replace(report, findings=(*report.findings, *found))


def _check_sets(facts: Sequence[sets.WheelFacts], manifest: Manifest | None) -> Iterable[Finding]:
    """A manifest speaks of one set. Without one, wheels of several projects may lie together, each a set of its own."""
    if manifest:
        groups = [list(facts)]
    else:
        ordered = sorted(facts, key=lambda wheel: wheel.project)
        groups = [list(group) for _, group in groupby(ordered, key=lambda wheel: wheel.project)]
    return [finding for group in groups for finding in check_set(group, manifest)]


def check_set(facts: Sequence[sets.WheelFacts], manifest: Manifest | None) -> list[Finding]:
    """Return what the wheels of one project show only together."""
    return [
        Finding(code=check.code, severity=check.severity, wheel=wheel or "", problem=problem)
        for check in sets.CHECKS
        for wheel, problem in check.run(facts, manifest)
    ]
