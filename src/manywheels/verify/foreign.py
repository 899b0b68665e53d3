"""Wheels of a release that others built, for other systems as a rule: what can be proved of them and of the whole set.

They are checked as `verify` does it, which looks for nothing of Linux's in them; nothing shows that they work.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.tags import Tag
from packaging.utils import BuildTag, parse_wheel_filename

from manywheels.core.cancellation import Cancellation
from manywheels.core.text import some
from manywheels.verify.model import Severity
from manywheels.verify.rules import Rules
from manywheels.verify.run import verify_wheels
from manywheels.verify.sdists import read_sdist
from manywheels.verify.sets import WheelFacts

_MOST_DOTS: Final = 30  # in a name: each adds a tag to one of three sets, which multiply


def foreign_problems(
    files: Mapping[Path, str], wheels: Sequence[Path], rules: Rules, cancellation: Cancellation
) -> Iterator[str]:
    """Yield what is wrong with `files`, which others built, beside `wheels`, which are sealed and not checked again.

    `files` have their sha256 (hex), which is that of what is checked. All must have names of wheels or sdists. Raises
    Cancelled.
    """
    yield from _sdist_problems([path for path in files if path.suffix != ".whl"], files, rules, cancellation)
    named = [path for path in files if path.suffix == ".whl"]
    foreign = {path: _build_and_tags(path) for path in named if path.name.count(".") <= _MOST_DOTS}
    yield from (f"`{path.name}` has more tags in its name than any wheel" for path in named if path not in foreign)
    own = {path: _build_and_tags(path) for path in wheels}
    yield from _same_tags(foreign, own, cancellation)
    alike = {path: _nearest(names, own) for path, names in foreign.items()} if wheels else {}
    checked = [*dict.fromkeys((*foreign, *alike.values()))]
    verdict = verify_wheels(checked, rules, cancellation=cancellation)
    names = {"", *(path.name for path in foreign)}
    for finding in verdict.findings:
        if finding.severity is Severity.ERROR and finding.wheel in names:
            yield f"`{finding.wheel}`: {finding}" if finding.wheel else str(finding)
    facts = {report.path: report.facts for report in verdict.reports}
    for path in foreign:
        if (found := facts[path]) and found.sha256 != files[path]:
            yield f"`{path.name}` was changed while it was verified"
    for path, other in alike.items():
        found, sealed = facts[path], facts[other]
        if found and sealed:  # what cannot be read has a finding
            yield from _other_declarations(found, sealed)


def _sdist_problems(
    sdists: Iterable[Path], digests: Mapping[Path, str], rules: Rules, cancellation: Cancellation
) -> Iterator[str]:
    for path in sdists:
        sdist, findings = read_sdist(path, rules, cancellation)
        yield from (f"`{path.name}`: {one}" for one in findings if one.severity is Severity.ERROR)
        if sdist and sdist.sha256 != digests[path]:
            yield f"`{path.name}` was changed while it was verified"


_Names = tuple[BuildTag, frozenset[Tag]]


def _build_and_tags(path: Path) -> _Names:
    return parse_wheel_filename(path.name)[2:]


def _same_tags(
    foreign: Mapping[Path, _Names], wheels: Mapping[Path, _Names], cancellation: Cancellation
) -> Iterator[str]:
    others = dict(wheels)
    for path, (build, tags) in foreign.items():
        cancellation.stop_if_requested("Comparing the wheels")
        for other, (build_of_other, tags_of_other) in others.items():
            if path.name != other.name and build == build_of_other and tags & tags_of_other:
                yield f"`{path.name}` and `{other.name}` have tags in common: which of them gets installed is undefined"
        others[path] = (build, tags)


def _nearest(names: _Names, wheels: Mapping[Path, _Names]) -> Path:
    """Return the wheel to compare metadata with: one for the same Python, as some projects declare by its version."""
    pythons = _pythons(names)
    return next((wheel for wheel, of_it in wheels.items() if pythons & _pythons(of_it)), next(iter(wheels)))


def _pythons(names: _Names) -> set[tuple[str, str]]:
    return {(tag.interpreter, tag.abi) for tag in names[1]}


def _other_declarations(found: WheelFacts, other: WheelFacts) -> Iterator[str]:
    for field, values in found.declares.items():
        expected = other.declares[field]
        if values != expected:
            more, less = sorted({*values} - {*expected}), sorted({*expected} - {*values})
            said = [f"it has {some(more)}"] * bool(more) + [f"it lacks {some(less)}"] * bool(less)
            yield f"`{found.file}` declares another {field} than `{other.file}`: {' and '.join(said)}"
