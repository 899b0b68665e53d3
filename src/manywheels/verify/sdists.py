"""The checks of an sdist: what an index takes, and what a build from it needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.verify.checks import SDIST_SOUND, Report
from manywheels.verify.distribution_rules import METADATA, content_problems
from manywheels.verify.distributions import Distribution, Unreadable, read_distribution
from manywheels.verify.model import Finding, Problem
from manywheels.verify.rules import Ignored, Rules
from manywheels.wheels.manifest import Manifest, SealedFile

_WHOLE: Final = "Take the whole set, as `build` or `gather` wrote it."


def check_sdists(
    paths: Sequence[Path], manifest: Manifest | None, rules: Rules, cancellation: Cancellation
) -> tuple[tuple[Report, ...], tuple[Finding, ...]]:
    """Return the findings that count for each sdist, and those for the set that `manifest` seals. Raises Cancelled."""
    sealed = manifest.sdist if manifest else None
    missing = []
    if sealed and sealed.name not in {path.name for path in paths}:
        missing = [
            SDIST_SOUND.finding("", Problem(message=f"`{sealed.name}` of the manifest is missing", remedy=_WHOLE))
        ]
    return tuple(_check(path, sealed, rules, cancellation) for path in paths), rules.judge(missing)


def _check(path: Path, sealed: SealedFile | None, rules: Rules, cancellation: Cancellation) -> Report:
    sdist, findings = read_sdist(path, rules, cancellation)
    if sealed and path.name != sealed.name:
        problem = Problem(message="is not in the manifest", remedy=_WHOLE)
        findings = (*findings, *rules.judge([SDIST_SOUND.finding(path.name, problem)]))
    elif sdist and sealed and sdist.sha256 != sealed.sha256:
        problem = Problem(
            message=f"has the sha256 {sdist.sha256}, the manifest has {sealed.sha256}",
            remedy="It was changed after verification; build the set again.",
        )
        findings = (*findings, *rules.judge([SDIST_SOUND.finding(path.name, problem)]))
    return Report(path=path, size=sdist.size if sdist else 0, findings=findings)


def read_sdist(
    path: Path, rules: Rules, cancellation: Cancellation | None = None
) -> tuple[Distribution | None, tuple[Finding, ...]]:
    """Return an sdist, None if it cannot be read as one, with the findings that count. Raises Cancelled.

    What PyPI alone refuses of its metadata is left to `publish`: the wheels have the same.
    """
    try:
        sdist = read_distribution(path, cancellation)
    except Unreadable as fault:
        problem = Problem(message=f"is not an sdist: {fault}", remedy="Update the build back end, and build again.")
        return None, (SDIST_SOUND.finding(path.name, problem),)
    return sdist, rules.judge(_findings(sdist, rules))


def _findings(sdist: Distribution, rules: Rules) -> Iterator[Finding]:
    without_metadata = replace(rules, ignored=(*rules.ignored, Ignored(code=METADATA)))
    for problem in content_problems(sdist, without_metadata, has_rules=True):
        yield SDIST_SOUND.finding(sdist.name, replace(problem, member=None))
