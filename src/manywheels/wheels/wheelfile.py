"""File names of wheels and sdists, WHEEL files, and suffixes of extension modules (wheel specification; PEP 427)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from itertools import islice, product
from math import prod
from typing import Final

from packaging.tags import Tag
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from manywheels.errors import WheelFileError

_SUFFIX: Final = re.compile(
    r"(?:\.(?:cpython-(?P<cpython>3\d+[tdmu]*)|(?P<stable>abi3t?)|(?P<pypy>pypy\d+-pp\d+))(?:-(?P<triplet>[\w-]+))?)?\.so$"
)
_CPYTHON: Final = re.compile(r"cp3(\d+)(t?)")
STABLE_ABIS: Final = frozenset({"abi3", "abi3t"})  # PEP 384; for free-threaded CPython, PEP 803
_FIRST_WITH_ABI3T: Final = 15
_MOST_TAGS = 1_000  # in a line of a WHEEL file, and in all; real ones have less than thirty


@dataclass(frozen=True, kw_only=True)
class WheelName:
    """A wheel's file name: `name` normalised, `tags` expanded, `build` empty if absent."""

    name: str
    version: str
    build: str
    tags: frozenset[Tag]

    @property
    def is_pure(self) -> bool:
        """Whether every platform tag is `any`."""
        return all(tag.platform == "any" for tag in self.tags)

    @property
    def claims_any(self) -> bool:
        """Whether a platform tag is `any`."""
        return any(tag.platform == "any" for tag in self.tags)

    @property
    def is_for_any_python(self) -> bool:
        """Whether all tags are `py…-none`; binaries in it are programs, or libraries for ctypes."""
        return all(tag.abi == "none" and tag.interpreter.startswith("py") for tag in self.tags)

    @property
    def is_stable_abi(self) -> bool:
        """Whether it is for several interpreters: ABI `abi3`, `abi3t` or `none`."""
        return all(tag.abi in {*STABLE_ABIS, "none"} for tag in self.tags)

    @property
    def abis(self) -> str:
        """The ABI tags joined by dots, sorted; `<interpreter>-none` without an ABI."""
        abis = {tag.abi for tag in self.tags} - {"none"}
        return ".".join(sorted(abis or {f"{tag.interpreter}-none" for tag in self.tags}))

    @property
    def platforms(self) -> tuple[str, ...]:
        return tuple(sorted({tag.platform for tag in self.tags}))


def release_of(name: str) -> tuple[str, str] | None:
    """Return project (normalised) and version of a wheel or sdist, by its name; None if it has no such name."""
    try:
        project, version = parse_wheel_filename(name)[:2] if name.endswith(".whl") else parse_sdist_filename(name)
    except (InvalidSdistFilename, InvalidWheelFilename):
        return None
    return project, str(version)


def parse_name(file_name: str) -> WheelName:
    """Raises WheelFileError."""
    try:
        name, version, build, tags = parse_wheel_filename(file_name)
    except InvalidWheelFilename as error:
        raise WheelFileError(
            f"`{file_name}` is not a wheel's file name: {error}.",
            remedy="A wheel's name has the form name-version-python-abi-platform.whl.",
        ) from None
    return WheelName(
        name=name, version=str(version), build=file_name.split("-")[2] if build else "", tags=frozenset(tags)
    )


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """`*.dist-info/WHEEL`: expanded tags, Root-Is-Purelib; Wheel-Version and Build as written."""

    tags: frozenset[str]
    root_is_purelib: bool
    version: str = ""
    build: str = ""


def parse_wheel_file(content: bytes) -> WheelFile:
    """Missing fields are empty or false."""
    headers = HeaderParser().parsestr(content.decode("utf-8", "replace"))
    tags = (str(tag) for line in headers.get_all("Tag", []) for tag in _expanded(line))
    return WheelFile(
        tags=frozenset(islice(tags, _MOST_TAGS)),
        root_is_purelib=headers.get("Root-Is-Purelib", "").strip().lower() == "true",
        version=headers.get("Wheel-Version", "").strip(),
        build=headers.get("Build", "").strip(),
    )


def _expanded(line: str) -> Iterator[Tag]:
    parts = line.strip().split("-")
    if len(parts) != 3:  # noqa: PLR2004 - python, ABI, platform
        return
    alternatives = [part.split(".") for part in parts]
    if prod(map(len, alternatives)) <= _MOST_TAGS:
        yield from (Tag(*combination) for combination in product(*alternatives))


@dataclass(frozen=True, kw_only=True)
class Suffix:
    """An extension module's suffix, as `.cpython-312-x86_64-linux-gnu.so`.

    `module` is the path before it, `abi` the ABI tag (`cp312`, `abi3`, `pypy311_pp73`), empty for a plain `.so`, which
    every interpreter loads.
    """

    module: str
    abi: str
    triplet: str

    def loads(self, tag: Tag) -> bool:
        """Whether an interpreter with this tag imports such a file."""
        if self.abi in STABLE_ABIS:
            return self._is_found_by(tag)
        if self.abi in {"", tag.abi}:
            return True
        own = self.abi.partition("_")[0].replace("pypy", "pp")
        return tag.abi == "none" and tag.interpreter == own.rstrip("tdmu")

    def _is_found_by(self, tag: Tag) -> bool:
        """Whether an interpreter looks for a file of the stable ABI.

        Free-threaded CPython does not look for abi3 (PEP 703); every CPython since 3.15 looks for abi3t (PEP 803).
        """
        cpython = _CPYTHON.fullmatch(tag.interpreter if tag.abi in {"none", *STABLE_ABIS} else tag.abi)
        if self.abi == "abi3":
            return tag.abi == "abi3" or (tag.abi != "abi3t" and cpython is not None and not cpython[2])
        return cpython is not None and int(cpython[1]) >= _FIRST_WITH_ABI3T


def suffix_of(member: str) -> Suffix | None:
    """Return an extension module's suffix; None if interpreters do not import files of this name."""
    found = _SUFFIX.search(member)
    if found is None:
        return None
    abi = f"cp{found['cpython']}" if found["cpython"] else found["stable"] or (found["pypy"] or "").replace("-", "_")
    return Suffix(module=member[: found.start()], abi=abi, triplet=found["triplet"] or "")


def is_tagged(member: str) -> bool:
    suffix = suffix_of(member)
    return suffix is not None and bool(suffix.abi)
