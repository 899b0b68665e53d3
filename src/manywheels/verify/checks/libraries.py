"""Libraries: what an ELF file needs is promised, or in the wheel where its loader looks (glibc's elf/dl-load.c)."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final

from manywheels.core.text import some
from manywheels.verify.checks import loading, metadata
from manywheels.verify.checks.files import is_pointer
from manywheels.verify.checks.platform import SITE, folder_of, installed_path, is_inside
from manywheels.verify.checks.symbols import OWN_PARTS, Claim, claimed, libraries_in, listed
from manywheels.verify.model import Check, Problem, Severity, Wheel
from manywheels.wheels.elf import Elf

_MOST_LOOKS: Final = 200_000  # at folders of run paths, for one wheel; real ones need a few thousand
_GRAFTED: Final = re.compile(r"[^/]+\.libs/[^/]+$")
_HASHED: Final = re.compile(r"-[0-9a-f]{8}\.so[^/]*$|-[0-9a-f]{8}\.[^/]*\.so[^/]*$")
# In an environment; auditwheel moves programs to *.scripts, and a script in `bin` starts them.
_MOVED: Final = re.compile(rf"{SITE}/[^/]+\.scripts/[^/]+")
_STARTED_BY_USERS: Final = re.compile(rf"bin/[^/]+|{_MOVED.pattern}")


def libraries_are_there(wheel: Wheel) -> Iterator[Problem]:
    """Every library that an ELF file needs is promised by the policy, in the wheel, or in `libraries`.

    It is a warning if a dependency of the wheel may provide the library, because a run path leads out of the wheel, and
    if the library is in the wheel but no run path leads to it: the package may load it first. Nothing does that for a
    program that users start.
    """
    inside = {*libraries_in(wheel), *(posixpath.basename(name) for name in wheel.members if is_pointer(wheel, name))}
    for claim in claimed(wheel):
        for file in wheel.elves:
            missing = tuple(
                name for name in file.needed if name not in inside and not _is_promised(wheel, claim, file, name)
            )
            if missing:
                dependency = _looks_beyond(wheel, file)
                yield Problem(
                    member=file.member,
                    message=f"needs {listed(missing)}, neither promised by `{claim.policy.name}` nor in the wheel",
                    remedy="Check that a dependency has it, and name it in `libraries` of [tool.manywheels.verify]."
                    if dependency
                    else "Let auditwheel graft it: the library must be found when the wheel is repaired. If another "
                    "package provides it, name it in `libraries` of [tool.manywheels.verify].",
                    severity=Severity.WARNING if dependency else None,
                )
    with suppress(TooTangled):
        yield from _programs_without_libraries(wheel)
        yield from _libraries_out_of_reach(wheel)


def _is_promised(wheel: Wheel, claim: Claim, file: Elf, name: str) -> bool:
    return (
        name in claim.policy.whitelist
        or OWN_PARTS[claim.libc].fullmatch(name) is not None
        or any(fnmatch.fnmatchcase(name, pattern) for pattern in wheel.external)
        or "/" in name  # MW219
        or loading.is_libpython_of_extension(file, name)  # MW217
    )


def _looks_beyond(wheel: Wheel, file: Elf) -> bool:
    """Whether a file's run paths lead out of the wheel, and the wheel has dependencies."""
    if not metadata.depends_on_others(wheel):
        return False
    brought = {str(folder) for member in wheel.members for folder in PurePosixPath(installed_path(member)).parents}
    wanted = {folder_of(file.member, path) for path in file.run_paths if is_inside(path)} - brought
    in_data = re.match(r"[^/]+\.data/data/", file.member)  # beside the interpreter, with other packages' libraries
    return bool(in_data or any(not folder.endswith(".libs") for folder in wanted))


# --- the way of a loader ---------------------------------------------------------------------------------------------


class TooTangled(Exception):
    """The wheel has more run paths and users of libraries than are followed."""


class Reach:
    """Which libraries of the wheel a loader finds, by their file names in the folders of run paths.

    All that searches raises TooTangled.
    """

    def __init__(self, wheel: Wheel) -> None:
        self.wheel, self._left = wheel, _MOST_LOOKS

    @cached_property
    def folders(self) -> Mapping[str, Mapping[str, Elf]]:
        """The ELF files by name, by folder in an environment."""
        found: dict[str, dict[str, Elf]] = {}
        for file in self.wheel.elves:
            folder, name = posixpath.split(installed_path(file.member))
            found.setdefault(folder, {})[name] = file
        return found

    @cached_property
    def inside(self) -> Mapping[str, Elf]:
        """The libraries that are in the wheel and no system has, by name and SONAME; a file's own name counts more."""
        promised = frozenset().union(*(claim.policy.whitelist for claim in claimed(self.wheel)))
        found = {file.soname: file for file in self.wheel.elves if file.soname}
        found |= {posixpath.basename(file.member): file for file in self.wheel.elves}
        return {name: file for name, file in found.items() if name not in promised}

    @cached_property
    def is_musl(self) -> bool:
        return all(platform.startswith("musllinux") for platform in self.wheel.name.platforms)

    def find(self, name: str, chain: tuple[Elf, ...]) -> Elf | None:
        """Return what the first of a chain gets as `name`; the others are who loaded it, the last first."""
        for file in self._searched(chain):
            for path in filter(is_inside, file.run_paths):
                self._look()
                if found := self.folders.get(folder_of(file.member, path), {}).get(name):
                    return found
        return None

    def _look(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooTangled
        self.wheel.stop()

    def _searched(self, chain: tuple[Elf, ...]) -> Iterator[Elf]:
        """Yield the files whose run paths count: musl's loader takes all."""
        first, *loaders = chain
        yield first
        if self.is_musl or not first.run_paths or first.inherits:
            yield from (file for file in loaders if self.is_musl or file.inherits)

    def missing(self, program: Elf) -> Iterator[tuple[Elf, str]]:
        """Yield who needs what, of the libraries in the wheel that a program does not find when it is started."""
        waiting: list[tuple[Elf, ...]] = [(program,)]
        seen = set[str]()
        while waiting:
            chain = waiting.pop(0)
            for name in chain[0].needed:
                if name in seen or name not in self.inside:
                    continue
                seen.add(name)
                if found := self.find(name, chain):
                    waiting.append((found, *chain))
                else:
                    yield chain[0], name

    def is_found_by_a_user(self, name: str, users: list[Elf]) -> bool:
        """Whether a file that needs the library finds it by its own run paths, or by those of who loads the file."""
        waiting: list[tuple[Elf, ...]] = [(user,) for user in users]
        seen = set[tuple[str, str]]()
        while waiting:
            chain = waiting.pop()
            if self.find(name, chain):
                return True
            key = (chain[0].member, chain[-1].member)
            self._look()
            if key not in seen:
                seen.add(key)
                waiting += [(*chain, loader) for loader in self.users_of(chain[-1]) if loader not in chain]
        return False

    def users_of(self, library: Elf) -> list[Elf]:
        names = {library.soname, posixpath.basename(library.member)}
        return [user for name in names for user in self.users.get(name or "", ())]

    @cached_property
    def users(self) -> Mapping[str, list[Elf]]:
        """Who needs a library of the wheel, by its name."""
        found: dict[str, list[Elf]] = {}
        for file in self.wheel.elves:
            for name in self.inside.keys() & set(file.needed):
                found.setdefault(name, []).append(file)
        return found


def is_started_by_users(file: Elf) -> bool:
    """Whether the file is a program that is in an environment's `bin`, or that auditwheel moved from there."""
    return file.program and _STARTED_BY_USERS.fullmatch(installed_path(file.member)) is not None


def ways_to_libraries(wheel: Wheel) -> Mapping[str, tuple[str, ...]]:
    """Return the run paths that programs in *.scripts lack to find libraries in site-packages, by member."""
    reach, lacking = Reach(wheel), {}
    with suppress(TooTangled):
        for program in (file for file in wheel.elves if file.program and _MOVED.fullmatch(installed_path(file.member))):
            here = posixpath.dirname(installed_path(program.member))
            places = [posixpath.dirname(installed_path(reach.inside[name].member))
                      for user, name in reach.missing(program) if user is program]  # fmt: skip
            ways = [f"$ORIGIN/{posixpath.relpath(place, here)}" for place in places if place.startswith(SITE)]
            if ways:
                lacking[program.member] = tuple(dict.fromkeys(ways))
    return lacking


def _programs_without_libraries(wheel: Wheel) -> Iterator[Problem]:
    reach = Reach(wheel)
    for program in filter(is_started_by_users, wheel.elves):
        for user, name in reach.missing(program):
            whose = "" if user is program else f"`{user.member}`, which it loads, "
            yield Problem(
                member=program.member,
                message=f"can never start: {whose}needs `{name}`, which is `{reach.inside[name].member}`, and none of "
                f"its run paths leads there from `{posixpath.dirname(installed_path(user.member))}` of an environment",
                remedy="Keep the program in the package, beside its libraries, and start it by an entry point; or "
                "link the library statically into it.",
            )


def _libraries_out_of_reach(wheel: Wheel) -> Iterator[Problem]:
    """Yield libraries in the wheel that none of their users finds: once loaded, a library serves all."""
    reach = Reach(wheel)
    for name, everyone in sorted(reach.users.items()):
        users = [user for user in everyone if not is_started_by_users(user)]
        if users and not reach.is_found_by_a_user(name, users):
            yield Problem(
                member=users[0].member,
                message=f"needs `{name}`, which is `{reach.inside[name].member}`, and none of its run paths leads there"
                if posixpath.basename(reach.inside[name].member) == name
                else f"needs `{name}`, which is the SONAME of `{reach.inside[name].member}`; no file of this name is "
                "where its run paths lead",
                remedy="Link with `-Wl,-rpath,$ORIGIN/…`, unless the package loads the library by other means first.",
                severity=Severity.WARNING,
            )


def grafted_libraries_are_used(wheel: Wheel) -> Iterator[Problem]:
    """Every library in a folder *.libs is needed by a file of the wheel, or can be opened by name.

    That is: a Python file names such a folder, or a run path leads there and the library's name has no hash.
    """
    reach = Reach(wheel)
    folders = {folder_of(file.member, path) for file in wheel.elves for path in file.run_paths if is_inside(path)}
    unused = [
        file.member
        for file in wheel.elves
        if _GRAFTED.match(file.member)
        and not reach.users_of(file)
        and (_HASHED.search(file.member) or posixpath.dirname(installed_path(file.member)) not in folders)
    ]
    if unused and not wheel.names_libs:
        yield Problem(
            member=unused[0] if len(unused) == 1 else None,
            message="is needed by no file of the wheel" if len(unused) == 1
            else f"has {len(unused)} libraries that none of its files needs: {some(unused)}",
            remedy="Look for a leftover of an earlier build, or for a file that was left out and needs it.",
        )  # fmt: skip


CHECKS: Final = (
    Check(code="MW239", title="grafted libraries are used", run=grafted_libraries_are_used, of_linux=True,
          severity=Severity.WARNING,
          reason="Nothing loads such a library: it makes every installation larger, or what needs it is missing."),
    Check(code="MW209", title="libraries", run=libraries_are_there, of_linux=True,
          reason="A library that is neither promised nor in the wheel is missing on some machines."),
)  # fmt: skip
