"""Sets: checks of a project's wheels together, and against their manifest.

`WheelFacts` has digests instead of contents, so sets of any size fit into memory.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations
from statistics import median
from typing import Final

from packaging.metadata import RawMetadata
from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from manywheels.core.text import some
from manywheels.data import table
from manywheels.verify.model import FunctionCheck, Problem, Severity, Wheel
from manywheels.verify.places import other_system_of
from manywheels.wheels.manifest import Manifest, SealedFile, TargetState, WheelRecord
from manywheels.wheels.missing import WAYS_OUT, describe_missing, missing_targets

_MIB: Final = 1 << 20
_SIZE_FACTOR: Final = 3
_MACHINE_CODE: Final = re.compile(r"\.(o|obj|a|lib|py[co])$")  # differs between Pythons, like ELF files

Found = Iterator[tuple[str | None, Problem]]


@dataclass(frozen=True, kw_only=True)
class WheelFacts:
    """What the set's checks need of a wheel: `file` is its name, `size` in bytes, `sha256` in hex.

    `pure_files` maps members outside *.dist-info that are no machine code to digests; `build` is the build tag or
    empty. `declares` has the metadata that installers choose and resolve by, each field with its sorted values.
    """

    file: str
    project: str
    version: str
    build: tuple[int, str] | tuple[()]
    tags: frozenset[Tag]
    size: int
    sha256: str
    pure_files: Mapping[str, str]
    declares: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def platform(self) -> tuple[str, ...]:
        """The kinds of platform, as `manylinux x86_64`: siblings may have different policies."""
        return tuple(sorted({_platform_kind(tag.platform) for tag in self.tags}))


def facts_of(wheel: Wheel) -> WheelFacts:
    """The file is read once more for the digest. Raises OSError."""
    machine_code = wheel.machine_code
    return WheelFacts(
        file=wheel.path.name,
        project=wheel.name.name,
        version=wheel.name.version,
        build=parse_wheel_filename(wheel.path.name)[2],
        tags=wheel.name.tags,
        size=wheel.archive.size,
        sha256=wheel.archive.digest(),
        pure_files={
            member.name: member.digest
            for member in wheel.members.values()
            if member.name not in machine_code
            and not _MACHINE_CODE.search(member.name)
            and not member.name.partition("/")[0].endswith(".dist-info")
        },
        declares=_declared(wheel.metadata),
    )


def _declared(metadata: RawMetadata) -> dict[str, tuple[str, ...]]:
    lists = {"Requires-Dist": metadata.get("requires_dist", []), "Provides-Extra": metadata.get("provides_extra", [])}
    python = metadata.get("requires_python")
    return {"Requires-Python": (python,) if python else (), **{name: tuple(sorted(it)) for name, it in lists.items()}}


class SetCheck(FunctionCheck[[Sequence[WheelFacts], Manifest | None], tuple[str | None, Problem]]):
    """A check of several wheels: `run` yields problems, each with its wheel's file name, or None for the set."""


def manifest_agrees(wheels: Sequence[WheelFacts], manifest: Manifest | None) -> Found:
    """The wheels are exactly those of the manifest, byte for byte, and neither its targets nor its sdist failed."""
    if manifest is not None:
        yield from disagreements(
            {wheel.file: wheel.sha256 for wheel in wheels}, (*manifest.wheels, *manifest.foreign)
        )  # fmt: skip
        yield from without_wheel(manifest)
        yield from without_sdist(manifest)
        # A job may verify its own shard: other jobs build the rest.
        yield from () if manifest.shard else left_to_build(manifest)


def disagreements(digests: Mapping[str, str], sealed: Iterable[WheelRecord | SealedFile]) -> Found:
    """Yield what is missing, changed or more than is `sealed`, `digests` by file name (sha256 in hex)."""
    records = {record.name: record for record in sealed}
    for name, record in records.items():
        if name not in digests:
            yield None, Problem(message=f"`{name}` of the manifest is missing", remedy=_TAKE_THE_WHOLE_SET)
        elif digests[name] != record.sha256:
            yield (
                name,
                Problem(
                    message=f"has the sha256 {digests[name]}, the manifest has {record.sha256}",
                    remedy="It was changed after verification; build the set again.",
                ),
            )
    for name in digests:
        if name not in records:
            yield name, Problem(message="is not in the manifest", remedy=_cure_of_more(name))


def _cure_of_more(name: str) -> str:
    """Return what to do with a file that is not in the manifest, by what it is for."""
    if not name.endswith(".whl"):
        return _REMOVE_SDIST
    platforms = name.removesuffix(".whl").rpartition("-")[2].split(".")
    return _ADD_FOREIGN if all(map(other_system_of, platforms)) else _BUILD_AGAIN


def without_wheel(manifest: Manifest) -> Found:
    """Yield the targets that failed or were cancelled."""
    for target in manifest.targets:
        if target.wheel is None and target.state in {TargetState.FAILED, TargetState.CANCELLED}:
            yield (
                None,
                Problem(
                    message=f"the wheel of `{target.identifier}` is missing: the target {_ENDED[target.state]}",
                    remedy="Fix the build, or `skip` the target: users of this Python would build from source.",
                ),
            )


def without_sdist(manifest: Manifest) -> Found:
    """Yield why the set lacks the sdist that it should have."""
    if failure := manifest.sdist_failure:
        problem = f"the sdist is missing: {failure.problem} ({failure.code})"
        yield None, Problem(message=problem, remedy="Fix what it says, or build without `sdist`.")


def left_to_build(manifest: Manifest) -> Found:
    """Yield what a manifest lacks of its plan: other shards, or targets."""
    absent = sorted(set(manifest.planned) - {target.identifier for target in manifest.targets})
    if manifest.shard:
        others = f"; it lacks {some(absent)}" if absent else ""
        yield (
            None,
            Problem(message=f"the manifest is only of shard {manifest.shard} of the plan{others}", remedy=_GATHER),
        )
        return
    for name in absent:
        yield None, Problem(message=f"the target `{name}` of the plan is not in the manifest", remedy=_GATHER)


def every_planned_python(_wheels: Sequence[WheelFacts], manifest: Manifest | None) -> Found:
    """No target of the manifest lacks its wheel because the interpreter was missing, unless `allow-missing` is set."""
    if manifest is not None and (missing := missing_targets([manifest])):
        yield None, Problem(message=describe_missing(missing), remedy=WAYS_OUT)


def one_release(wheels: Sequence[WheelFacts], _manifest: Manifest | None) -> Found:
    """All wheels are of one project and one version."""
    projects = sorted({wheel.project for wheel in wheels})
    if len(projects) > 1:
        yield None, Problem(message=f"wheels of several projects: {some(projects)}", remedy=_ONE_FOLDER)
    for project in projects:
        versions = sorted({wheel.version for wheel in wheels if wheel.project == project})
        if len(versions) > 1:
            yield (
                None,
                Problem(message=f"wheels of several versions of {project}: {some(versions)}", remedy=_ONE_FOLDER),
            )


def sizes_are_alike(wheels: Sequence[WheelFacts], _manifest: Manifest | None) -> Found:
    """The largest wheel of one version for one platform is at most three times as large as the smallest."""
    for siblings in _siblings(wheels):
        ordered = sorted(siblings, key=lambda wheel: wheel.size)
        smallest, largest = ordered[0], ordered[-1]
        if largest.size > _SIZE_FACTOR * smallest.size:
            usual = math.log(max(median(wheel.size for wheel in siblings), 1))
            outlier = max(smallest, largest, key=lambda wheel: abs(math.log(max(wheel.size, 1)) - usual))
            other = largest if outlier is smallest else smallest
            yield (
                outlier.file,
                Problem(
                    message=f"has {outlier.size:,} bytes, its sibling `{other.file}` has {other.size:,}",
                    remedy="Look for a missing extension module, an unstripped library, or files of an earlier build.",
                ),
            )


def index_accepts_size(wheels: Sequence[WheelFacts], _manifest: Manifest | None) -> Found:
    """No wheel is larger than the index allows."""
    limit = table("index")["max_file_size"]
    for wheel in wheels:
        if wheel.size > limit:
            yield (
                wheel.file,
                Problem(
                    message=f"has {wheel.size / _MIB:.1f} MiB, the index accepts {limit / _MIB:.0f} MiB",
                    remedy="Strip the libraries, leave out what users do not need, or request a higher limit.",
                ),
            )


def pure_files_are_alike(wheels: Sequence[WheelFacts], _manifest: Manifest | None) -> Found:
    """The wheels of one version for one platform have the same files, byte for byte, except machine code."""
    for siblings in _siblings(wheels):
        different = _different_files(siblings)
        for wheel in siblings:
            names = different.get(wheel.file, [])
            if names:
                yield (
                    wheel.file,
                    Problem(
                        message=f"differs from most of its siblings in {_count(names, 'pure file')}: {some(names)}",
                        remedy="Known causes: version files with a time or a path, wrappers generated for each "
                        "Python, leftovers of an earlier build. Set SOURCE_DATE_EPOCH, clean the source tree.",
                    ),
                )


def tags_do_not_overlap(wheels: Sequence[WheelFacts], _manifest: Manifest | None) -> Found:
    """No two wheels of one version have a tag in common, unless their build tags differ."""
    ranked: dict[object, list[WheelFacts]] = {}
    for wheel in wheels:
        ranked.setdefault((wheel.project, wheel.version, wheel.build), []).append(wheel)
    for first, second in chain.from_iterable(combinations(group, 2) for group in ranked.values()):
        shared = first.tags & second.tags
        if shared:
            yield (
                second.file,
                Problem(
                    message=f"has the tag {some(sorted(map(str, shared)))}, and so has `{first.file}`",
                    remedy="Keep one of them, or give the better one a build tag.",
                ),
            )


def _siblings(wheels: Sequence[WheelFacts]) -> list[list[WheelFacts]]:
    """Group by project, version and kind of platform, without groups of one."""
    groups: dict[object, list[WheelFacts]] = {}
    for wheel in wheels:
        groups.setdefault((wheel.project, wheel.version, wheel.platform), []).append(wheel)
    return [group for group in groups.values() if len(group) > 1]


def _different_files(siblings: Sequence[WheelFacts]) -> dict[str, list[str]]:
    """Map each wheel to the pure files in which it differs from most; the first wheel wins a tie."""
    different: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for wheel in siblings for name in wheel.pure_files):
        digests = [wheel.pure_files.get(name) for wheel in siblings]
        counts = Counter(digests)
        usual = max(counts, key=counts.__getitem__)
        for wheel, digest in zip(siblings, digests, strict=True):
            if digest != usual:
                different.setdefault(wheel.file, []).append(name)
    return different


def _count(names: Sequence[str], noun: str) -> str:
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'}"


def _platform_kind(platform: str) -> str:
    arch = next((name for name in table("machines") if platform.endswith(f"_{name}")), "")
    return f"{re.split('[0-9_]', platform)[0]} {arch}".strip()


_ENDED: Final = {TargetState.FAILED: "failed", TargetState.CANCELLED: "was cancelled"}
_TAKE_THE_WHOLE_SET: Final = "Use the complete output folder of one run."
_BUILD_AGAIN: Final = "Build it with the others of this release, or remove it."
_ADD_FOREIGN: Final = (
    "`manywheels gather --foreign` makes wheels that were built elsewhere a part of the set; if it does not belong to "
    "this release, remove it."
)
_REMOVE_SDIST: Final = "Remove it: the manifest has the sdist of this release."
_GATHER: Final = (
    "Publish from a job that runs after all building jobs and gathers their wheels: `artifact-pattern` on GitHub, the "
    "component `publish` on GitLab, otherwise `manywheels gather`."
)
EVERY_PYTHON: Final = "MW266"
_ONE_FOLDER: Final = "Use an empty output folder for each release."

CHECKS: Final = (
    SetCheck(code="MW260", title="sealed set", run=manifest_agrees,
             reason="Otherwise an incomplete or changed set is published."),
    SetCheck(code="MW261", title="one release", run=one_release,
             reason="Wheels of another release in the folder would be published, too."),
    SetCheck(code="MW262", title="sizes", run=sizes_are_alike, severity=Severity.WARNING,
             reason="A wheel of another size than its siblings lacks something, or has leftovers."),
    SetCheck(code="MW263", title="size limit", run=index_accepts_size,
             reason="The index refuses larger files, when others are published already."),
    SetCheck(code="MW264", title="pure files", run=pure_files_are_alike, severity=Severity.WARNING,
             reason="A release whose sources differ between Pythons is hard to debug and to reproduce."),
    SetCheck(code="MW265", title="tags once", run=tags_do_not_overlap,
             reason="Which of two wheels with the same tag gets installed is undefined."),
    SetCheck(code=EVERY_PYTHON, title="every planned Python", run=every_planned_python,
             reason="Users of a Python whose wheel is missing would build from source, and the run looked whole."),
)  # fmt: skip
