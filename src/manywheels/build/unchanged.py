"""Which wheels of an earlier run are still what a build would make, so that it need not make them again.

A wheel is kept if the source, the target's recipe, its tools and the build requirements that it would get are the same,
and the file has the sha256 of the manifest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from manywheels.build.ingredients import Ingredients
from manywheels.build.resolution import Requires
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.printing import say
from manywheels.core.regular_files import is_regular
from manywheels.errors import Cancelled
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.verify.model import Severity
from manywheels.verify.rules import Rules
from manywheels.verify.run import verify_wheels
from manywheels.verify.sdists import read_sdist
from manywheels.wheels.earlier import Earlier
from manywheels.wheels.manifest import MadeFrom, Manifest, SealedFile, TargetRecord, TargetState, WheelRecord
from manywheels.wheels.output import OutputFolder
from manywheels.wheels.set_problems import is_sdist_of
from manywheels.wheels.wheelfile import parse_name

_SHOWN: Final = 3  # requirements in a reason


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Targets with a wheel that is kept, by identifier, and why others with a wheel are built again.

    `manifest` is the earlier run's; None if nothing is kept. The `sdist` is kept with the plan's first target.
    """

    records: Mapping[str, TargetRecord] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None
    sdist: SealedFile | None = None

    @property
    def version(self) -> str | None:
        """The version of the wheels that are kept."""
        return self.manifest.version if self.manifest else None

    def is_all_of(self, manifest: Manifest) -> bool:
        """Whether a run has the very set of the earlier one, which was checked, and in which nothing was found."""
        before = self.manifest
        if before is None or before.warnings or before.wheels != manifest.wheels:
            return False
        return not any(record.state is TargetState.CANCELLED for record in before.targets)

    def left(self, planned: Iterable[PlannedTarget]) -> list[PlannedTarget]:
        """Return the targets that are to be built."""
        return [one for one in planned if one.interpreter and one.target.identifier not in self.records]

    def described(self) -> list[str]:
        """Return why targets are built again, a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for identifier, reason in self.reasons.items():
            by_reason.setdefault(reason, []).append(identifier)
        return [f"built again: {' '.join(names)}: {reason}" for reason, names in by_reason.items()]


def find_kept(
    ingredients: Ingredients,
    earlier: Earlier | None,
    checkout: Callable[[], str],
    output: OutputFolder,
    cancellation: Cancellation,
) -> Kept:
    """Return what of an earlier run is kept, and say why the rest is not. `checkout` is a snapshot's digest.

    Raises Cancelled, TargetError and OSError.
    """
    if earlier is None:
        return Kept()
    if earlier.manifest.project != ingredients.project:
        _say(
            f"the manifest in `{earlier.folder}` is that of another project, `{earlier.manifest.project}`, and is "
            "replaced; its wheels stay"
        )
        return Kept()
    if earlier.folder != output.path:
        earlier = _verified(earlier, ingredients.rules, cancellation)
    wanted = ingredients.made_from()
    comparison = _Comparison(
        earlier=earlier, planned=ingredients.planned, wanted=wanted, checkout=checkout(),
        wants_sdist=ingredients.makes_sdist, cancellation=cancellation,
    )  # fmt: skip
    kept = _compare(comparison, output)
    for line in kept.described():
        _say(line)
    unknown = {target.identifier for target, made in wanted.items() if made.requires is None}
    if any(made.requires for name, record in kept.records.items() if name in unknown and (made := record.made_from)):
        _say("whether build requirements have changed is not known: they could not be resolved")
    return kept


def _say(line: str) -> None:
    say(f"note: {line}", stream=sys.stderr)


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """An earlier run, and what this one makes: `planned` in the plan's order, with the first target the sdist."""

    earlier: Earlier
    planned: Sequence[PlannedTarget]
    wanted: Mapping[Target, MadeFrom]
    checkout: str
    wants_sdist: bool
    cancellation: Cancellation

    def why_not(self, record: TargetRecord, target: Target) -> str:
        """Return why a wheel is not kept; empty if it is. Raises Cancelled."""
        reason = _why_not(record, self.earlier, self.wanted[target], self.checkout, self.cancellation)
        if reason or not self.wants_sdist or target != self.planned[0].target:
            return reason
        sdist = self.earlier.manifest.sdist
        return _why_not_the_file(sdist, self.earlier.folder, self.cancellation) if sdist else "there is no sdist yet"


def _compare(comparison: _Comparison, output: OutputFolder) -> Kept:
    """Return what is kept, and put it into the output folder. Raises Cancelled, TargetError and OSError."""
    earlier, planned, cancellation = comparison.earlier, comparison.planned, comparison.cancellation
    before = {record.identifier: record for record in earlier.manifest.targets if record.wheel}
    records: dict[str, TargetRecord] = {}
    reasons: dict[str, str] = {}
    for one in planned:
        identifier = one.target.identifier
        record = before.get(identifier)
        if record is None or record.state not in {TargetState.BUILT, TargetState.REUSED}:
            continue
        reason = comparison.why_not(record, one.target)
        if reason:
            reasons[identifier] = reason
        else:
            records[identifier] = replace(record, kept=True, began={}, seconds={})
    while contested := _contested(records, planned):
        reasons |= contested
        records = {name: record for name, record in records.items() if name not in contested}
    sdist = None
    if comparison.wants_sdist and planned[0].target.identifier in records:
        sdist = earlier.manifest.sdist
    if earlier.folder != output.path:
        records = {name: replace(record, log=None) for name, record in records.items()}  # logs are left there
        files: list[WheelRecord | SealedFile] = [record.wheel for record in records.values() if record.wheel]
        for file in dict.fromkeys([*files, *([sdist] if sdist else [])]):
            output.deliver(earlier.folder / file.name, sha256=file.sha256, cancellation=cancellation)
    return Kept(records=records, reasons=reasons, manifest=earlier.manifest if records else None, sdist=sdist)


def _why_not(
    record: TargetRecord, earlier: Earlier, wanted: MadeFrom, checkout: str, cancellation: Cancellation
) -> str:
    """Return why a wheel is not kept; empty if it is."""
    made = record.made_from
    if made is None:
        return "it is not known what its wheel was made from"
    if earlier.manifest.checkout != checkout:
        return "the source has changed"
    if made.recipe != wanted.recipe:
        return "its options or variables have changed"
    if made.tools != wanted.tools:
        return "the image, compilers, interpreter, PATH, the system's packages or manywheels have changed"
    if wanted.requires is not None and made.requires != wanted.requires:
        return f"its build requirements {_changed(made.requires, wanted.requires)}"
    assert record.wheel is not None  # noqa: S101 - the caller chose records with one
    return _why_not_the_file(record.wheel, earlier.folder, cancellation)


def _why_not_the_file(sealed: WheelRecord | SealedFile, folder: Path, cancellation: Cancellation) -> str:
    path, kind = folder / sealed.name, "wheel" if isinstance(sealed, WheelRecord) else "sdist"
    with suppress(OSError):
        if is_regular(path) and path.stat().st_size == sealed.size:
            return "" if digest_file(path, cancellation) == sealed.sha256 else f"its {kind} was changed"
    return f"its {kind} is gone or was changed"


def _contested(records: Mapping[str, TargetRecord], planned: Sequence[PlannedTarget]) -> dict[str, str]:
    """Return the targets whose wheel is for several Pythons, and who makes it is decided anew; with the reason.

    That is if another target of the platform is built that the wheel would serve, or that might make one for it.
    """
    found: dict[str, str] = {}
    targets = [one.target for one in planned]
    left = [target for target in targets if target.identifier not in records]
    for target in (one for one in targets if one.identifier in records):
        record = records[target.identifier]
        assert record.wheel is not None  # noqa: S101 - the caller chose records with one
        made = parse_name(record.wheel.name)
        if record.built_for not in {None, *records}:
            found[target.identifier] = f"its wheel is that of {record.built_for}"
        elif made.is_stable_abi and any(
            other.is_on_the_platform_of(target)
            and (other.installs(made.tags) or targets.index(other) < targets.index(target))
            for other in left
        ):
            found[target.identifier] = "another target is built that it serves, or that may serve it"
    return found


def _verified(earlier: Earlier, rules: Rules, cancellation: Cancellation) -> Earlier:
    """Return a run without the wheels that are not the project's, or that do not pass verification.

    Others than this program may have written an artifact. Raises Cancelled.
    """
    manifest = earlier.manifest
    wheels = {wheel.name: earlier.folder / wheel.name for wheel in manifest.wheels}
    there = [path for path in wheels.values() if is_regular(path)]
    reports = verify_wheels(there, rules, cancellation=cancellation).reports
    wrong = {
        path.name
        for path, report in zip(there, reports, strict=True)
        if any(finding.severity is Severity.ERROR for finding in report.findings)
        or parse_name(path.name).version != manifest.version
    }
    for name in sorted(wrong):
        _say(f"{name} of the earlier attempt does not pass verification, and is not taken")
    sdist = manifest.sdist
    if sdist and not _is_sound(earlier.folder / sdist.name, manifest, rules, cancellation):
        _say(f"{sdist.name} of the earlier attempt does not pass verification, and is not taken")
        sdist = None
    targets = (replace(one, wheel=None) if one.wheel and one.wheel.name in wrong else one for one in manifest.targets)
    return replace(earlier, manifest=replace(manifest, targets=tuple(targets), sdist=sdist))


def _is_sound(path: Path, manifest: Manifest, rules: Rules, cancellation: Cancellation) -> bool:
    """Whether an sdist is of the manifest's release, and passes verification."""
    sdist, findings = read_sdist(path, rules, cancellation) if is_regular(path) else (None, ())
    is_error = any(finding.severity is Severity.ERROR for finding in findings)
    return sdist is not None and not is_error and is_sdist_of(manifest, path.name)


def _changed(before: Requires, now: Iterable[str]) -> str:
    """Return `have changed: cython 3.1.2 → 3.1.3`, for some of the packages."""
    if before is None:
        return "were not known"
    old, new = _versions(before), _versions(now)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    shown = [f"{name} {old.get(name, 'none')} → {new.get(name, 'none')}" for name in names[:_SHOWN]]
    return f"have changed: {', '.join(shown)}" + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _versions(resolved: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in resolved:
        with suppress(InvalidRequirement):
            requirement = Requirement(line)
            found[canonicalize_name(requirement.name)] = str(requirement.specifier).removeprefix("==")
    return found


def with_set_findings(
    manifest: Manifest, kept: Kept, rules: Rules, folder: Path, cancellation: Cancellation
) -> tuple[Manifest, bool]:
    """Check wheels of several containers or runs as one set, which none of these has seen.

    Return the manifest with warnings, and whether there are errors.
    """
    if cancellation.requested or kept.is_all_of(manifest):
        return manifest, False
    wheels = [folder / wheel.name for wheel in manifest.wheels]
    try:
        found = verify_wheels(wheels, rules, cancellation=cancellation).set_findings
    except Cancelled:
        return manifest, False
    warnings = (f"{finding.wheel} {finding}".lstrip() for finding in found)
    manifest = replace(manifest, warnings=(*dict.fromkeys((*manifest.warnings, *warnings)),))
    return manifest, any(finding.severity is Severity.ERROR for finding in found)
