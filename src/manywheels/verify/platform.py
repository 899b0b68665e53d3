"""Platform: the ELF files are for the machine that the tag names, and carry no path of the one that built them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from manywheels.data import table
from manywheels.verify.model import Check, Problem, Wheel


def machine_matches(wheel: Wheel) -> Iterator[Problem]:
    """Every ELF file has the machine, word size and byte order of the platform tag's architecture."""
    machines = table("machines")
    for platform in wheel.name.platforms:
        arch = next((name for name in machines if platform.endswith(f"_{name}")), None)
        if arch is None:
            continue
        wanted = machines[arch]
        for file in wheel.elves:
            header = {"machine": file.machine, "bits": file.bits, "little_endian": file.little_endian}
            if header != wanted:
                yield Problem(
                    member=file.member,
                    message=f"is for {file.machine} ({file.bits} bit), but the tag says `{platform}`",
                    remedy="Look for a prebuilt library in the source tree, or a wrong cross-compiler.",
                )


def run_paths_stay_inside(wheel: Wheel) -> Iterator[Problem]:
    """Every RPATH and RUNPATH begins with $ORIGIN."""
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
