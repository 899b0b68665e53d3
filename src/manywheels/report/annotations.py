"""GitHub annotations for a run's failures and warnings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from manywheels.core.github_commands import Annotation, at_most
from manywheels.report import wording
from manywheels.wheels.manifest import Failure, Manifest, TargetRecord


def annotate(manifest: Manifest, package: Path, root: Path) -> Iterator[str]:
    """Return workflow commands for a run's failures, at the lines that compilers named, and warnings.

    `package` is the project's folder, `root` the repository's; files outside of either are not named.
    """
    failures = [_of_failure(records, package, root) for records in _by_reason(manifest.failures)]
    # Those with a line come first: GitHub shows them in the source.
    yield from map(str, at_most(sorted(failures, key=lambda annotation: annotation.file is None)))
    warnings = [
        Annotation(kind="warning", title=wording.tags(records), message=warning)
        for warning, records in wording.target_warnings(manifest).items()
    ]
    warnings += [Annotation(kind="warning", title="the set of wheels", message=one) for one in manifest.warnings]
    yield from map(str, at_most(warnings))


def _by_reason(failures: Iterable[TargetRecord]) -> list[list[TargetRecord]]:
    groups: dict[str, list[TargetRecord]] = {}
    for record, first in wording.with_first_alike(failures):
        groups.setdefault((first or record).identifier, []).append(record)
    return list(groups.values())


def _of_failure(records: list[TargetRecord], package: Path, root: Path) -> Annotation:
    failure = records[0].failure
    assert failure is not None  # noqa: S101 - only failures are grouped
    file = _in_repository(failure, package, root)
    return Annotation(
        kind="error",
        title=f"{wording.tags(records)}: {wording.outcome(records[0])} ({failure.code})",
        message="\n".join([failure.problem, *([failure.remedy] if failure.remedy else [])]),
        file=file,
        line=failure.line if file else None,
    )


def _in_repository(failure: Failure, package: Path, root: Path) -> str | None:
    if not failure.file or not failure.line or failure.line < 1 or "\0" in failure.file:
        return None
    parts = PurePosixPath(failure.file).parts
    # Meson compiles in a folder below the project and names files relative to it.
    below = [part for number, part in enumerate(parts) if part != ".." or any(p != ".." for p in parts[:number])]
    path = package.resolve().joinpath(*below).resolve()
    inside = path.is_relative_to(package.resolve()) and path.is_relative_to(root.resolve())
    return path.relative_to(root.resolve()).as_posix() if inside and path.is_file() else None
