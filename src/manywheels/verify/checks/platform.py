"""Platform: the ELF files are for the tag's machine, without paths of the build machine."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from manywheels.data import table
from manywheels.verify.checks.files import is_pointer
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.verify.places import place_of

SITE: Final = "lib/python/site-packages"  # in an environment its second part has the Python's version
_SCHEMES: Final = {"data": ".", "headers": "include", "platlib": SITE, "purelib": SITE, "scripts": "bin"}
_SITE_OF_A_VERSION: Final = re.compile(r"lib(64)?/python3\.\d+t?/site-packages(?=/|$)")


def machine_matches(wheel: Wheel) -> Iterator[Problem]:
    """Every ELF file has the machine, word size and byte order of the platform tag's architecture."""
    found = {file.member: (file.machine, file.bits, file.little_endian) for file in wheel.elves}
    found |= {name: (header.machine, header.bits, header.little_endian) for name, header in wheel.unlinked.items()}
    for platform in wheel.name.platforms:
        place = place_of(platform)
        wanted = table("machines").get(place.arch) if place else None
        if wanted is None:
            continue
        for member, header in found.items():
            if header != (wanted["machine"], wanted["bits"], wanted["little_endian"]):
                yield Problem(
                    member=member,
                    message=f"is for {header[0]} ({header[1]} bit), but the tag is `{platform}`",
                    remedy="Look for a prebuilt library in the source tree, or a wrong cross-compiler.",
                )


def run_paths_stay_inside(wheel: Wheel) -> Iterator[Problem]:
    """Every RPATH and RUNPATH starts with $ORIGIN; one that leads out of site-packages is a warning.

    A program in *.data/scripts is installed into the environment's `bin`, and its run paths count from there.
    """
    for file in wheel.elves:
        for path in file.run_paths:
            if not is_inside(path):
                yield Problem(
                    member=file.member,
                    message=f"has the run path `{path}`, a folder of the build machine"
                    if path
                    else "has an empty run path, which is the working directory of the user's program",
                    remedy="Link without -rpath, or with one that starts with $ORIGIN.",
                )
            elif left := _leaves(file.member, folder_of(file.member, path)):
                yield Problem(
                    member=file.member,
                    message=f"has the run path `{path}`, which leads out of {left}",
                    remedy="Keep libraries in a folder of the wheel.",
                    severity=Severity.WARNING,
                )


def _leaves(member: str, folder: str) -> str:
    """Return what a run path's folder lies outside of; empty if it stays inside."""
    if installed_path(member).startswith(f"{SITE}/"):
        return "" if f"{folder}/".startswith(f"{SITE}/") else "site-packages"
    return "the environment" if folder.startswith("..") else ""


def folder_of(member: str, run_path: str) -> str:
    """Return a run path's folder in an environment."""
    origin = posixpath.dirname(installed_path(member))
    return _in_environment(posixpath.join(origin, run_path.partition("/")[2]))


def installed_path(member: str) -> str:
    """Return a member's path in an environment, as `bin/tool` and `lib/python/site-packages/demo/_core.so`."""
    found = re.match(r"[^/]+\.data/(\w+)/(.+)", member)
    scheme, path = (found[1], found[2]) if found else ("platlib", member)
    return _in_environment(posixpath.join(_SCHEMES.get(scheme, scheme), path))


def _in_environment(path: str) -> str:
    return _SITE_OF_A_VERSION.sub(SITE, posixpath.normpath(path))


def is_inside(run_path: str) -> bool:
    """Whether a run path is relative to its file ($ORIGIN)."""
    return re.match(r"\$(ORIGIN|\{ORIGIN\})(/|$)", run_path) is not None


def elves_are_readable(wheel: Wheel) -> Iterator[Problem]:
    """Every file that starts like an ELF file, and every extension module, can be read as one."""
    for member, reason in wheel.broken_elves.items():
        if not is_pointer(wheel, member):  # MW234
            yield Problem(
                member=member, message=f"is not a readable ELF file ({reason})", remedy="Build the wheel again."
            )


CHECKS: Final = (
    Check(code="MW210", title="readable ELF files", run=elves_are_readable, of_linux=True,
          reason="A file that cannot be read can be neither checked nor loaded."),
    Check(code="MW206", title="machine", run=machine_matches, of_linux=True,
          reason="A file for another machine cannot be loaded."),
    Check(code="MW207", title="run paths", run=run_paths_stay_inside, of_linux=True,
          reason="If the folder exists on a user's machine, libraries in it are loaded into their Python."),
)  # fmt: skip
