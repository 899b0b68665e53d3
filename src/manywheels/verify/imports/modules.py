"""Which modules a wheel has, and which interpreters install it."""

from __future__ import annotations

import keyword
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.errors import WheelFileError
from manywheels.plan.interpreters import Interpreter, tag_of
from manywheels.plan.targets import accepted_tags
from manywheels.wheels.wheelfile import WheelName, suffix_of

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_INIT: Final = rb"(?:PyInit|PyModExport)_%s\0"
# zipfile's exceptions for damaged, encrypted, or unsupported archives.
_UNREADABLE: Final = (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error, EOFError)
_SKIPPED: Final = frozenset({"test", "tests", "__main__", "__pycache__"})


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module by its dotted name; `member` is the file of an extension module."""

    name: str
    member: str | None = None


def importable(members: Iterable[str], is_extension: Callable[[str], bool] = lambda _: True) -> tuple[Module, ...]:
    """Return a wheel's top-level modules, then the extension modules below them, without tests and `__main__`.

    `is_extension` decides about members named `*.so`, without an ABI.
    """
    top: dict[str, Module] = {}
    extensions: dict[str, Module] = {}
    for member in members:
        *folders, file = _installed(member)
        suffix = suffix_of(file)
        name = suffix.module if suffix else file.removesuffix(".py")
        parts = [*folders, *([] if name == "__init__" else [name])]
        if name == file or not parts or not all(map(_is_name, parts)):
            continue
        if suffix and not suffix.abi and not is_extension(member):
            continue
        if suffix:
            extensions.setdefault(".".join(parts), Module(name=".".join(parts), member=member))
        top.setdefault(parts[0], Module(name=parts[0]))
    shown = [extensions.pop(name, module) for name, module in top.items()]
    return (*shown, *extensions.values())


def _installed(member: str) -> list[str]:
    """Return the parts of a path below site-packages; an empty name elsewhere."""
    first, *rest = member.split("/")
    if first.endswith(".data") and rest:
        return rest[1:] or [""] if rest[0] in {"purelib", "platlib"} else [""]
    return [""] if first.endswith((".dist-info", ".libs")) else [first, *rest]


def _is_name(part: str) -> bool:
    return part.isidentifier() and not keyword.iskeyword(part) and part not in _SKIPPED


def modules_of(wheel: Path) -> tuple[Module, ...]:
    """Raises WheelFileError if the wheel cannot be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:

            def is_extension(member: str) -> bool:
                name = member.rpartition("/")[2].removesuffix(".so").encode()
                return re.search(_INIT % re.escape(name), archive.read(member)) is not None

            return importable(archive.namelist(), is_extension)
    except _UNREADABLE as error:
        raise WheelFileError(f"`{wheel}` cannot be read as a wheel: {error}.", remedy="Build it again.") from None


def requires_python(wheel: Path) -> SpecifierSet | None:
    """Return Requires-Python; None if the wheel has none, or cannot be read."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            value = BytesHeaderParser().parsebytes(archive.read(member))["Requires-Python"]
        return SpecifierSet(str(value)) if value else None
    except (*_UNREADABLE, StopIteration, InvalidSpecifier):
        return None  # other checks report this


def interpreter_for(
    name: WheelName, interpreters: Iterable[Interpreter], requires: SpecifierSet | None = None
) -> Interpreter | None:
    """Return the first of this machine's interpreters that installs the wheel, or None."""
    from packaging.tags import platform_tags

    here = {*platform_tags(), "any"}
    if not any(tag.platform in here for tag in name.tags):
        return None
    return next((found for found in interpreters if accepts(found.abi, found.version, name, requires)), None)


def accepts(abi: str, version: str, name: WheelName, requires: SpecifierSet | None) -> bool:
    """Whether a CPython or PyPy of this ABI tag and full version installs the wheel on its platform."""
    if requires is not None and not requires.contains(version, prereleases=True):
        return False
    major, minor = version.split(".")[:2]
    accepted = accepted_tags(tag_of(abi), (int(major), int(minor)), abi)
    return any((tag.interpreter, tag.abi) in accepted for tag in name.tags)
