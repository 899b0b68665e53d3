"""Platform: the ELF files are for the tag's machine, without paths of the build machine."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import Final

from manywheels.data import table
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.verify.places import place_of


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
    """Every RPATH and RUNPATH starts with $ORIGIN; one that leads out of site-packages is a warning."""
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
            elif folder_of(file.member, path).startswith(".."):
                yield Problem(
                    member=file.member,
                    message=f"has the run path `{path}`, which leads out of site-packages",
                    remedy="Keep libraries in a folder of the wheel.",
                    severity=Severity.WARNING,
                )


def folder_of(member: str, run_path: str) -> str:
    """Return a run path's folder, relative to where the member's scheme is installed."""
    origin = posixpath.dirname(installed_path(member))
    return posixpath.normpath(posixpath.join(origin, run_path.partition("/")[2]))


def installed_path(member: str) -> str:
    """Return a path below site-packages, or below the scheme's folder for *.data."""
    return re.sub(r"^[^/]+\.data/\w+/", "", member)


def is_inside(run_path: str) -> bool:
    """Whether a run path is relative to its file ($ORIGIN)."""
    return re.match(r"\$(ORIGIN|\{ORIGIN\})(/|$)", run_path) is not None


def elves_are_readable(wheel: Wheel) -> Iterator[Problem]:
    """Every file that starts like an ELF file, and every extension module, can be read as one."""
    for member, reason in wheel.broken_elves.items():
        yield Problem(member=member, message=f"is not a readable ELF file ({reason})", remedy="Build the wheel again.")


CHECKS: Final = (
    Check(code="MW210", title="readable ELF files", run=elves_are_readable,
          reason="A file that cannot be read can be neither checked nor loaded."),
    Check(code="MW206", title="machine", run=machine_matches,
          reason="A file for another machine cannot be loaded."),
    Check(code="MW207", title="run paths", run=run_paths_stay_inside,
          reason="If the folder exists on a user's machine, libraries in it are loaded into their Python."),
)  # fmt: skip
