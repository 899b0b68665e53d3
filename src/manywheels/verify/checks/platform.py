"""Platform: the ELF files are for the machine that the tag names, and carry no path of the one that built them."""

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
                    message=f"is for {header[0]} ({header[1]} bit), but the tag says `{platform}`",
                    remedy="Look for a prebuilt library in the source tree, or a wrong cross-compiler.",
                )


def run_paths_stay_inside(wheel: Wheel) -> Iterator[Problem]:
    """Every RPATH and RUNPATH begins with $ORIGIN; one that climbs out of site-packages is a warning."""
    for file in wheel.elves:
        for path in file.run_paths:
            if not is_inside(path):
                yield Problem(
                    member=file.member,
                    message=f"has the run path `{path}`, a folder of the machine that built it"
                    if path
                    else "has an empty run path, which is whatever folder the user's program runs in",
                    remedy="Link without -rpath, or with one that begins with $ORIGIN.",
                )
            elif folder_of(file.member, path).startswith(".."):
                yield Problem(
                    member=file.member,
                    message=f"has the run path `{path}`, which leads out of the folder that wheels are installed into",
                    remedy="Keep libraries beside the package, in a folder that the wheel brings.",
                    severity=Severity.WARNING,
                )


def folder_of(member: str, run_path: str) -> str:
    """Return the folder that a run path with $ORIGIN means, relative to where the member's scheme is installed."""
    origin = posixpath.dirname(installed_path(member))
    return posixpath.normpath(posixpath.join(origin, run_path.partition("/")[2]))


def installed_path(member: str) -> str:
    """Return where a member is installed: below site-packages, or below the folder of its scheme in *.data."""
    return re.sub(r"^[^/]+\.data/\w+/", "", member)


def is_inside(run_path: str) -> bool:
    """Whether a run path begins at the file that carries it ($ORIGIN), and so names no folder of any one machine."""
    return re.match(r"\$(ORIGIN|\{ORIGIN\})(/|$)", run_path) is not None


def elves_are_readable(wheel: Wheel) -> Iterator[Problem]:
    """Every file that begins like an ELF file, and every extension module, can be read as one."""
    for member, reason in wheel.broken_elves.items():
        yield Problem(member=member, message=f"is no readable ELF file ({reason})", remedy="Build the wheel again.")


CHECKS: Final = (
    Check(code="MW210", title="readable ELF files", run=elves_are_readable,
          reason="What cannot be read cannot be proved, nor loaded."),
    Check(code="MW206", title="machine", run=machine_matches,
          reason="A file for another machine cannot be loaded."),
    Check(code="MW207", title="run paths", run=run_paths_stay_inside,
          reason="Where such a folder exists on a user's machine, whatever lies in it is loaded into their Python."),
)  # fmt: skip
