"""Preflight: everything that can be checked before the first byte is sent, reported together."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.text import sanitize, some
from manywheels.data import table
from manywheels.deliver.index.differences import dependency_changes, describe, differences, release_before
from manywheels.deliver.index.http import NoResponse
from manywheels.deliver.index.pypi_rules import QUARANTINED, project_problems
from manywheels.deliver.index.simple_api import (
    READING_PASSWORD,
    Index,
    Listing,
    Presence,
    compare,
    listed_sdists,
    oldest_upload,
)
from manywheels.errors import Cancelled
from manywheels.verify.checks import acceptance, archive, metadata, record, tags
from manywheels.verify.distribution_rules import (
    METADATA,
    content_problems,
    content_warnings,
    is_foreign,
    unverified,
)
from manywheels.verify.distributions import Distribution, Unreadable, find_files, read_distribution
from manywheels.verify.model import Finding, Problem, Severity
from manywheels.verify.rendering import rendering_fault
from manywheels.verify.rules import Ignored, Rules
from manywheels.verify.sets import disagreements, left_to_build, without_sdist, without_wheel
from manywheels.wheels.leftovers import of_other_releases
from manywheels.wheels.manifest import Manifest, read_sealed
from manywheels.wheels.metadata import read_metadata
from manywheels.wheels.missing import WAYS_OUT, describe_missing, missing_targets
from manywheels.wheels.output import MANIFEST

_CHECKED_BY_INDEX: Final = frozenset(
    check.code for module in (acceptance, archive, record, metadata, tags) for check in module.CHECKS
) | {"MW200"}
_SIZE: Final = "MW263"
CONFLICT: Final = "is on the index already, with other content"
_THERE: Final = frozenset({Presence.SAME, Presence.NO_DIGEST})  # not sent
_WORKFLOWS_CHOICE: Final = "In a CI job, only the workflow can set it for `publish`."
_CLEAN_FOLDER: Final = "Publish the whole output folder of one run, and nothing else."


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The findings: `presence` by file name; problems name their file as `member`.

    `changes` are lines about what differs from the release before, on the index.
    """

    files: tuple[Distribution, ...]
    presence: Mapping[str, Presence]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    changes: tuple[str, ...] = ()

    @property
    def to_send(self) -> tuple[Distribution, ...]:
        """The files that the index is not known to have. One of the same name is not overwritten."""
        return tuple(file for file in self.files if self.presence[file.name] not in _THERE)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to check: `digests` are the manifest's accepted ones (none: any), `rules` those of `verify`.

    With `allow_missing`, planned targets may have no wheel because their interpreter was missing.
    """

    folder: Path
    digests: tuple[str, ...] = ()
    verify: bool = True
    rules: Rules = field(default_factory=Rules)
    skip_existing: bool = False
    allow_missing: bool = False


def run_preflight(
    wanted: Wanted, index: Index, now: datetime | None = None, cancellation: Cancellation | None = None
) -> Preflight:
    """Check everything, and change nothing. Raises WheelFileError if there are no files, and Cancelled."""
    has_manifest = os.path.lexists(wanted.folder / MANIFEST)
    manifest, digest = read_sealed(wanted.folder) if has_manifest else (None, "no manifest")
    there = find_files(wanted.folder)
    left = of_other_releases(manifest, there)
    paths = tuple(path for path in there if path not in left)
    switch = cancellation or Cancellation()
    if not index.addresses.has_rules:
        wanted = replace(wanted, rules=_without_metadata(wanted.rules))
    files, problems = _read(paths, switch)
    warnings = (
        [f"left in the folder, as they are of other releases: {some([path.name for path in left])}"] if left else []
    )
    warnings += _unproved(manifest, wanted, files)
    problems += _manifest_mismatches(wanted, files, manifest, digest)
    presence: dict[str, Presence] = {}
    changes: list[str] = []
    for project, its_files in _by_project(files).items():
        listing, found = _list(project, index)
        its_presence = {file.name: compare(listing, file) for file in its_files}
        problems += (*found.problems, *_conflicts(its_files, its_presence, skip_existing=wanted.skip_existing))
        warnings += found.warnings
        if index.addresses.has_rules:
            ruled = _by_pypis_rules(
                its_files, its_presence, listing, index, rules=wanted.rules, now=now or datetime.now(UTC)
            )
            problems += ruled.problems
            warnings += ruled.warnings
        presence |= its_presence
        changes += _changes_or_why_not(its_files, listing or {}, index)
    if wanted.verify:
        # What PyPI alone refuses concerns only what is sent to it.
        judged = {path.name for path in paths if presence.get(path.name) not in _THERE}
        contents = _judge_contents(
            files, _findings(wanted, paths, manifest, switch), judged if index.addresses.has_rules else set(),
            wanted.rules, switch,
        )  # fmt: skip
        problems += contents.problems
        warnings += contents.warnings
    return Preflight(
        files=files,
        presence=presence,
        problems=tuple(dict.fromkeys(problems)),
        warnings=tuple(dict.fromkeys(warnings)),
        changes=tuple(changes),
    )


def _changes_or_why_not(files: Sequence[Distribution], listing: Listing, index: Index) -> tuple[str, ...]:
    try:
        return _changes(files, listing, index)
    except Cancelled:
        raise
    except Exception as error:  # noqa: BLE001 - what is only told must not stop a release
        return (sanitize(f"what differs from the release before is not known: {str(error)[:200]}"),)


def _changes(files: Sequence[Distribution], listing: Listing, index: Index) -> tuple[str, ...]:
    """Return lines about what differs from the release before; empty for a first release."""
    version, before = release_before(listing, files[0].version)
    if not version:
        return ()
    return describe(version, [*differences(before, files), *_new_dependencies(before, files, index)])


def _new_dependencies(before: Listing, files: Sequence[Distribution], index: Index) -> Iterator[str]:
    listed = next((one for name, one in sorted(before.items()) if one.metadata), None)
    try:
        content = index.metadata(listed) if listed else None
    except NoResponse:
        return  # the upload, which asks as well, says so
    if content is not None:
        declared = read_metadata(content)[0].get("requires_dist", [])
        yield from dependency_changes(declared, files[-1].metadata.get("requires_dist", []))


@dataclass(frozen=True, kw_only=True)
class _Judgement:
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


def _list(project: str, index: Index) -> tuple[Listing | None, _Judgement]:
    """Return the project's files on the index, None if they are not known."""
    try:
        listing = index.listing(project)
    except NoResponse as fault:
        return None, _Judgement(problems=(_no_listing(index, fault),))
    if listing is not None:
        return listing, _Judgement()
    if index.addresses.has_simple:
        return None, _Judgement(problems=(_no_listing(index, index.why_unlisted),))
    return None, _Judgement(warnings=(_no_simple_api(index),))


def _by_pypis_rules(
    files: Sequence[Distribution],
    presence: Mapping[str, Presence],
    listing: Listing | None,
    index: Index,
    *,
    rules: Rules,
    now: datetime,
) -> _Judgement:
    """Judge the files of one project by what PyPI takes beside those that it has."""
    listed, project = listing or {}, files[0].project
    problems = [
        *_sdists(files, presence, listed), *_duplicates(files, listed), *_too_large(files, presence, listed, rules),
        *_too_old(files, presence, listed, now),
    ]  # fmt: skip
    if listing is None:
        return _Judgement(problems=tuple(problems))
    sent = [file for file in files if presence[file.name] not in _THERE]
    problems += project_problems(project, index.state(project), listing, sent, rules)
    return _Judgement(problems=tuple(problems), warnings=tuple(_quarantined(project, index)) if sent else ())


def _without_metadata(rules: Rules) -> Rules:
    """Leave out what PyPI refuses in metadata: other indexes take any classifier and address."""
    return replace(rules, ignored=(*rules.ignored, Ignored(code=METADATA)))


def _read(paths: Sequence[Path], cancellation: Cancellation) -> tuple[tuple[Distribution, ...], list[Problem]]:
    files, problems = [], []
    for path in paths:
        try:
            files.append(read_distribution(path, cancellation))
        except Unreadable as fault:
            remedy = "Build it again; if it is not a distribution, move it to another folder."
            problems.append(Problem(member=path.name, message=f"is not a distribution: {fault}", remedy=remedy))
    return tuple(files), problems


def _unproved(manifest: Manifest | None, wanted: Wanted, files: Iterable[Distribution]) -> Iterator[str]:
    if manifest is not None and wanted.allow_missing and (missing := missing_targets([manifest])):
        yield describe_missing(missing)
    if manifest is None:
        yield (f"`{wanted.folder}` has no manifest ({MANIFEST}): whether the set is complete and tested is not known")
        return
    for file in files:
        if file.is_sdist and manifest.sdist is None:
            yield f"`{file.name}` is not in the manifest: it is not verified that the wheels were built from it"


def _manifest_mismatches(
    wanted: Wanted, files: Iterable[Distribution], manifest: Manifest | None, found: str
) -> Iterator[Problem]:
    if wanted.digests and found not in wanted.digests:
        yield Problem(
            member=MANIFEST,
            message=f"does not match `manifest-digest` {' or '.join(wanted.digests)}: found {found}",
            remedy="Something changed it since the building job; build the set again.",
        )
    if manifest is None:
        return
    digests = {file.name: file.sha256 for file in files if manifest.sdist or not file.is_sdist}
    differences = (*disagreements(digests, manifest.files), *without_wheel(manifest), *without_sdist(manifest),
                   *left_to_build(manifest))  # fmt: skip
    for name, problem in differences:
        yield Problem(member=name, message=problem.message, remedy=problem.remedy)
    if not wanted.allow_missing and (missing := missing_targets([manifest])):
        yield Problem(message=describe_missing(missing), remedy=f"{WAYS_OUT} {_WORKFLOWS_CHOICE}")
    releases = {(file.project, file.version) for file in files}
    if len(releases) > 1:
        named = ", ".join(f"{project} {version}" for project, version in sorted(releases))
        yield Problem(message=f"the folder has more than one release: {named}", remedy=_CLEAN_FOLDER)


def _quarantined(project: str, index: Index) -> Iterator[str]:
    if index.state(project) == QUARANTINED:
        yield (
            f"the project `{project}` is quarantined: the index lists none of its files, and takes none from a trusted "
            "publisher"
        )


def _judge_contents(
    files: Iterable[Distribution],
    findings: Iterable[Finding],
    judged: Container[str],
    rules: Rules,
    cancellation: Cancellation,
) -> _Judgement:
    """`findings` are those of `verify`; PyPI's own rules hold for the files whose names are in `judged`."""
    problems, told = list[Problem](), dict[str, list[str]]()
    for finding in findings:
        is_refused = finding.problem.only_pypi_refuses and finding.wheel in judged
        if finding.severity is Severity.ERROR or is_refused:
            problems.append(Problem(member=finding.wheel, message=str(finding), remedy=finding.problem.remedy))
        elif not finding.problem.only_pypi_refuses:
            told.setdefault(f"{finding}. {finding.problem.remedy}", []).append(finding.wheel)
    for file in filter(unverified, files):
        problems += _unrendered(file, cancellation)
        problems += content_problems(file, rules, has_rules=file.name in judged)
        for warning in content_warnings(file, rules) if file.name in judged else ():
            told.setdefault(warning, []).append(file.name)
    return _Judgement(
        problems=tuple(problems), warnings=tuple(f"{some(names)}: {warning}" for warning, names in told.items())
    )


def _findings(
    wanted: Wanted, paths: Iterable[Path], manifest: Manifest | None, cancellation: Cancellation
) -> Iterator[Finding]:
    """Yield what `verify` finds in Linux wheels.

    With a manifest, only what the index checks, too: the build checked the rest, by the project's rules, which may be
    missing here.
    """
    from manywheels.verify.run import verify_wheels

    wheels = [path for path in paths if path.suffix == ".whl" and not is_foreign(path.name)]
    sizes_are_checked_here = Ignored(code=_SIZE)
    rules = replace(wanted.rules, ignored=(*wanted.rules.ignored, sizes_are_checked_here))
    for finding in verify_wheels(wheels, rules, cancellation=cancellation).findings:
        if manifest is None or finding.code in _CHECKED_BY_INDEX:
            yield finding


def _unrendered(file: Distribution, cancellation: Cancellation) -> Iterator[Problem]:
    def stop() -> None:
        cancellation.stop_if_requested("Rendering descriptions")

    description = file.field("description") or ""
    if not description:
        return
    kind, fault = rendering_fault(description, file.field("description_content_type"), stop)
    if fault is not None:
        yield Problem(
            member=file.name,
            message=f"has a description that cannot be rendered as {kind}: {fault}",
            remedy="Correct the readme, or the content type that pyproject.toml declares for it.",
        )


def _by_project(files: Iterable[Distribution]) -> dict[str, list[Distribution]]:
    projects: dict[str, list[Distribution]] = {}
    for file in files:
        projects.setdefault(file.project, []).append(file)
    return projects


def _sdists(files: Iterable[Distribution], presence: Mapping[str, Presence], listing: Listing) -> Iterator[Problem]:
    """Yield releases with several sdists: the index accepts only the first."""
    sdists: dict[str, list[str]] = {}
    for file in files:
        if file.is_sdist:
            sdists.setdefault(file.version, []).append(file.name)
    for version, names in sdists.items():
        if len(names) > 1:
            yield Problem(message=f"the release {version} has more than one sdist: {some(names)}", remedy=_CLEAN_FOLDER)
        others = [name for name in listed_sdists(listing, version) if name not in names]
        if others and any(presence[name] is not Presence.SAME for name in names):  # old releases may have several
            yield Problem(
                message=f"the index has {some(others)} already; it accepts no second sdist of {version}: {some(names)}",
                remedy="Publish without this sdist: move it out of the folder.",
            )


def _duplicates(files: Iterable[Distribution], listing: Listing) -> Iterator[Problem]:
    """Yield files with the content of another file, which the index refuses."""
    names = {entry.sha256: name for name, entry in listing.items() if entry.sha256}
    for file in files:
        other = names.setdefault(file.sha256, file.name)
        if other != file.name:
            yield Problem(
                member=file.name,
                message=f"has the same content as `{other}`, which the index accepts only once",
                remedy="Remove one of them.",
            )


def _no_listing(index: Index, fault: NoResponse | str) -> Problem:
    if isinstance(fault, str):
        remedy = f"Check the address, or name another with `check-url`; for reading, set {READING_PASSWORD}."
    else:
        remedy = fault.cure or "Run this once more when it is up: its files must be known before anything is sent."
    return Problem(
        message=f"the index at `{index.addresses.simple[0]}` does not list its files: {fault}", remedy=remedy
    )


def _no_simple_api(index: Index) -> str:
    return (
        f"`{index.addresses.upload}` has no simple API beside it ({index.why_unlisted}): files that exist already are "
        "found only when an upload is refused; `check-url` names another address"
    )


def _conflicts(
    files: Iterable[Distribution], presence: Mapping[str, Presence], *, skip_existing: bool
) -> Iterator[Problem]:
    for file in files:
        if presence[file.name] is Presence.OTHER:
            note = " `skip-existing` skips identical files only." if skip_existing else ""
            yield Problem(
                member=file.name,
                message=CONFLICT,
                remedy=f"A file on the index cannot be replaced: raise the version, then build and publish.{note}",
            )


def _too_large(
    files: Iterable[Distribution], presence: Mapping[str, Presence], listing: Listing, rules: Rules
) -> Iterator[Problem]:
    """Yield too large files; a project with larger files on the index has a higher limit."""
    if rules.ignores(_SIZE):
        return
    limit = max([table("index")["max_file_size"], *(file.size or 0 for file in listing.values())])
    for file in files:
        if file.size > limit and presence[file.name] is not Presence.SAME:
            yield Problem(
                member=file.name,
                message=f"has {file.size:,} bytes, the index accepts {limit:,}",
                remedy="Make it smaller (strip debug symbols), or ask the index for a higher limit for the project; "
                f'once granted: `ignore = ["{_SIZE}"]` below [tool.manywheels.verify].',
            )


def _too_old(
    files: Sequence[Distribution],
    presence: Mapping[str, Presence],
    listing: Listing,
    now: datetime,
) -> Iterator[Problem]:
    age = timedelta(seconds=table("publish")["index"]["release-age"])
    for version in dict.fromkeys(file.version for file in files if presence[file.name] is Presence.ABSENT):
        begun = oldest_upload(listing, version)
        if begun and now - begun > age:
            yield Problem(
                message=f"the release {version} is from {begun:%Y-%m-%d}: it accepts no files for releases older "
                f"than {age.days} days",
                remedy="Publish a new version; if the source is the same, a post-release as `1.0.post1`.",
            )
