"""Gathering: the sets of several jobs become one, if they belong together and are complete."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Final

from packaging.utils import InvalidSdistFilename, parse_sdist_filename, parse_wheel_filename

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.regular_files import is_regular
from manywheels.core.text import sanitize
from manywheels.errors import SetMismatch, WheelFileError
from manywheels.wheels.manifest import (
    Manifest,
    Shard,
    TargetRecord,
    TargetState,
    WheelRecord,
    all_compilations,
    joined,
    read_sealed,
)
from manywheels.wheels.missing import WAYS_OUT, describe_missing, missing_targets
from manywheels.wheels.output import JUNIT, LEDGER, LOGS, MANIFEST, REPORT, OutputFolder

_WITHOUT_WHEEL: Final = frozenset({TargetState.FAILED, TargetState.CANCELLED})
_SDIST: Final = ".tar.gz"
_COMPLETE: Final = "Gather the complete, unchanged output of all building jobs; if one failed, run it again."
_MOST_REPORTED: Final = 50  # problems
_LONGEST: Final = 1_000  # characters of one
_SINGLE_SET_FILES: Final = frozenset({LOGS, REPORT, JUNIT, LEDGER})  # not reported


@dataclass(frozen=True, kw_only=True)
class SetSource:
    """A set's folder, and its name in messages."""

    folder: Path
    name: str


@dataclass(frozen=True, kw_only=True)
class _Set:
    """A source's content. `digest` is the sha256 (hex) of the manifest's file."""

    source: SetSource
    manifest: Manifest | None
    digest: str
    wheels: tuple[Path, ...]
    sdists: tuple[Path, ...]

    def __str__(self) -> str:
        return f"`{self.source.name}`"


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The gathered set, its sdists, and names of other files, left in the sources."""

    manifest: Manifest
    sdists: tuple[str, ...]
    left: tuple[str, ...]

    def describe(self, folder: Path) -> str:
        """Return what was gathered and left behind, as lines."""
        manifest = self.manifest
        wheels = len(manifest.wheels)
        count = ", ".join((f"{wheels} wheel{'s' * (wheels != 1)}", *self.sdists))
        missing = missing_targets([manifest])
        lines = [
            f"{manifest.project} {manifest.version}: {count} in {folder}",
            f"  manifest sha256 {manifest.digest}",
            *([f"  warning: {describe_missing(missing)}"] if missing else []),
            *(f"  left behind: {name}" for name in self.left),
        ]
        return "\n".join(map(sanitize, lines))


def gather(
    sources: Sequence[SetSource],
    output: OutputFolder,
    *,
    digests: Collection[str] = (),
    allow_missing: bool = False,
    cancellation: Cancellation | None = None,
) -> Gathered:
    """Check sets; put their wheels and sdists into the output folder with one manifest.

    `digests` are the manifests' expected sha256 (hex); empty means any. With `allow_missing`, targets may lack a wheel
    because their interpreter was missing. Raises SetMismatch with all problems, before
    anything is copied; WheelFileError for an unreadable manifest; TargetError if a wheel changes meanwhile; Cancelled.
    """
    hashes = _Hashes(cancellation)
    sets = [_open(source) for source in sources]
    problems = list(_problems(sets, output.path, digests, hashes))
    missing = () if allow_missing else missing_targets(found.manifest for found in sets if found.manifest)
    problems += [describe_missing(missing)] if missing else []
    if problems:
        raise SetMismatch(
            "\n".join(("The gathered wheels are not those that were built, or not all of them:", *_some(problems))),
            remedy=" ".join([_COMPLETE] * (len(problems) > bool(missing)) + [WAYS_OUT] * bool(missing)),
        )
    manifests = [found.manifest for found in sets if found.manifest]
    merged = merge(manifests)
    for found in sets:
        for file in (*found.wheels, *found.sdists):
            if file.parent.resolve() != output.path:
                output.deliver(file, sha256=hashes.of(file), cancellation=cancellation)
    merged.write(output.path)
    sdists = dict.fromkeys(sdist.name for found in sets for sdist in found.sdists)
    known = {output.path, *(found.source.folder.resolve() for found in sets)}
    left = tuple(f"{name} of {found}" for found in sets for name in _others(found, known))
    return Gathered(manifest=merged, sdists=tuple(sdists), left=left)


class _Hashes:
    """Each file's sha256 (hex), as of its first reading."""

    def __init__(self, cancellation: Cancellation | None) -> None:
        self._cancellation = cancellation
        self._known: dict[Path, str] = {}

    def of(self, file: Path) -> str:
        if file not in self._known:
            self._known[file] = digest_file(file, self._cancellation)
        return self._known[file]


def _some(problems: Sequence[str]) -> list[str]:
    """Shorten: a hostile manifest can cause any number of problems, of any length."""
    reported = [
        problem if len(problem) <= _LONGEST else f"{problem[:_LONGEST]}…" for problem in problems[:_MOST_REPORTED]
    ]
    return reported + ([f"and {len(problems) - _MOST_REPORTED} more"] if len(problems) > _MOST_REPORTED else [])


def require_digest(folder: Path, digests: Collection[str]) -> Manifest:
    """Raises SetMismatch unless `digests` is the sha256 (hex) of the folder's manifest alone."""
    found = _open(SetSource(folder=folder, name=str(folder)))
    problems = list(_digest_problems([found], digests)) if found.manifest else [f"{found} has no manifest ({MANIFEST})"]
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
    return name == MANIFEST or name.endswith((".whl", _SDIST))


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
        targets=tuple(sorted(records, key=lambda record: _natural(record.identifier))),
        warnings=tuple(dict.fromkeys(warning for manifest in manifests for warning in manifest.warnings)),
        planned=tuple(sorted({name for manifest in manifests for name in manifest.planned}, key=_natural)),
        shard=None,
        compilations=all_compilations(manifests),
    )


def _natural(identifier: str) -> tuple[tuple[int, str], ...]:
    """The sort key puts cp39 before cp310."""
    return tuple((int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", identifier))


def _open(source: SetSource) -> _Set:
    if not source.folder.is_dir():
        raise WheelFileError(f"There is no folder `{source.name}`.", remedy="Name folders that `build` wrote into.")
    there = os.path.lexists(source.folder / MANIFEST)
    manifest, digest = read_sealed(source.folder) if there else (None, "")
    return _Set(
        source=source,
        manifest=manifest,
        digest=digest,
        wheels=tuple(sorted(source.folder.glob("*.whl"))),
        sdists=tuple(sorted(source.folder.glob(f"*{_SDIST}"))),
    )


def _others(found: _Set, known: Collection[Path]) -> list[str]:
    """Return files not gathered, and folders that contain no `known` one."""
    taken = {MANIFEST, *(file.name for file in (*found.wheels, *found.sdists))}
    return sorted(
        path.name
        for path in found.source.folder.iterdir()
        if path.name not in taken | _SINGLE_SET_FILES
        and not path.name.startswith(".")
        and not any(place.is_relative_to(os.path.realpath(path)) for place in known)
    )


# --- problems ---------------------------------------------------------------------------------------------------------


def _problems(sets: Sequence[_Set], output: Path, digests: Collection[str], hashes: _Hashes) -> Iterator[str]:
    for found in sets:
        yield from _set_problems(found, hashes)
    manifests = [found for found in sets if found.manifest]
    if not manifests:
        yield f"none of {', '.join(map(str, sets))} has a manifest ({MANIFEST})"
        return
    yield from _digest_problems(manifests, digests)
    yield from _release_problems(manifests)
    yield from _target_problems([found.manifest for found in manifests if found.manifest])
    yield from _file_problems(sets, hashes)
    yield from _output_problems(sets, output)


def _set_problems(found: _Set, hashes: _Hashes) -> Iterator[str]:
    yield from (f"{found}: `{sdist.name}` is not a regular file" for sdist in found.sdists if not is_regular(sdist))
    if not found.manifest:
        for wheel in found.wheels:
            yield f"{found}: `{wheel.name}` has no manifest beside it"
        if not found.wheels and not found.sdists:
            yield f"{found} has neither a manifest nor an sdist"
        return
    sealed = {record.name: record for record in found.manifest.wheels}
    if len(sealed) < len(found.manifest.wheels):
        yield f"{found}: its manifest has several records of one wheel"
    here = {wheel.name: wheel for wheel in found.wheels}
    for name in sorted(sealed.keys() - here.keys()):
        yield f"{found}: `{name}` of the manifest is missing"
    for name in sorted(here.keys() - sealed.keys()):
        yield f"{found}: `{name}` is not in the manifest"
    for name in sorted(here.keys() & sealed.keys()):
        if wrong := _difference(here[name], sealed[name], hashes):
            yield f"{found}: `{name}` {wrong}"


def _difference(wheel: Path, sealed: WheelRecord, hashes: _Hashes) -> str | None:
    """Compare size before content: a file of another size may be huge, and is not read."""
    if not is_regular(wheel):
        return "is not a regular file"
    if (size := wheel.lstat().st_size) != sealed.size:
        return f"has {size} bytes; the manifest says {sealed.size}"
    if (sha256 := hashes.of(wheel)) != sealed.sha256:
        return f"has the sha256 {sha256}; the manifest says {sealed.sha256}"
    return None


def _digest_problems(sets: Sequence[_Set], digests: Collection[str]) -> Iterator[str]:
    if not digests:
        return
    for found in sets:
        if found.digest not in digests:
            yield f"{found}: its manifest has the sha256 {found.digest}, which is none of `manifest-digest`"
    for digest in sorted(set(digests) - {found.digest for found in sets}):
        yield f"no manifest has the sha256 {digest} of `manifest-digest`"


def _release_problems(sets: Sequence[_Set]) -> Iterator[str]:
    for what in ("project", "version", "source", "manywheels"):
        values = {str(value): found for found in sets if (value := getattr(found.manifest, what)) is not None}
        if len(values) > 1:
            yield f"they differ in `{what}`: " + ", ".join(f"{found} has {value}" for value, found in values.items())


def _target_problems(manifests: Sequence[Manifest]) -> Iterator[str]:
    # Shards of one plan name the same targets; of a plan for several platforms, a shard may have one of them.
    ordered = sorted(manifests, key=lambda manifest: sorted(manifest.planned))
    for _, same_plan in groupby(ordered, key=lambda manifest: sorted(manifest.planned)):
        group = list(same_plan)
        platforms = joined(platform for manifest in group for platform in manifest.platform.split(", "))
        yield from _shard_problems(platforms, [manifest.shard for manifest in group if manifest.shard])
    records = [record for manifest in manifests for record in manifest.targets]
    counts = Counter(record.identifier for record in records)
    for identifier in sorted((name for name, count in counts.items() if count > 1), key=_natural):
        yield f"the target `{identifier}` is in {counts[identifier]} sets"
    planned = {name for manifest in manifests for name in manifest.planned}
    for identifier in sorted(planned - counts.keys(), key=_natural):
        yield f"the target `{identifier}` of the plan is missing"
    for record in records:
        if record.wheel is None and record.state in _WITHOUT_WHEEL:
            yield f"the target `{record.identifier}` has no wheel: {_why(record)}"


def _shard_problems(platform: str, shards: Sequence[Shard]) -> Iterator[str]:
    for arch, count in sorted({(shard.arch, shard.count) for shard in shards}):
        for index in range(1, count + 1):
            if (shard := Shard(index=index, count=count, arch=arch)) not in shards:
                yield f"the shard {shard} of the plan for {platform} is missing"


def _why(record: TargetRecord) -> str:
    return f"{record.failure.problem} ({record.failure.code})" if record.failure else record.state.value


def _file_problems(sets: Sequence[_Set], hashes: _Hashes) -> Iterator[str]:
    holders: dict[str, list[tuple[_Set, Path]]] = {}
    for found in sets:
        for file in (*found.wheels, *found.sdists):
            if is_regular(file):
                holders.setdefault(file.name, []).append((found, file))
    for name, held in holders.items():
        if len(held) > 1 and len({hashes.of(file) for _, file in held}) > 1:
            yield f"`{name}` is not the same in {', '.join(str(found) for found, _ in held)}"
    manifests = [found.manifest for found in sets if found.manifest]
    for found in sets:
        for sdist in found.sdists:
            if not any(is_sdist_of(manifest, sdist.name) for manifest in manifests):
                yield f"{found}: `{sdist.name}` is no sdist of the wheels' project and version"


def is_sdist_of(manifest: Manifest, name: str) -> bool:
    """Whether this is the name of an sdist of the manifest's project and version."""
    try:
        release = parse_sdist_filename(name)
    except InvalidSdistFilename:
        return False
    return any(parse_wheel_filename(wheel.name)[:2] == release for wheel in manifest.wheels)


def _output_problems(sets: Sequence[_Set], output: Path) -> Iterator[str]:
    """Other wheels in the output folder would be delivered, too."""
    gathered = {wheel.name for found in sets for wheel in found.wheels}
    for wheel in sorted(output.glob("*.whl")):
        if wheel.name not in gathered:
            yield f"the output folder `{output}` has `{wheel.name}`, which is in none of the sets"
