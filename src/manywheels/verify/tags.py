"""Tags: file name, WHEEL file and extension modules say the same, and the index accepts it (PEP 425, 427)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from packaging.utils import canonicalize_name
from packaging.version import Version

from manywheels.data import table
from manywheels.verify.model import Check, Problem, Wheel

_EXTENSION: Final = re.compile(
    r"\.(?:(?P<cpython>cpython-(?P<number>3\d+)(?P<t>t?))|(?P<abi3>abi3t?)|(?P<pypy>pypy\d+-pp\d+))(?:-[\w-]+)?\.so$"
)


def name_is_normalised(wheel: Wheel) -> Iterator[Problem]:
    """The name part of the file name is normalised, and so is the version."""
    name, version = wheel.path.name.split("-")[:2]
    wanted = canonicalize_name(name).replace("-", "_")
    if name != wanted and name.lower() != wanted:
        yield Problem(message=f"the name `{name}` should be written `{wanted}`", remedy="Update the build back end.")
    if str(Version(version)) != version:
        yield Problem(
            message=f"the version `{version}` should be written `{Version(version)}`",
            remedy="Update the build back end.",
        )


def wheel_file_agrees(wheel: Wheel) -> Iterator[Problem]:
    """The WHEEL file lists exactly the tags of the file name."""
    if wheel.wheel_file is None:
        yield Problem(message="there is not exactly one *.dist-info/WHEEL", remedy="Build the wheel again.")
        return
    in_name = frozenset(map(str, wheel.name.tags))
    in_file = wheel.wheel_file.tags
    if in_name != in_file:
        yield Problem(
            message=f"the file name says {_list(in_name - in_file) or 'no more'}, "
            f"the WHEEL file says {_list(in_file - in_name) or 'no more'}",
            remedy="Do not rename wheels by hand: `wheel tags` changes both.",
        )


def purelib_agrees(wheel: Wheel) -> Iterator[Problem]:
    """A wheel with a platform tag is installed into platlib."""
    if wheel.wheel_file and wheel.wheel_file.root_is_purelib and not wheel.name.is_pure:
        yield Problem(
            message="Root-Is-Purelib is true, but the tag names a platform",
            remedy="Tell the back end that the project has extension modules.",
        )


def index_accepts_platform(wheel: Wheel) -> Iterator[Problem]:
    """Every platform tag is one that the index accepts."""
    patterns = table("index")["platforms"]
    for platform in wheel.name.platforms:
        if not any(re.fullmatch(pattern, platform) for pattern in patterns):
            yield Problem(
                message=f"the index refuses the platform tag `{platform}`",
                remedy="Repair the wheel to a manylinux or musllinux policy.",
            )


def extensions_match_tags(wheel: Wheel) -> Iterator[Problem]:
    """The suffix of every extension module is one that the tagged interpreter loads."""
    abis = {tag.abi for tag in wheel.name.tags}
    for member in wheel.members:
        found = _EXTENSION.search(PurePosixPath(member).name)
        if found is None:
            continue
        if found["cpython"]:
            abi = f"cp{found['number']}{found['t']}"
            fits = abi in abis
        elif found["abi3"]:
            abi = found["abi3"]
            with_gil = any(re.fullmatch(r"cp3\d+", name) for name in abis)  # those without load no abi3 (PEP 703)
            fits = abi in abis or (abi == "abi3" and with_gil)
        else:
            abi = found["pypy"].replace("-", "_")
            fits = abi in abis
        if not fits:
            yield Problem(
                member=member,
                message=f"is built for `{abi}`, but the wheel's tag says `{'.'.join(sorted(abis))}`",
                remedy="Remove what an earlier build left in the source tree, and build again.",
            )


def _list(tags: frozenset[str]) -> str:
    return ", ".join(f"`{tag}`" for tag in sorted(tags))


CHECKS: Final = (
    Check(code="MW201", title="normalised name", run=name_is_normalised,
          reason="Installers and the index look wheels up by their normalised name."),
    Check(code="MW202", title="WHEEL file agrees", run=wheel_file_agrees,
          reason="Installers trust the name before they open the wheel and the WHEEL file after."),
    Check(code="MW203", title="purelib", run=purelib_agrees,
          reason="Extension modules in purelib are shared between architectures on some distributions."),
    Check(code="MW204", title="platform accepted", run=index_accepts_platform,
          reason="The index refuses uploads with other platform tags."),
    Check(code="MW205", title="extension suffixes", run=extensions_match_tags,
          reason="An interpreter does not load extension modules with another's suffix."),
)  # fmt: skip
