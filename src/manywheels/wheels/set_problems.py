"""Why the sets of several jobs are not one: files that changed or are missing, other releases, incomplete plans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

from manywheels.core.regular_files import is_regular
from manywheels.core.text import natural
from manywheels.wheels.leftovers import of_other_versions
from manywheels.wheels.manifest import Manifest, SealedFile, Shard, TargetRecord, TargetState, WheelRecord, joined
from manywheels.wheels.output import MANIFEST
from manywheels.wheels.sources import Hashes, OpenSet
from manywheels.wheels.wheelfile import release_of

_WITHOUT_WHEEL: Final = frozenset({TargetState.FAILED, TargetState.CANCELLED})


def set_problems(sets: Sequence[OpenSet], output: Path, digests: Collection[str], hashes: Hashes) -> Iterator[str]:
    """Yield why sets cannot be gathered into the folder `output`. `digests` as for `gather`. Raises Cancelled."""
    for found in sets:
        yield from _problems_of_one(found, hashes)
    manifests = [found for found in sets if found.manifest]
    if not manifests:
        yield f"none of {', '.join(map(str, sets))} has a manifest ({MANIFEST})"
        return
    yield from digest_problems(manifests, digests)
    yield from _release_problems(manifests)
    yield from _target_problems([found.manifest for found in manifests if found.manifest])
    yield from _file_problems(sets, hashes)
    yield from _sdist_problems(sets)
    yield from _output_problems(sets, output)


def problems_with_foreign(sets: Sequence[OpenSet]) -> Iterator[str]:
    """Yield why what others built, in `foreign` sources, is no part of the release; its content is not looked at."""
    manifests = [found.manifest for found in sets if found.manifest and not found.source.foreign]
    for found in sets:
        if found.source.foreign:
            yield from _problems_of_foreign(found)
            yield from _sdists_of_others(found, manifests)
    yield from _wheels_of_others(sets)


def _problems_of_one(found: OpenSet, hashes: Hashes) -> Iterator[str]:
    if found.source.foreign:
        return
    yield from (f"{found}: `{sdist.name}` is not a regular file" for sdist in found.sdists if not is_regular(sdist))
    if found.manifest:
        yield from _differences(found, found.manifest, hashes)
    else:
        for wheel in found.wheels:
            yield f"{found}: `{wheel.name}` has no manifest beside it"
        if not found.files:
            yield f"{found} has neither a manifest nor an sdist"


def _problems_of_foreign(found: OpenSet) -> Iterator[str]:
    if found.manifest:
        yield f"{found} has a manifest ({MANIFEST}): gather it as a set of manywheels, not as foreign"
    if not found.files:
        yield f"{found} has neither a wheel nor an sdist"
    yield from (f"{found}: `{file.name}` is not a regular file" for file in found.files if not is_regular(file))


def _differences(found: OpenSet, manifest: Manifest, hashes: Hashes) -> Iterator[str]:
    sealed = {record.name: record for record in manifest.files}
    if len(sealed) < len(manifest.files):
        yield f"{found}: its manifest has several records of one file"
    # An sdist that no manifest seals may have been put there by other means.
    here = {file.name: file for file in found.files if file.suffix == ".whl" or file.name in sealed}
    for name in sorted(sealed.keys() - here.keys()):
        yield f"{found}: `{name}` of the manifest is missing"
    for name in sorted(here.keys() - sealed.keys()):
        yield f"{found}: `{name}` is not in the manifest"
    for name in sorted(here.keys() & sealed.keys()):
        if wrong := _difference(here[name], sealed[name], hashes):
            yield f"{found}: `{name}` {wrong}"


def _difference(wheel: Path, sealed: WheelRecord | SealedFile, hashes: Hashes) -> str | None:
    """Compare size before content: a file of another size may be huge, and is not read."""
    if not is_regular(wheel):
        return "is not a regular file"
    if (size := wheel.lstat().st_size) != sealed.size:
        return f"has {size} bytes; the manifest says {sealed.size}"
    if (sha256 := hashes.of(wheel)) != sealed.sha256:
        return f"has the sha256 {sha256}; the manifest says {sealed.sha256}"
    return None


def digest_problems(sets: Sequence[OpenSet], digests: Collection[str]) -> Iterator[str]:
    """Yield manifests that are none of `digests` (sha256 in hex), and digests that no manifest has."""
    if not digests:
        return
    for found in sets:
        if found.digest not in digests:
            yield f"{found}: its manifest has the sha256 {found.digest}, which is none of `manifest-digest`"
    for digest in sorted(set(digests) - {found.digest for found in sets}):
        yield f"no manifest has the sha256 {digest} of `manifest-digest`"


def _release_problems(sets: Sequence[OpenSet]) -> Iterator[str]:
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
    for identifier in sorted((name for name, count in counts.items() if count > 1), key=natural):
        yield f"the target `{identifier}` is in {counts[identifier]} sets"
    planned = {name for manifest in manifests for name in manifest.planned}
    for identifier in sorted(planned - counts.keys(), key=natural):
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


def _wheels_of_others(sets: Sequence[OpenSet]) -> Iterator[str]:
    """Yield wheels of another release than the set's."""
    releases = {release_of(wheel.name) for found in sets if found.manifest for wheel in found.manifest.wheels}
    for found in sets:
        for wheel in found.wheels if found.source.foreign else ():
            release = release_of(wheel.name)
            if release is None:
                yield f"{found}: `{wheel.name}` has no name of a wheel"
            elif releases and release not in releases:
                named = " or ".join(sorted(f"{own[0]} {own[1]}" for own in releases if own))
                yield f"{found}: `{wheel.name}` is of {release[0]} {release[1]}, the other wheels are of {named}"


def _file_problems(sets: Sequence[OpenSet], hashes: Hashes) -> Iterator[str]:
    holders: dict[str, list[tuple[OpenSet, Path]]] = {}
    for found in sets:
        for file in found.files:
            if is_regular(file):
                holders.setdefault(file.name, []).append((found, file))
    for name, held in holders.items():
        if len(held) > 1 and len({hashes.of(file) for _, file in held}) > 1:
            yield f"`{name}` is not the same in {', '.join(str(found) for found, _ in held)}"


def _sdist_problems(sets: Sequence[OpenSet]) -> Iterator[str]:
    manifests = [found.manifest for found in sets if found.manifest]
    for found in sets:
        if found.manifest and (failure := found.manifest.sdist_failure):
            yield f"{found} lacks its sdist: {failure.problem} ({failure.code})"
        if not found.source.foreign:
            yield from _sdists_of_others(found, manifests)
    names = sorted({sdist.name for found in sets for sdist in found.sdists})
    if len(names) > 1:
        yield f"there are several sdists, and a release has one: {', '.join(f'`{name}`' for name in names)}"


def _sdists_of_others(found: OpenSet, manifests: Sequence[Manifest]) -> Iterator[str]:
    """Yield sdists of another release than any of the manifests."""
    for sdist in found.sdists:
        if manifests and not any(is_sdist_of(manifest, sdist.name) for manifest in manifests):
            yield f"{found}: `{sdist.name}` is no sdist of the wheels' project and version"


def is_sdist_of(manifest: Manifest, name: str) -> bool:
    """Whether this is the name of an sdist of the manifest's project and version."""
    release = None if name.endswith(".whl") else release_of(name)
    return release is not None and any(release_of(wheel.name) == release for wheel in manifest.wheels)


def _output_problems(sets: Sequence[OpenSet], output: Path) -> Iterator[str]:
    """Other wheels in the output folder would be delivered, too, unless `publish` leaves them there."""
    gathered = {wheel.name for found in sets for wheel in found.wheels}
    others = [wheel for wheel in sorted(output.glob("*.whl")) if wheel.name not in gathered]
    left = [of_other_versions(found.manifest, others) for found in sets if found.manifest and found.manifest.files]
    for wheel in others:
        if not left or not all(wheel in of_set for of_set in left):
            yield f"the output folder `{output}` has `{wheel.name}`, which is in none of the sets"
