"""Tags: file name, WHEEL file and extension modules agree, and the index accepts them (PEP 425, 427)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import Version

from manywheels.core.text import some
from manywheels.data import table
from manywheels.verify.checks.loading import is_extension_module
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.verify.places import place_of, refused_by_all
from manywheels.wheels.wheelfile import Suffix, suffix_of

_RENAMED: Final = "Do not rename wheels by hand: `wheel tags` changes both."
_VERSIONED_PYTHON: Final = re.compile(r"(?:cp|py)(\d)(\d*)(\w*)")
_EARLIER_BUILD: Final = "Remove leftovers of earlier builds from the source tree, and build again."


def name_is_normalised(wheel: Wheel) -> Iterator[Problem]:
    """Name and version in the file name are normalised; capitals alone, or the version's form, are a warning."""
    name, version = wheel.path.name.split("-")[:2]
    wanted = canonicalize_name(name).replace("-", "_")
    if name != wanted:
        yield Problem(
            message=f"the name `{name}` should be written `{wanted}`",
            remedy="Update the build back end.",
            severity=Severity.WARNING if name.lower() == wanted else None,  # older files on the index have capitals
            only_pypi_refuses=True,
        )
    if str(Version(version)) != version:
        yield Problem(
            message=f"the version `{version}` should be written `{Version(version)}`",
            remedy="Update the build back end.",
            severity=Severity.WARNING,  # the index and installers compare versions, not texts
        )


def wheel_file_agrees(wheel: Wheel) -> Iterator[Problem]:
    """The WHEEL file has exactly the tags of the file name, the same build tag if any, and a known version."""
    if wheel.wheel_file is None:
        yield Problem(message="there is not exactly one *.dist-info/WHEEL", remedy="Build the wheel again.")
        return
    in_name, in_file = frozenset(map(str, wheel.name.tags)), wheel.wheel_file.tags
    build, other_build = wheel.name.build, wheel.wheel_file.build
    version = wheel.wheel_file.version
    if in_name != in_file:
        yield Problem(
            message=f"the file name has {_list(in_name - in_file) or 'no more'}, "
            f"the WHEEL file has {_list(in_file - in_name) or 'no more'}",
            remedy=_RENAMED,
        )
    if other_build and other_build != build:
        yield Problem(
            message=f"the file name has {f'the build `{build}`' if build else 'no build'}, "
            f"the WHEEL file has the build `{other_build}`",
            remedy=_RENAMED,
        )
    if not re.fullmatch(r"1\.\d+", version):
        yield Problem(
            message=f"the WHEEL file has {f'the Wheel-Version `{version}`' if version else 'no Wheel-Version'}, "
            "but installers support 1.0",
            remedy="Update the build back end.",
        )


def purelib_agrees(wheel: Wheel) -> Iterator[Problem]:
    """A wheel with a platform tag is installed into platlib; a warning if it has no extension modules."""
    if wheel.wheel_file and wheel.wheel_file.root_is_purelib and not wheel.name.is_pure:
        modules = [file.member for file in wheel.elves if is_extension_module(file)]
        yield Problem(
            message="Root-Is-Purelib is true, but the tag names a platform",
            remedy="Configure the back end for a project with extension modules.",
            severity=None if any("/platlib/" not in member for member in modules) else Severity.WARNING,
        )


def index_accepts_platform(wheel: Wheel) -> Iterator[Problem]:
    """The index accepts every platform tag."""
    patterns = table("index")["platforms"]
    for platform in wheel.name.platforms:
        if not any(re.fullmatch(pattern, platform) for pattern in patterns):
            yield Problem(
                message=f"the index refuses the platform tag `{platform}`",
                remedy="Repair the wheel to a manylinux or musllinux policy.",
            )


def systems_exist(wheel: Wheel) -> Iterator[Problem]:
    """Every platform tag is of a libc that some system may have, and every Python tag of a Python."""
    remedy = "Tag the wheel for what it was built for: `manywheels build` and auditwheel choose the policy."
    for platform in wheel.name.platforms:
        if reason := refused_by_all(platform):
            yield Problem(message=f"has the platform tag `{platform}`, which no installer takes: {reason}",
                          remedy=remedy)  # fmt: skip
    for python in sorted({tag.interpreter for tag in wheel.name.tags}):
        found = _VERSIONED_PYTHON.fullmatch(python)
        lowest, highest = table("installers")["python"].get(found[1], (1, 0)) if found else (0, 0)
        if found and (found[3] or not lowest <= int(found[2] or lowest) <= highest):
            yield Problem(message=f"has the Python tag `{python}`, but there is no such Python", remedy=remedy)


def extensions_match_tags(wheel: Wheel) -> Iterator[Problem]:
    """A tagged interpreter loads every extension module's suffix, and each tagged interpreter finds one of each."""
    modules: dict[str, list[Suffix]] = {}
    for member in wheel.members:
        suffix = suffix_of(member)
        if suffix is None:
            continue
        if not any(suffix.loads(tag) for tag in wheel.name.tags):
            yield Problem(
                member=member,
                message=f"is built for `{suffix.abi}`, but the wheel's tag is `{wheel.name.abis}`",
                remedy=_EARLIER_BUILD,
            )
            continue
        modules.setdefault(suffix.module, []).append(suffix)
        for platform in wheel.name.platforms:
            if (place := place_of(platform)) and not _is_for(suffix.triplet, place.arch):
                yield Problem(
                    member=member,
                    message=f"is for `{suffix.triplet}` by its name, but the tag is `{platform}`",
                    remedy="Look for a wrong cross-compiler: no interpreter of this platform loads such a file.",
                )
    yield from _modules_not_for_all(wheel, modules)


def _modules_not_for_all(wheel: Wheel, modules: Mapping[str, Sequence[Suffix]]) -> Iterator[Problem]:
    for pair in sorted({(tag.interpreter, tag.abi) for tag in wheel.name.tags}):
        tag = Tag(*pair, "any")
        lacking = [name for name, suffixes in modules.items() if not any(suffix.loads(tag) for suffix in suffixes)]
        if lacking:
            yield Problem(
                message=f"has no file of {some(lacking)} for `{'-'.join(pair)}`, which is among its tags",
                remedy="Build a wheel for each of these Pythons, or tag this one only for the Python it is built for.",
            )


def _is_for(triplet: str, arch: str) -> bool:
    known = table("machines").get(arch)
    return not triplet or known is None or triplet.partition("-")[0] in known["triplets"]


def _list(tags: frozenset[str]) -> str:
    return ", ".join(f"`{tag}`" for tag in sorted(tags))


CHECKS: Final = (
    Check(code="MW201", title="normalised name", run=name_is_normalised,
          reason="The index refuses new files with other names, and tools look up the normalised name."),
    Check(code="MW202", title="WHEEL file agrees", run=wheel_file_agrees,
          reason="Installers use the file name before they open the wheel, and the WHEEL file after."),
    Check(code="MW203", title="purelib", run=purelib_agrees,
          reason="Some distributions share purelib between architectures."),
    Check(code="MW204", title="platform accepted", run=index_accepts_platform,
          reason="The index refuses uploads with other platform tags."),
    Check(code="MW238", title="systems exist", run=systems_exist,
          reason="Installers compare the tags with the system's: they never choose such a wheel; the index takes it."),
    Check(code="MW205", title="extension suffixes", run=extensions_match_tags,
          reason="An interpreter does not load extension modules with another interpreter's suffix."),
)  # fmt: skip
