"""Wheels of a release that others built, for other systems as a rule: what can be proved of them and of the whole set.

They are checked as `verify` does it, which looks for nothing of Linux's in them; nothing shows that they work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import BuildTag, parse_wheel_filename

from manywheels.core.cancellation import Cancellation
from manywheels.verify.model import Severity, some
from manywheels.verify.rules import Rules
from manywheels.verify.run import verify_wheels
from manywheels.verify.sets import WheelFacts


def foreign_problems(
    files: Sequence[Path], wheels: Sequence[Path], rules: Rules, cancellation: Cancellation | None = None
) -> Iterator[str]:
    """Yield what is wrong with `files`, which others built, beside `wheels`, which are sealed and not checked again.

    All must have names of wheels or sdists; sdists are passed over. Raises Cancelled.
    """
    foreign = [path for path in files if path.suffix == ".whl"]
    yield from _same_tags(foreign, wheels)
    alike = {path: _nearest(path, wheels) for path in foreign} if wheels else {}
    verdict = verify_wheels([*dict.fromkeys((*foreign, *alike.values()))], rules, cancellation=cancellation)
    names = {"", *(path.name for path in foreign)}
    for finding in verdict.findings:
        if finding.severity is Severity.ERROR and finding.wheel in names:
            yield f"`{finding.wheel}`: {finding}" if finding.wheel else str(finding)
    facts = {report.path: report.facts for report in verdict.reports}
    for path, other in alike.items():
        found, sealed = facts[path], facts[other]
        if found and sealed:  # what cannot be read has a finding
            yield from _other_declarations(found, sealed)


def _build_and_tags(path: Path) -> tuple[BuildTag, frozenset[Tag]]:
    return parse_wheel_filename(path.name)[2:]


def _same_tags(foreign: Sequence[Path], wheels: Sequence[Path]) -> Iterator[str]:
    others = [*wheels]
    for path in foreign:
        build, tags = _build_and_tags(path)
        for other in others:
            build_of_other, tags_of_other = _build_and_tags(other)
            if path.name != other.name and build == build_of_other and tags & tags_of_other:
                yield f"`{path.name}` and `{other.name}` have tags in common: which of them gets installed is undefined"
        others.append(path)


def _nearest(path: Path, wheels: Sequence[Path]) -> Path:
    """Return the wheel to compare metadata with: one for the same Python, as some projects declare by its version."""
    pythons = _pythons(path)
    return next((wheel for wheel in wheels if pythons & _pythons(wheel)), wheels[0])


def _pythons(path: Path) -> set[tuple[str, str]]:
    return {(tag.interpreter, tag.abi) for tag in _build_and_tags(path)[1]}


def _other_declarations(found: WheelFacts, other: WheelFacts) -> Iterator[str]:
    for field, values in found.declares.items():
        expected = other.declares[field]
        if values != expected:
            more, less = sorted({*values} - {*expected}), sorted({*expected} - {*values})
            said = [f"it has {some(more)}"] * bool(more) + [f"it lacks {some(less)}"] * bool(less)
            yield f"`{found.file}` declares another {field} than `{other.file}`: {' and '.join(said)}"
