"""A wheel's name and what it says of itself (PEP 427, and the binary distribution format)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email.parser import HeaderParser
from itertools import islice, product
from math import prod

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from manywheels.errors import WheelFileError

_MOST_TAGS = 1_000  # in one line of a WHEEL file, and in all of them; honest ones stand for less than thirty


@dataclass(frozen=True, kw_only=True)
class WheelName:
    """The parts of a wheel's file name; `name` is normalised, `tags` holds one tag for each combination.

    `build` is empty where there is no build tag.
    """

    name: str
    version: str
    build: str
    tags: frozenset[Tag]

    @property
    def is_pure(self) -> bool:
        """Whether the name claims no platform."""
        return all(tag.platform == "any" for tag in self.tags)

    @property
    def claims_any(self) -> bool:
        """Whether the name claims every platform, by one of its tags at least."""
        return any(tag.platform == "any" for tag in self.tags)

    @property
    def is_for_any_python(self) -> bool:
        """Whether the name claims no interpreter's ABI: what is in such a wheel is started, or loaded by ctypes."""
        return all(tag.abi == "none" and tag.interpreter.startswith("py") for tag in self.tags)

    @property
    def is_stable_abi(self) -> bool:
        """Whether one wheel serves several interpreters: ABI `abi3`, `abi3t` or `none`."""
        return all(tag.abi in {"abi3", "abi3t", "none"} for tag in self.tags)

    @property
    def abis(self) -> str:
        """The ABI tags as they stand in a name, sorted; the interpreter tags where there is no ABI."""
        abis = {tag.abi for tag in self.tags} - {"none"}
        return ".".join(sorted(abis or {f"{tag.interpreter}-none" for tag in self.tags}))

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags, sorted."""
        return tuple(sorted({tag.platform for tag in self.tags}))


def parse_name(file_name: str) -> WheelName:
    """Parse a wheel's file name; WheelFileError where it is none."""
    try:
        name, version, build, tags = parse_wheel_filename(file_name)
    except InvalidWheelFilename as error:
        raise WheelFileError(
            f"`{file_name}` is not a wheel's file name: {error}.",
            remedy="A wheel is called name-version-python-abi-platform.whl.",
        ) from None
    return WheelName(
        name=name, version=str(version), build=file_name.split("-")[2] if build else "", tags=frozenset(tags)
    )


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """The file `*.dist-info/WHEEL`: its tags (expanded), Root-Is-Purelib; Wheel-Version and Build as written."""

    tags: frozenset[str]
    root_is_purelib: bool
    version: str = ""
    build: str = ""


def parse_wheel_file(content: bytes) -> WheelFile:
    """Parse the content of a WHEEL file; what is missing in it is empty or false."""
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
