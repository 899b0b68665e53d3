"""Gathering: the sets of several jobs become one, if they belong together and are complete.

Wheels that others built, for other systems as a rule, are sealed into the same manifest, with where they came from.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.regular_files import is_regular
from manywheels.core.text import natural, sanitize, some
from manywheels.errors import SetMismatch
from manywheels.wheels.leftovers import of_other_versions, others_beside
from manywheels.wheels.manifest import Manifest, SealedFile, all_compilations, joined, seal
from manywheels.wheels.missing import WAYS_OUT, describe_missing, missing_targets
from manywheels.wheels.output import JUNIT, LEDGER, LOGS, MANIFEST, REPORT, OutputFolder
from manywheels.wheels.set_problems import digest_problems, problems_with_foreign, set_problems
from manywheels.wheels.sources import SDIST, Hashes, OpenSet, SetSource, open_set

_COMPLETE: Final = "Gather the complete, unchanged output of all building jobs; if one failed, run it again."
_HEADING: Final = "The gathered wheels are not those that were built, or not all of them:"
_BELONGING: Final = "Build these files from the same commit, or leave them out of `foreign`."
_HEADING_OF_OTHERS: Final = "What others built does not belong to this release:"
_MOST_REPORTED: Final = 50  # problems
_LONGEST: Final = 1_000  # characters of one
_SINGLE_SET_FILES: Final = frozenset({LOGS, REPORT, JUNIT, LEDGER})  # not reported

# Yields what is wrong with files that were built elsewhere (with their sha256), beside the set's own wheels.
Inspect = Callable[[Mapping[Path, str], Sequence[Path]], Iterable[str]]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The gathered set, names of other files, left in the sources, and of other versions' in the output folder."""

    manifest: Manifest
    left: tuple[str, ...]
    of_other_versions: tuple[str, ...] = ()

    def describe(self, folder: Path) -> str:
        """Return what was gathered and left behind, as lines."""
        manifest = self.manifest
        counts = [_count(len(manifest.wheels), "wheel")]
        counts += [_count(len(manifest.foreign), "wheel") + " built elsewhere"] if manifest.foreign else []
        counts += [manifest.sdist.name] if manifest.sdist else []
        missing, older = missing_targets([manifest]), self.of_other_versions
        lines = [
            f"{manifest.project} {manifest.version}: {', '.join(counts)} in {folder}",
            f"  manifest sha256 {manifest.digest}",
            *([f"  warning: {describe_missing(missing)}"] if missing else []),
            *(f"  left behind: {name}" for name in self.left),
            *([f"  left there, as they are of other versions: {some(older)}"] if older else []),
        ]
        return "\n".join(map(sanitize, lines))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def gather(
    sources: Sequence[SetSource],
    output: OutputFolder,
    *,
    digests: Collection[str] = (),
    allow_missing: bool = False,
    inspect: Inspect | None = None,
    cancellation: Cancellation | None = None,
) -> Gathered:
    """Check sets; put their wheels and sdist into the output folder with one manifest, and what was built elsewhere.

    `digests` are the manifests' expected sha256 (hex); empty means any. With `allow_missing`, targets may lack a wheel
    because their interpreter was missing. `inspect` is asked about files of `foreign` sources. Raises SetMismatch with
    all problems, before anything is copied; WheelFileError for an unreadable manifest; TargetError if a file changes
    meanwhile; Cancelled.
    """
    hashes = Hashes(cancellation)
    sets = _without_copies([open_set(source) for source in sources], hashes)
    own, others = list(set_problems(sets, output.path, digests, hashes)), list(problems_with_foreign(sets))
    if inspect and not own + others:
        own, others = _inspected(sets, inspect, hashes)
    missing = () if allow_missing else missing_targets(found.manifest for found in sets if found.manifest)
    _require_none(own, others, describe_missing(missing) if missing else "")
    merged = _with_others(merge([found.manifest for found in sets if found.manifest]), sets, hashes)
    for found in sets:
        for file in found.files:
            if file.parent.resolve() != output.path:
                output.deliver(file, sha256=hashes.of(file), cancellation=cancellation)
    merged.write(output.path)
    older = tuple(path.name for path in of_other_versions(merged, others_beside(merged, output.path)))
    known = {output.path, *(found.source.folder.resolve() for found in sets)}
    in_output = {*older, *(file.name for file in merged.files)}
    left = tuple(
        f"{name} of {found}"
        for found in sets
        for name in _others(found, known)
        if name not in in_output or found.source.folder.resolve() != output.path
    )
    return Gathered(manifest=merged, left=left, of_other_versions=older)


def _without_copies(sets: Sequence[OpenSet], hashes: Hashes) -> list[OpenSet]:
    """Leave out wheels that an earlier gathering has put beside a set: those that a `foreign` source has as well."""
    foreign = {wheel.name: wheel for found in sets if found.source.foreign for wheel in found.wheels}

    def is_copy(wheel: Path, sealed: Collection[str]) -> bool:
        other = foreign.get(wheel.name)
        if other is None or wheel.name in sealed or not (is_regular(wheel) and is_regular(other)):
            return False
        return wheel.lstat().st_size == other.lstat().st_size and hashes.of(wheel) == hashes.of(other)

    def own(found: OpenSet, manifest: Manifest) -> OpenSet:
        sealed = {file.name for file in manifest.files}
        return replace(found, wheels=tuple(wheel for wheel in found.wheels if not is_copy(wheel, sealed)))

    return [own(found, found.manifest) if found.manifest and not found.source.foreign else found for found in sets]


def _inspected(sets: Sequence[OpenSet], inspect: Inspect, hashes: Hashes) -> tuple[list[str], list[str]]:
    """Return what `inspect` finds wrong with sdists that no manifest seals, and with what others built."""
    sealed = {file.name for found in sets if found.manifest for file in found.manifest.files}
    wheels = [wheel for found in sets if not found.source.foreign for wheel in found.wheels]
    sdists, foreign = (
        {file: hashes.of(file) for file in files if file.name not in sealed}
        for files in (
            [sdist for found in sets if not found.source.foreign for sdist in found.sdists],
            [file for found in sets if found.source.foreign for file in found.files],
        )
    )
    return (
        list(inspect(sdists, ())) if sdists else [],
        list(inspect(foreign, wheels)) if foreign else [],
    )  # fmt: skip


def _require_none(own: Sequence[str], others: Sequence[str], missing: str) -> None:
    """Raise SetMismatch for problems with the sets, with what others built, and targets without a wheel."""
    problems = [*own, *others, *([missing] if missing else [])]
    if problems:
        heading = _HEADING if own or missing else _HEADING_OF_OTHERS
        remedies = ((own, _COMPLETE), (others, _BELONGING), (missing, WAYS_OUT))
        raise SetMismatch(
            "\n".join((heading, *_some(problems))), remedy=" ".join(cure for found, cure in remedies if found)
        )


def _with_others(manifest: Manifest, sets: Sequence[OpenSet], hashes: Hashes) -> Manifest:
    """Seal the sdist, and the wheels that were built elsewhere, if no set has them in its manifest."""
    sealed = {file.name for file in manifest.files}
    added = {
        file.name: seal(file, sha256=hashes.of(file), origin=found.source.name)
        for found in sets
        for file in found.files
        if file.name not in sealed
    }
    sdists = [file for name, file in added.items() if name.endswith(SDIST)]
    foreign = [file for name, file in sorted(added.items()) if not name.endswith(SDIST)]
    if not added:
        return manifest
    return replace(manifest, sdist=manifest.sdist or next(iter(sdists), None), foreign=(*manifest.foreign, *foreign))


def _some(problems: Sequence[str]) -> list[str]:
    """Shorten: a hostile manifest can cause any number of problems, of any length."""
    reported = [
        problem if len(problem) <= _LONGEST else f"{problem[:_LONGEST]}…" for problem in problems[:_MOST_REPORTED]
    ]
    return reported + ([f"and {len(problems) - _MOST_REPORTED} more"] if len(problems) > _MOST_REPORTED else [])


def require_digest(folder: Path, digests: Collection[str]) -> Manifest:
    """Raises SetMismatch unless `digests` is the sha256 (hex) of the folder's manifest alone."""
    found = open_set(SetSource(folder=folder, name=str(folder)))
    problems = list(digest_problems([found], digests)) if found.manifest else [f"{found} has no manifest ({MANIFEST})"]
    if problems or not found.manifest:
        raise SetMismatch(
            problems[0][0].upper() + problems[0][1:] + ".", remedy="Take the set as the building job wrote it."
        )
    return found.manifest


def has_distributions(path: Path) -> bool:
    """Whether `path` is a file, or a folder with wheels or sdists."""
    return path.is_file() or any(path.glob("*.whl")) or any(path.glob("*.tar.gz"))


def is_of_a_set(name: str) -> bool:
    """Whether this is the name of a set's manifest, wheel or sdist."""
    return name == MANIFEST or name.endswith((".whl", SDIST))


def merge(manifests: Sequence[Manifest]) -> Manifest:
    """The manifests must agree."""
    if len(manifests) == 1:
        return manifests[0]
    first = manifests[0]
    records = (record for manifest in manifests for record in manifest.targets)
    return replace(
        first,
        version=next((manifest.version for manifest in manifests if manifest.version), None),
        platform=joined(manifest.platform for manifest in manifests),
        toolchain=joined(manifest.toolchain for manifest in manifests),
        seconds=max(manifest.seconds for manifest in manifests),  # they ran in parallel
        targets=tuple(sorted(records, key=lambda record: natural(record.identifier))),
        warnings=tuple(dict.fromkeys(warning for manifest in manifests for warning in manifest.warnings)),
        planned=tuple(sorted({name for manifest in manifests for name in manifest.planned}, key=natural)),
        shard=None,
        compilations=all_compilations(manifests),
        sdist=next((manifest.sdist for manifest in manifests if manifest.sdist), None),
        sdist_failure=next((one.sdist_failure for one in manifests if one.sdist_failure), None),
        foreign=_each_once(file for manifest in manifests for file in manifest.foreign),
    )


def _each_once(files: Iterable[SealedFile]) -> tuple[SealedFile, ...]:
    return tuple({file.name: file for file in files}.values())


def _others(found: OpenSet, known: Collection[Path]) -> list[str]:
    """Return files not gathered, and folders that contain no `known` one."""
    taken = {MANIFEST, *(file.name for file in found.files)}
    return sorted(
        path.name
        for path in found.source.folder.iterdir()
        if path.name not in taken | _SINGLE_SET_FILES
        and not path.name.startswith(".")
        and not any(place.is_relative_to(os.path.realpath(path)) for place in known)
    )
