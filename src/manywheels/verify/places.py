"""Where wheels are installed: libc, architecture and Python, and uv's names (PEP 600, 656)."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from manywheels.data import table

_PLATFORM: Final = re.compile(r"(?P<libc>many|musl)linux_(?P<major>\d+)_(?P<minor>\d+)_(?P<arch>\w+)")
_LEGACY: Final = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_ANY: Final = "any"
# Of other systems, by the start of their tags; PyPy and CPython for the browser have tags of their own.
_OTHER_SYSTEMS: Final = {
    "android": "Android", "emscripten": "WebAssembly", "ios": "iOS", "macosx": "macOS", "pyemscripten": "WebAssembly",
    "pyodide": "WebAssembly", "wasi": "WebAssembly", "wasm32": "WebAssembly", "win": "Windows", "win32": "Windows",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """A libc, its version, and an architecture; empty and (0, 0) if not required."""

    libc: str
    version: tuple[int, int]
    arch: str

    def serves(self, other: Place) -> bool:
        """Whether a wheel for `other` runs here."""
        return other.arch in {"", self.arch} and other.libc in {"", self.libc} and other.version <= self.version

    def __str__(self) -> str:
        return " ".join(filter(None, [self.libc, ".".join(map(str, self.version)) if self.libc else "", self.arch]))


@dataclass(frozen=True, kw_only=True)
class Python:
    """An interpreter: implementation `cp`, version (3, 13), ABI `cp313t`."""

    implementation: str
    version: tuple[int, int]
    abi: str

    @property
    def free_threaded(self) -> bool:
        return self.implementation == "cp" and self.abi.endswith("t")

    @property
    def spec(self) -> str:
        """uv's notation: `3.12`, `3.14t`, `pypy3.11`."""
        kind = {"cp": "", "pp": "pypy"}.get(self.implementation, self.implementation)
        return f"{kind}{self.version[0]}.{self.version[1]}{'t' * self.free_threaded}"

    @property
    def newest_patch(self) -> str:
        """The highest patch version, which most constraints on the minor version allow."""
        return f"{self.version[0]}.{self.version[1]}.99"

    def __str__(self) -> str:
        return f"Python {self.spec}"


def place_of(tag: str) -> Place | None:
    """Return what a platform tag requires; None if it is not a Linux tag."""
    if tag == _ANY:
        return Place(libc="", version=(0, 0), arch="")
    if found := _PLATFORM.fullmatch(tag):
        libc = "glibc" if found["libc"] == "many" else "musl"
        return Place(libc=libc, version=(int(found["major"]), int(found["minor"])), arch=found["arch"])
    start, _, arch = tag.partition("_")
    if start in _LEGACY and arch:
        return Place(libc="glibc", version=_LEGACY[start], arch=arch)
    return Place(libc="", version=(0, 0), arch=arch) if start == "linux" and arch else None


def other_system_of(tag: str) -> str | None:
    """Return the system of a platform tag that is not for Linux, as `Windows`; None for others."""
    return _OTHER_SYSTEMS.get(tag.partition("_")[0])


def refused_by_all(tag: str) -> str | None:
    """Return why the installers of no system take a Linux tag (packaging.tags, uv); None if some may.

    They ask their libc for its version: `data/installers.toml` has the range of those that there are.
    """
    place = place_of(tag)
    known = table("installers")["libc"].get(place.libc) if place else None
    if place is None or known is None:
        return None
    major, minor = place.version
    oldest = known["oldest-of"].get(place.arch, known["oldest"])
    if major != known["major"]:
        return f"there is no {place.libc} {major}"
    if minor < oldest:
        return f"they look for {place.libc} {major}.{oldest} and later"
    return f"there is no {place.libc} {major}.{minor}" if minor > known["newest"] else None


@dataclass(frozen=True, kw_only=True)
class UvPlatform:
    """A value of uv's `--python-platform`, and its meaning."""

    name: str
    place: Place


def uv_at_least(place: Place) -> UvPlatform | None:
    """Return uv's nearest platform on which wheels for `place` run, or None."""
    return min((offered for offered in _uv_platforms() if offered.place.serves(place)), key=_rank, default=None)


def uv_at_most(place: Place) -> UvPlatform | None:
    """Return uv's nearest platform whose wheels all run on `place`, or None."""
    return max((offered for offered in _uv_platforms() if place.serves(offered.place)), key=_rank, default=None)


def _rank(platform: UvPlatform) -> tuple[str, tuple[int, int]]:
    return platform.place.libc, platform.place.version


def _uv_platforms() -> Iterator[UvPlatform]:
    for row in table("installers")["uv"]:
        for arch in row["archs"]:
            for major, minor in row["versions"]:
                place = Place(libc=row["libc"], version=(major, minor), arch=arch)
                yield UvPlatform(name=row["name"].format(arch=arch, major=major, minor=minor), place=place)


def python_for_uv(python: Python) -> str:
    """Return uv's `--python` for another version: only implementation and GIL matter."""
    alike = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
    return sys.executable if alike and python.implementation == "cp" and not python.free_threaded else python.spec
