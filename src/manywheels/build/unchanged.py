"""Which wheels of an earlier run are still what a build would make, so that it need not make them again.

A wheel is kept if the source, the target's recipe, its tools and the build requirements that it would get are the same,
and the file has the sha256 of the manifest. What is asked of a run's own tools differs here and for containers:
`compilers_of` and `image_of`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.resolution import Requires, resolve_requirements
from manywheels.core.cancellation import Cancellation
from manywheels.core.credentials import without_credentials
from manywheels.core.files import digest_file
from manywheels.core.interruptible import begin, wait
from manywheels.core.regular_files import is_regular
from manywheels.core.text import sanitize
from manywheels.data import table
from manywheels.errors import Cancelled
from manywheels.plan import trust
from manywheels.plan.options import Options
from manywheels.plan.project import Project
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.resources import program_digest
from manywheels.verify.model import Severity
from manywheels.verify.rules import Rules
from manywheels.verify.run import verify_wheels
from manywheels.wheels.earlier import Earlier
from manywheels.wheels.manifest import MadeFrom, Manifest, TargetRecord, TargetState
from manywheels.wheels.output import OutputFolder
from manywheels.wheels.wheelfile import parse_name

# What a package manager has installed, such as a library that a repair grafts.
_SYSTEM_PACKAGES: Final = (
    "/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages", "/lib/apk/db/installed",
)  # fmt: skip
_SHOWN: Final = 3  # requirements in a reason
_PATIENCE: Final = 30.0  # seconds for the index to say what it has


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Targets with a wheel that is kept, by identifier, and why others with a wheel are built again.

    `manifest` is the earlier run's; None if nothing is kept.
    """

    records: Mapping[str, TargetRecord] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    manifest: Manifest | None = None

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

    def made_of(self, target: Target) -> MadeFrom:
        """Return what a kept wheel was made from."""
        record = self.records.get(target.identifier)
        return (record and record.made_from) or MadeFrom(recipe="", tools="")

    def left(self, planned: Iterable[PlannedTarget]) -> list[PlannedTarget]:
        """Return the targets that are to be built."""
        return [one for one in planned if one.interpreter and one.target.identifier not in self.records]

    def described(self) -> list[str]:
        """Return why targets are built again, a line for each reason."""
        by_reason: dict[str, list[str]] = {}
        for identifier, reason in self.reasons.items():
            by_reason.setdefault(reason, []).append(identifier)
        return [f"built again: {' '.join(names)}: {reason}" for reason, names in by_reason.items()]


# --- what a wheel is made from ----------------------------------------------------------------------------------------


class Ingredients:
    """What a run's wheels are made from. Build requirements are resolved beside the run's first steps.

    `planned` are the targets to build, in the plan's order; `tools` are their digests, which may come later.
    """

    def __init__(
        self,
        *,
        project: Project,
        options: Options,
        rules: Rules,
        planned: Sequence[PlannedTarget],
        caller: Mapping[str, str],
        cancellation: Cancellation,
        tools: Mapping[Target, str] = MappingProxyType({}),
    ) -> None:
        self.tools = tools
        self._planned, self._cancellation = planned, cancellation
        self.rules = rules
        targets = [one.target for one in planned]
        self._recipes = {target: recipe_of(target, options, rules, caller) for target in targets}
        self._asking = cancellation.child()
        self._requires = begin(lambda: _resolved(project, options, targets, caller, self._asking))

    def close(self) -> None:
        """End uv, if it still asks an index."""
        self._asking.request()

    def find_kept(self, earlier: Earlier | None, checkout: Callable[[], str], output: OutputFolder) -> Kept:
        """Compare with an earlier run, and say why wheels of it are not kept. `checkout` is a snapshot's digest.

        Raises Cancelled, TargetError and OSError.
        """
        if earlier is None:
            return Kept()
        wanted = self._made_from()
        if earlier.folder != output.path:
            earlier = _verified(earlier, self.rules, self._cancellation)
        kept = find_kept(
            earlier, self._planned, wanted, checkout=checkout(), output=output, cancellation=self._cancellation
        )
        for line in kept.described():
            _note(line)
        if any(made.requires is None and kept.made_of(target).requires for target, made in wanted.items()):
            _note("whether build requirements have changed is not known: they could not be resolved")
        return kept

    def noted_in(self, manifest: Manifest) -> Manifest:
        """Return a manifest that says of each new wheel what it was made from."""
        made = {target.identifier: found for target, found in self._made_from().items()}
        records = (
            record if record.kept or not record.wheel else replace(record, made_from=made.get(record.identifier))
            for record in manifest.targets
        )
        return replace(manifest, targets=tuple(records))

    def _made_from(self) -> dict[Target, MadeFrom]:
        """The run does not wait long for an index, and not at all once it is cancelled."""
        requires = self._requires.result() if self._requires.done() else None
        if requires is None:
            requires = wait(self._requires, self._cancellation, _PATIENCE) or {}
        return {
            target: MadeFrom(recipe=recipe, tools=self.tools[target], requires=requires.get(target))
            for target, recipe in self._recipes.items()
        }


def _resolved(
    project: Project, options: Options, targets: Sequence[Target], caller: Mapping[str, str], asking: Cancellation
) -> Mapping[Target, Requires]:
    try:
        return resolve_requirements(project, options, targets, caller, asking)
    except Exception as error:  # noqa: BLE001 - no wheel is lost because of what might be said of the next run
        _note(f"build requirements could not be resolved: {error}")
        return {}


def _note(line: str) -> None:
    print(sanitize(f"note: {line}"), file=sys.stderr, flush=True)


def recipe_of(target: Target, options: Options, rules: Rules, caller: Mapping[str, str]) -> str:
    """Return the sha256 (hex) of a target's options and of the caller's variables that its build may see."""
    own, platform = options.for_target(target), options.platform_of(target)
    usual = table("environment")["pass"]
    seen = without_credentials({name: caller[name] for name in usual if name in caller})
    # The manifest is published: what may be a secret is not in its digests.
    seen |= {name: caller[name] for name in own.environment_pass if name in caller and not trust.may_be_secret(name)}
    withheld = set(trust.credentials_in(seen, caller))
    variables = sorted((name, value) for name, value in seen.items() if name not in withheld)
    return _digest(repr(own), repr(rules), repr(options.container_engine), platform.policy.name, variables)


def compilers_of(planned: PlannedTarget, toolchain: Toolchain, caller: Mapping[str, str]) -> str:
    """Return the sha256 (hex) of what a target is built with on this machine."""
    found = planned.interpreter
    python = (found.version, found.abi, str(found.path), *_written(found.path)) if found else ()
    return _digest(
        program_digest(), toolchain.name, toolchain.description, python, caller.get("PATH", ""), _system_packages()
    )


def _written(path: Path) -> tuple[int, int]:
    """Return a program's size and time of change (ns), which differ if it was installed anew."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return (status.st_size, status.st_mtime_ns)


def image_of(planned: PlannedTarget, name: str) -> str:
    """Return the sha256 (hex) of the image of this `name`, which is made of a base's id and this program."""
    return _digest(name, planned.target.tag)


@cache
def _system_packages() -> str:
    found = []
    for path in map(Path, _SYSTEM_PACKAGES):
        with suppress(OSError):
            found.append(digest_file(path))
    return " ".join(found)


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "surrogateescape")).hexdigest()


# --- what is kept -----------------------------------------------------------------------------------------------------


def find_kept(
    earlier: Earlier,
    planned: Sequence[PlannedTarget],
    wanted: Mapping[Target, MadeFrom],
    *,
    checkout: str,
    output: OutputFolder,
    cancellation: Cancellation,
) -> Kept:
    """Compare `planned`, in the plan's order, with an earlier run; put what is kept into the output folder.

    Raises Cancelled, TargetError and OSError.
    """
    before = {record.identifier: record for record in earlier.manifest.targets if record.wheel}
    records: dict[str, TargetRecord] = {}
    reasons: dict[str, str] = {}
    for one in planned:
        identifier = one.target.identifier
        record = before.get(identifier)
        if record is None or record.state not in {TargetState.BUILT, TargetState.REUSED}:
            continue
        reason = _why_not(record, earlier, wanted[one.target], checkout, cancellation)
        if reason:
            reasons[identifier] = reason
        else:
            records[identifier] = replace(record, kept=True, began={}, seconds={})
    while contested := _contested(records, planned):
        reasons |= contested
        records = {name: record for name, record in records.items() if name not in contested}
    if earlier.folder != output.path:
        records = {name: replace(record, log=None) for name, record in records.items()}  # logs are left there
        for wheel in dict.fromkeys(record.wheel for record in records.values() if record.wheel):
            output.deliver(earlier.folder / wheel.name, sha256=wheel.sha256, cancellation=cancellation)
    return Kept(records=records, reasons=reasons, manifest=earlier.manifest if records else None)


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
    return _why_not_the_file(record, earlier.folder, cancellation)


def _why_not_the_file(record: TargetRecord, folder: Path, cancellation: Cancellation) -> str:
    assert record.wheel is not None  # noqa: S101 - the caller chose records with one
    path = folder / record.wheel.name
    with suppress(OSError):
        if is_regular(path) and path.stat().st_size == record.wheel.size:
            return "" if digest_file(path, cancellation) == record.wheel.sha256 else "its wheel was changed"
    return "its wheel is gone or was changed"


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
        _note(f"{name} of the earlier attempt does not pass verification, and is not taken")
    targets = (replace(one, wheel=None) if one.wheel and one.wheel.name in wrong else one for one in manifest.targets)
    return replace(earlier, manifest=replace(manifest, targets=tuple(targets)))


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
