"""Verification of many wheels: each in its own process, then all as a set."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from manywheels.core.cancellation import Cancellation
from manywheels.core.cgroup import available_cores
from manywheels.errors import WheelFileError
from manywheels.verify import sets
from manywheels.verify.checks import INSTALL_TRIED, UNREADABLE, Report, archive, check_wheel
from manywheels.verify.model import Finding, Problem, Severity
from manywheels.verify.rules import Rules
from manywheels.wheels.manifest import Manifest

_OF_ARCHIVES = frozenset(check.code for check in archive.CHECKS)
_WORK = "The verification"
_WheelInput = tuple[Path, tuple[str, ...]]  # a wheel, and patterns of libraries that need not be in it
_POLL = 0.1  # seconds between two looks at the cancellation


@dataclass(frozen=True, kw_only=True)
class Extra:
    """A check called with each wheel, after the others.

    `unpacks` names what unpacks the wheel for it, as `pip and uv`, if anything.
    """

    ask: Callable[[Path], Iterable[Finding]]
    unpacks: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a verification: the findings that count."""

    reports: tuple[Report, ...]
    sdists: tuple[Report, ...] = ()
    set_findings: tuple[Finding, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The set's findings come last."""
        reports = (*self.reports, *self.sdists)
        return (*(finding for report in reports for finding in report.findings), *self.set_findings)

    @property
    def passed(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)


def verify_wheels(
    paths: Sequence[Path],
    rules: Rules,
    *,
    manifest: Manifest | None = None,
    extra: Sequence[Extra] = (),
    cancellation: Cancellation | None = None,
) -> Verdict:
    """Check wheels in parallel, and those of each project as a set.

    A file that is not a wheel is a finding, MW200. Raises Cancelled, with no process left that reads a wheel.
    """
    switch = cancellation or Cancellation()
    left_out = {wheel.name: wheel.left_out for wheel in manifest.wheels} if manifest else {}
    read = _check_all([(path, (*left_out.get(path.name, ()), *rules.libraries)) for path in paths], switch)
    with ThreadPoolExecutor(available_cores()) as pool:  # extra checks wait for processes
        reports = list(pool.map(lambda report: _with_extra(report, extra, switch), read))
    facts = [report.facts for report in reports if report.facts]
    return Verdict(
        reports=tuple(replace(report, findings=rules.judge(report.findings)) for report in reports),
        set_findings=rules.judge(_check_sets(facts, manifest, switch)),
    )


def _check_all(wheels: Sequence[_WheelInput], cancellation: Cancellation) -> list[Report]:
    try:
        return _in_processes(wheels, cancellation)
    except BrokenProcessPool:  # a killed process fails all wheels: check each alone to find it
        return [_check_alone(wheel, cancellation) for wheel in wheels]


def _in_processes(wheels: Sequence[_WheelInput], cancellation: Cancellation) -> list[Report]:
    """Check in forked processes, which start fast; cancellation kills them.

    Raises BrokenProcessPool if something else killed one.
    """
    if not wheels:
        return []
    workers = min(len(wheels), available_cores())
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        reading = [pool.submit(_check, wheel) for wheel in wheels]
        try:
            _wait_for(reading, cancellation)
        except BaseException:
            for process in multiprocessing.active_children():
                process.kill()
            raise
        return [report.result() for report in reading]


def _wait_for(reading: Sequence[Future[Report]], cancellation: Cancellation) -> None:
    while wait(reading, timeout=_POLL).not_done:
        cancellation.stop_if_requested(_WORK)


def _check_alone(wheel: _WheelInput, cancellation: Cancellation) -> Report:
    try:
        return _in_processes([wheel], cancellation)[0]
    except BrokenProcessPool:
        problem = Problem(
            message="was not checked: the process that read it was killed, most likely because memory ran out",
            remedy="Look at the file, and try again on a machine with more memory.",
        )
        return _unreadable(wheel[0], problem)


def _check(wheel: _WheelInput) -> Report:
    path, left_out = wheel
    try:
        return check_wheel(path, left_out)
    except WheelFileError as error:
        return _unreadable(path, Problem(message=error.message.removesuffix("."), remedy=error.remedy))


def _unreadable(path: Path, problem: Problem) -> Report:
    size = path.stat().st_size if path.exists() else 0
    return Report(path=path, size=size, findings=(UNREADABLE.finding(path.name, problem),))


def _with_extra(report: Report, extra: Sequence[Extra], cancellation: Cancellation) -> Report:
    """Run the extra checks, but give irregular archives to no installer: they read them less carefully."""
    cancellation.stop_if_requested(_WORK)
    irregular = sorted({finding.code for finding in report.findings} & {UNREADABLE.code, *_OF_ARCHIVES})
    found = [finding for check in extra if not (check.unpacks and irregular) for finding in check.ask(report.path)]
    untried = " and ".join(dict.fromkeys(check.unpacks for check in extra if check.unpacks))
    if untried and irregular:  # shown also if the archive's findings are ignored
        problem = Problem(
            message=f"was not tried with {untried}, as its archive has errors ({', '.join(irregular)})",
            remedy="Fix the archive first: until then, installing is not proved.",
        )
        found.append(INSTALL_TRIED.finding(report.path.name, problem))
    return replace(report, findings=(*report.findings, *found))


def _check_sets(
    facts: Sequence[sets.WheelFacts], manifest: Manifest | None, cancellation: Cancellation
) -> Iterable[Finding]:
    """Check the manifest's set; without a manifest, each project's."""
    if manifest:
        groups = [list(facts)]
    else:
        ordered = sorted(facts, key=lambda wheel: wheel.project)
        groups = [list(group) for _, group in groupby(ordered, key=lambda wheel: wheel.project)]
    return [finding for group in groups for finding in check_set(group, manifest, cancellation)]


def check_set(
    facts: Sequence[sets.WheelFacts], manifest: Manifest | None, cancellation: Cancellation | None = None
) -> list[Finding]:
    """Raises Cancelled."""
    found = []
    for check in sets.CHECKS:
        for wheel, problem in check.run(facts, manifest):
            found.append(check.finding(wheel or "", problem))
            if cancellation is not None:
                cancellation.stop_if_requested(_WORK)
    return found
