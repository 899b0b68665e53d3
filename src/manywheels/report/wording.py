"""Texts that several reports use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from manywheels.core.text import duration, quote, sanitize, size
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState, TestRun

NOT_RUN: Final = "not run"  # of tests that this machine cannot run


def platforms(record: TargetRecord) -> str:
    """Return a wheel's oldest platform without the architecture, as `manylinux_2_17`."""
    if record.wheel is None:
        return ""
    tags = record.wheel.name.removesuffix(".whl").rpartition("-")[2]
    versions = re.findall(r"(m(?:any|usl)linux)_(\d+)_(\d+)_", tags)
    return "{}_{}_{}".format(*min(versions, key=lambda found: (int(found[1]), int(found[2])))) if versions else tags


def outcome(record: TargetRecord) -> str:
    if record.kept:
        return "up to date"
    match record.state:
        case TargetState.BUILT:
            return "built"
        case TargetState.REUSED:
            return f"served by {str(record.built_for).partition('-')[0]}"
        case TargetState.FAILED:
            return f"failed in {record.failure.stage}" if record.failure else "failed"
        case TargetState.NO_INTERPRETER:
            return "missing: no interpreter"
    return record.state.value


def short_tags(wheel_tags: Iterable[str]) -> list[str]:
    """Return a wheel's tags in parts, without the architecture: `cp312-cp312`, `manylinux_2_17`."""
    parts = [tag.split("-", 2) for tag in sorted(wheel_tags)]
    pythons = ("-".join(part[:2]) for part in parts)
    platforms = (re.sub(r"^((?:many|musl)linux(?:_\d+_\d+|\d+))_\w+$", r"\1", part[-1]) for part in parts)
    return list(dict.fromkeys([*pythons, *platforms]))


def tests(test_run: TestRun) -> str:
    """For example `12 passed` or `3 failed`."""
    if not test_run.passed:
        return f"{len(test_run.failed)} failed" if test_run.failed else "failed"
    return "passed" if test_run.count is None else f"{test_run.count} passed"


def sdist(manifest: Manifest) -> list[str]:
    """Return a line about the sdist, if the run has one or should have one, and the excerpt of a failure."""
    if failure := manifest.sdist_failure:
        lines = [f"✗ sdist ({failure.code}): {failure.problem}", *map(quote, failure.excerpt)]
        return [sanitize(lines[0]), *lines[1:], *([f"  {sanitize(failure.remedy)}"] if failure.remedy else [])]
    return [sanitize(f"✓ {manifest.sdist.name} ({size(manifest.sdist.size)})")] if manifest.sdist else []


def target_warnings(manifest: Manifest) -> dict[str, list[TargetRecord]]:
    """Return each warning once, with its targets."""
    found: dict[str, list[TargetRecord]] = {}
    for record in manifest.targets:
        for warning in record.warnings:
            found.setdefault(warning, []).append(record)
    return found


def tags(records: Iterable[TargetRecord]) -> str:
    """Leave out the platforms: `cp311 cp312`."""
    return " ".join(dict.fromkeys(record.identifier.partition("-")[0] for record in records))


def total(record: TargetRecord) -> float:
    """Return the seconds of a target's stages, without waiting."""
    return sum(seconds for stage, seconds in record.seconds.items() if stage != "waiting")


def verdict(manifest: Manifest) -> str:
    """Return the whole run in a few words."""
    states = {record.state for record in manifest.targets}
    if TargetState.FAILED in states:
        return "Some targets failed"
    if manifest.sdist_failure:
        return "The sdist failed"
    if TargetState.NO_INTERPRETER in states:
        return "Wheels are missing" if manifest.failures else "Wheels are missing, as allowed"
    return "All wheels are there" if manifest.wheels else "No wheels"


def summary(manifest: Manifest) -> str:
    """For example `5 wheels in 8.3 s, 1 failed, 1 missing (no interpreter)`, or `up to date: 6 wheels`."""
    wheels = len(manifest.wheels)
    kept = len({record.wheel for record in manifest.targets if record.kept})
    failures = sum(record.state is TargetState.FAILED for record in manifest.targets)
    missing = sum(record.state is TargetState.NO_INTERPRETER for record in manifest.targets)
    cancelled = sum(record.state is TargetState.CANCELLED for record in manifest.targets)
    count = f"{wheels} wheel{'s' * (wheels != 1)}" + (" and the sdist" if manifest.sdist else "")
    parts = [f"up to date: {count}" if kept == wheels > 0 else f"{count} in {duration(manifest.seconds)}"]
    parts += [f"{kept} of them up to date"] if 0 < kept < wheels else []
    parts += [f"{failures} failed"] if failures else []
    parts += ["no sdist"] if manifest.sdist_failure else []
    parts += [f"{missing} missing (no interpreter)"] if missing else []
    parts += [f"{cancelled} cancelled"] if cancelled else []
    if (made := manifest.compilations) and made.shared:
        parts.append(f"{made.shared} of {made.compiled + made.shared + made.alone} compilations shared")
    return ", ".join(parts)


def explain(record: TargetRecord, output: Path) -> list[str]:
    """Return a failure's excerpt, remedy and path of the log, as lines."""
    if record.failure is None:
        return []
    lines = [quote(line) for line in record.failure.excerpt]
    lines += [f"  {sanitize(record.failure.remedy)}"] if record.failure.remedy else []
    lines += [sanitize(f"  Log: {output / log_of(record)}")] if record.log else []
    return lines


def log_of(record: TargetRecord) -> str:
    """Return a path relative to the output folder: the tests' log if they failed."""
    if record.tests and not record.tests.passed:
        return record.tests.log
    return str(record.log)


def headline(record: TargetRecord) -> str:
    seconds = f" in {duration(total(record))}" if record.seconds else ""
    problem = f" ({record.failure.code}): {record.failure.problem}" if record.failure else ""
    return sanitize(f"{record.identifier}: {outcome(record)}{seconds}{problem}")


def first_alike(record: TargetRecord, others: Iterable[TargetRecord]) -> TargetRecord | None:
    """Return the first of `others` that failed for the same reason."""
    if record.failure is None:
        return None
    for other in others:
        if other.failure is None or other.failure.problem != record.failure.problem:
            continue
        # An exit status alone can mean anything: compare the quoted lines too.
        if "(exit status" not in record.failure.problem or other.failure.excerpt == record.failure.excerpt:
            return other
    return None


def with_first_alike(failures: Iterable[TargetRecord]) -> list[tuple[TargetRecord, TargetRecord | None]]:
    """Return each failed target with the first that failed alike, or None for that first one."""
    firsts: list[TargetRecord] = []
    pairs: list[tuple[TargetRecord, TargetRecord | None]] = []
    for record in failures:
        first = first_alike(record, firsts)
        pairs.append((record, first))
        firsts += [] if first else [record]
    return pairs
