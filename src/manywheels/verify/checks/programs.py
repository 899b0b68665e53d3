"""Programs: what users start has an interpreter on their machines, and the permission to be started."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from typing import Final

from manywheels.data import table
from manywheels.verify.checks.libraries import is_started_by_users
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.verify.places import place_of
from manywheels.wheels.elf import Elf

_SCRIPT: Final = re.compile(r"[^/]+\.data/scripts/[^/]+")
_SYSTEM: Final = re.compile(r"/(usr/(local/)?)?s?bin/[^/]+")
_SYSTEMS_PYTHON: Final = re.compile(r"/(usr/(local/)?)?bin/(python|pypy)[\d.]*")


def programs_have_loaders(wheel: Wheel) -> Iterator[Problem]:
    """Every program names the loader of the tag's libc and architecture; a warning for those not on the users' PATH.

    Every script in *.data/scripts starts with `#!python`, which installers replace, or with a program of every system;
    it has the bit that lets it be executed, or there is a warning.
    """
    for file in wheel.elves:
        loaders = _loaders(wheel, file)
        if file.program and file.interpreter and loaders and _plain(file.interpreter) not in loaders.values():
            yield Problem(
                member=file.member,
                message=f"is started by `{file.interpreter}`, which is not where systems of the tag have their loader",
                remedy=f"Link it for the tag's libc with its own loader, {' or '.join(sorted(set(loaders.values())))}, "
                "or statically.",
                severity=None if is_started_by_users(file) else Severity.WARNING,
            )
    for name, member in wheel.members.items():
        if _SCRIPT.fullmatch(name) and member.head.startswith(b"#!"):
            yield from _wrong_with_first_line(name, member.head[2:])
    yield from _not_executable(wheel)


def _loaders(wheel: Wheel, file: Elf) -> Mapping[str, str]:
    """Return the loader of each libc that the tags allow, for a file of their architectures."""
    found: dict[str, str] = {}
    for place in filter(None, map(place_of, wheel.name.platforms)):
        machine = table("machines").get(place.arch)
        if machine and (file.machine, file.bits) == (machine["machine"], machine["bits"]):
            found |= {libc: machine[libc] for libc in ("glibc", "musl") if place.libc in {"", libc}}
    return found


def _plain(path: str) -> str:
    return re.sub(r"^/usr/", "/", path)


def _wrong_with_first_line(name: str, head: bytes) -> Iterator[Problem]:
    line = head.partition(b"\n")[0].decode("utf-8", "replace")
    words = line.split()
    if not words or line.startswith("python"):
        return
    use_python = "Start it with `#!python`, which installers replace, or make it an entry point."
    if line.endswith("\r"):
        yield Problem(
            member=name, message=f"asks for the program `{words[-1]}\\r`: its lines end with CR and LF",
            remedy="Write it with the line ends of Unix.",
        )  # fmt: skip
    elif _SYSTEMS_PYTHON.fullmatch(words[0]):
        yield Problem(
            member=name, message=f"is run by the system's `{words[0]}`, which does not see the environment's packages",
            remedy=use_python, severity=Severity.WARNING,
        )  # fmt: skip
    elif not _SYSTEM.fullmatch(words[0]):
        yield Problem(
            member=name, message=f"is run by `{words[0]}`, a program of the build machine",
            remedy=use_python,
        )  # fmt: skip


def _not_executable(wheel: Wheel) -> Iterator[Problem]:
    programs = {*(file.member for file in wheel.elves if file.program), *wheel.unlinked}
    programs |= {name for name, member in wheel.members.items() if member.head.startswith(b"#!")}
    for entry in wheel.entries:
        if entry.name not in programs or not _SCRIPT.fullmatch(entry.name):
            continue
        if not (stat.S_ISREG(entry.mode) and entry.mode & 0o111):  # what pip asks for
            yield Problem(
                member=entry.name,
                message="may not be executed: pip keeps the permissions that the archive has",
                remedy="Set them when the wheel is packed (mode 0755, regular file), as `wheel pack` does.",
                severity=Severity.WARNING,
            )


CHECKS: Final = (
    Check(code="MW236", title="programs start", run=programs_have_loaders, of_linux=True,
          reason="The kernel says `No such file or directory` of a program whose interpreter is missing."),
)  # fmt: skip
