"""GitHub's workflow commands: how they are written, which values are to be masked, annotations at the source's lines.

What is written here is read by the runner (actions/runner, `ActionCommand.TryParseV2`): `::name key=value,…::data`, in
which everything that could end or split a part stands as %XX.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from manywheels.core.github_commands import Annotation, at_most
from manywheels.report import wording
from manywheels.wheels.manifest import Failure, Manifest, TargetRecord

# --- masks ------------------------------------------------------------------------------------------------------------


# --- annotations ------------------------------------------------------------------------------------------------------


def annotate(manifest: Manifest, package: Path, root: Path) -> Iterator[str]:
    """Return the commands that mark a run's failures and warnings, the failures at the lines that the compiler named.

    `package` is the project's folder, `root` the repository's; a file that is in neither is not named.
    """
    failures = [_of_failure(records, package, root) for records in _alike(manifest.failures)]
    # What is wrong at a line can be shown there; so it comes first.
    yield from map(str, at_most(sorted(failures, key=lambda annotation: annotation.file is None)))
    warnings = [
        Annotation(kind="warning", title=wording.tags(records), message=told)
        for told, records in wording.about(manifest).items()
    ]
    warnings += [Annotation(kind="warning", title="the set of wheels", message=told) for told in manifest.warnings]
    yield from map(str, at_most(warnings))


def _alike(failures: Iterable[TargetRecord]) -> list[list[TargetRecord]]:
    """Return the failed targets, those together that failed for the same reason."""
    groups: dict[str, list[TargetRecord]] = {}
    for record, twin in wording.alike(failures):
        groups.setdefault((twin or record).identifier, []).append(record)
    return list(groups.values())


def _of_failure(records: list[TargetRecord], package: Path, root: Path) -> Annotation:
    failure = records[0].failure
    assert failure is not None  # noqa: S101 - only failures are put together
    file = _in_repository(failure, package, root)
    return Annotation(
        kind="error",
        title=f"{wording.tags(records)}: {wording.outcome(records[0])} ({failure.code})",
        message="\n".join([failure.problem, *([failure.remedy] if failure.remedy else [])]),
        file=file,
        line=failure.line if file else None,
    )


def _in_repository(failure: Failure, package: Path, root: Path) -> str | None:
    """Return the named file, relative to the repository, if the project has it."""
    if not failure.file or not failure.line or failure.line < 1 or "\0" in failure.file:
        return None
    parts = PurePosixPath(failure.file).parts
    # Meson compiles in a folder below the project and names files from there.
    below = [part for number, part in enumerate(parts) if part != ".." or any(p != ".." for p in parts[:number])]
    path = package.resolve().joinpath(*below).resolve()
    inside = path.is_relative_to(package.resolve()) and path.is_relative_to(root.resolve())
    return path.relative_to(root.resolve()).as_posix() if inside and path.is_file() else None
