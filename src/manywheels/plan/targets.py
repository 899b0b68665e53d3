"""Targets, their selection, and the plan.

A target is one interpreter on one platform. Patterns are cibuildwheel's (`fnmatch` globs, braces, separated by blanks),
or `cp312`, `3.12`.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from manywheels.data import table
from manywheels.errors import SelectionError
from manywheels.wheels.manifest import Shard

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.tags import Tag

    from manywheels.plan.interpreters import Interpreter

    Find = Callable[["Target"], Interpreter | None]


def image_folder(tag: str, abi: str) -> str:
    """Return an interpreter's folder below /opt/python in images, such as `cp313-cp313t`."""
    return f"{tag.removesuffix('t')}-{abi}"


@dataclass(frozen=True, kw_only=True)
class Target:
    """One interpreter on one platform: `python` is `3.12`, `abi` is `cp312` or `cp314t`, `family` is `manylinux`.

    `abi` is its interpreter's in a plan, else the newest that is known: PyPy 3.11 has had `pypy311_pp73` and
    `pypy311_pp80`. `group` is its group in `enable`, mostly empty.
    """

    tag: str
    python: str
    abi: str = field(compare=False)
    family: str
    arch: str
    group: str = ""

    @property
    def identifier(self) -> str:
        """For example `cp312-manylinux_x86_64`."""
        return f"{self.tag}-{self.family}_{self.arch}"

    @property
    def version(self) -> tuple[int, int]:
        major, minor = self.python.split(".")
        return int(major), int(minor)

    @property
    def free_threaded(self) -> bool:
        """Whether it is a CPython without the GIL (PEP 703)."""
        return self.abi.endswith("t") and self.tag.startswith("cp")

    @property
    def folder(self) -> str:
        return image_folder(self.tag, self.abi)

    @property
    def spec(self) -> str:
        """uv's name for it: `3.12`, `3.14t`, `pypy3.11`."""
        if self.tag.startswith("pp"):
            return f"pypy{self.python}"
        return f"{self.python}t" if self.free_threaded else self.python

    def accepts(self, interpreter: str, abi: str) -> bool:
        """Whether it installs wheels with these tags (PEP 425), such as `cp39` and `abi3`."""
        return (interpreter, abi) in accepted_tags(self.tag, self.version, self.abi)

    def installs(self, tags: Iterable[Tag]) -> bool:
        """Whether it installs wheels with one of the tags, whatever their platform."""
        return any(self.accepts(tag.interpreter, tag.abi) for tag in tags)

    def is_on_the_platform_of(self, other: Target) -> bool:
        """Whether both have the same family and architecture."""
        return (self.family, self.arch) == (other.family, other.arch)


@cache
def accepted_tags(python: str, version: tuple[int, int], abi: str) -> frozenset[tuple[str, str]]:
    """Return the interpreter and ABI tags (PEP 425) of wheels that an interpreter installs, whatever their platform.

    `python` is `cp314t` or `pp311`. Another implementation than CPython and PyPy installs none.
    """
    if not python.startswith(("cp", "pp")):
        return frozenset()
    from packaging.tags import compatible_tags, cpython_tags, generic_tags

    # Platforms are not compared: a built wheel has linux_*, the repaired one manylinux_*.
    platforms = ["platform"]
    own = (
        cpython_tags(version, abis=[abi], platforms=platforms)
        if python.startswith("cp")
        else generic_tags(python, [abi], platforms)
    )
    generic = compatible_tags(version, interpreter=python, platforms=platforms)
    return frozenset((tag.interpreter, tag.abi) for tag in (*own, *generic) if tag.platform != "any")


class Refusal(StrEnum):
    """Why a known target is not in the plan."""

    NOT_DEFAULT = "not in the default `build`"
    SKIPPED = "left out by `skip`"
    NOT_ENABLED = "its group is not in `enable`"
    REQUIRES_PYTHON = "excluded by the project's requires-python"


@dataclass(frozen=True, kw_only=True)
class PlannedTarget:
    """A target with its interpreter, None if this machine does not have it."""

    target: Target
    interpreter: Interpreter | None
    asked_by_name: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Targets to build, in order, and selected targets that are excluded.

    For a part of a plan, `shard` is its number, `siblings` are the other parts' targets; one of the parts has the first
    target of all, and `leads`: it makes what there is once.
    """

    targets: tuple[PlannedTarget, ...]
    excluded: tuple[tuple[Target, Refusal], ...]
    shard: Shard | None = None
    siblings: tuple[Target, ...] = ()
    leads: bool = True

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The whole plan's targets, even if this is a part."""
        return tuple(target.identifier for target in (*(planned.target for planned in self.targets), *self.siblings))

    @property
    def missing(self) -> tuple[PlannedTarget, ...]:
        return tuple(planned for planned in self.targets if planned.interpreter is None)


def known_interpreters(family: str, arch: str) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of `data/interpreters.toml` for a platform, also those that are known, but not built."""
    for row in table("interpreters")["interpreter"]:
        if family in row.get("families", (family,)) and arch in row.get("archs", (arch,)):
            yield row


def known_targets(family: str, arch: str) -> tuple[Target, ...]:
    """In cibuildwheel's order: CPython before PyPy, the oldest first."""
    return tuple(
        Target(
            tag=row["id"], python=row["version"], abi=row["abis"][0], family=family, arch=arch,
            group=row.get("group", ""),
        )
        for row in known_interpreters(family, arch)
        if "abis" in row
    )  # fmt: skip


def image_folders() -> tuple[str, ...]:
    """Return the folders of all known interpreters below /opt/python in images."""
    rows = table("interpreters")["interpreter"]
    return tuple(image_folder(row["id"], abi) for row in rows for abi in row.get("abis", ()))


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Build and skip patterns, enabled groups. `by_name` is false for the default `build`, and for cibuildwheel's."""

    build: tuple[str, ...]
    skip: tuple[str, ...] = ()
    enable: frozenset[str] = frozenset()
    by_name: bool = True
    is_default: bool = False


def select(
    selection: Selection,
    targets: Sequence[Target],
    interpreters: Iterable[Interpreter],
    requires_python: SpecifierSet | None,
) -> Plan:
    """Raises SelectionError if a pattern matches no known target, or no target is left."""
    found = newest_of_each(interpreters)
    return select_where(selection, targets, lambda target: found.get(target.tag), requires_python)


def select_where(
    selection: Selection, targets: Sequence[Target], find: Find, requires_python: SpecifierSet | None
) -> Plan:
    """`find` returns a target's interpreter there where it is built. Raises as `select`."""
    for pattern in selection.build:
        if pattern != "all":
            require_match(pattern, targets, "build")
    for pattern in selection.skip:
        require_match(pattern, targets, "skip")
    chosen = [target for target in targets if _is_selected(target, selection.build, find)]
    skipped = {target for target in targets if any(matches(target, pattern) for pattern in selection.skip)}
    enabled = {target for target in chosen if _is_enabled(target, selection, targets)}
    planned: list[PlannedTarget] = []
    excluded: list[tuple[Target, Refusal]] = []
    for target in (*chosen, *(_not_by_default(chosen, targets, find) if selection.is_default else ())):
        if target in skipped:
            excluded.append((target, Refusal.SKIPPED))
        elif target in chosen and target not in enabled:
            excluded.append((target, Refusal.NOT_ENABLED))
        elif requires_python is not None and not requires_python.contains(f"{target.python}.99"):
            excluded.append((target, Refusal.REQUIRES_PYTHON))
        elif target not in chosen:
            excluded.append((target, Refusal.NOT_DEFAULT))
        else:
            planned.append(_planned(target, find(target), by_name=selection.by_name))
    plan = Plan(targets=tuple(planned), excluded=tuple(excluded))
    if not planned:
        _refuse_empty(selection, plan, requires_python)
    return plan


def newest_of_each(interpreters: Iterable[Interpreter]) -> dict[str, Interpreter]:
    """Return one interpreter for each tag: of PyPys of one version, the one with the newest ABI."""
    by_age = sorted(interpreters, key=lambda interpreter: (len(interpreter.abi), interpreter.abi))
    return {interpreter.tag: interpreter for interpreter in by_age}


def _planned(target: Target, interpreter: Interpreter | None, *, by_name: bool) -> PlannedTarget:
    target = replace(target, abi=interpreter.abi) if interpreter else target
    return PlannedTarget(target=target, interpreter=interpreter, asked_by_name=by_name)


def _not_by_default(chosen: Sequence[Target], targets: Sequence[Target], find: Find) -> list[Target]:
    """Return released Pythons that are here, and that the default leaves out; cibuildwheel builds for them."""
    return [target for target in targets if target not in chosen and not target.group and find(target)]


def expand_patterns(text: str) -> tuple[str, ...]:
    """Split patterns at blanks and at commas outside braces; expand the braces."""
    words = [word for part in text.split() for word in _split_at_commas(part) if word]
    return tuple(pattern for word in words for pattern in expand_braces(word))


def _split_at_commas(text: str) -> list[str]:
    depth, words = 0, [""]
    for letter in text:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth <= 0:
            words.append("")
        else:
            words[-1] += letter
    return words


def expand_braces(word: str) -> Iterator[str]:
    """Yield a pattern with its braces expanded: `cp3{9,10}-*`, `cp3{9..11}-*`."""
    match = re.search(r"\{([^{}]*)\}", word)  # an innermost pair; recursion handles the outer ones
    if match is None:
        yield word
        return
    for choice in _choices(match.group(1)):
        yield from expand_braces(word[: match.start()] + choice + word[match.end() :])


def _choices(inside: str) -> Iterable[str]:
    """Return alternatives: `a,b`, or whole numbers as in `9..12`."""
    if span := re.fullmatch(r"(\d{1,4})\.\.(\d{1,4})", inside):
        first, last = int(span[1]), int(span[2])
        return map(str, range(first, last + 1) if first <= last else range(first, last - 1, -1))
    return inside.split(",")


def candidates(
    selection: Selection, targets: Sequence[Target], requires_python: SpecifierSet | None
) -> tuple[Target, ...]:
    """Return the targets that are in the plan if this machine has their interpreters."""
    return tuple(
        target
        for target in targets
        if any(pattern == "all" or matches(target, pattern) for pattern in selection.build)
        and not any(matches(target, pattern) for pattern in selection.skip)
        and _is_enabled(target, selection, targets)
        and (requires_python is None or requires_python.contains(f"{target.python}.99"))
    )


def _is_selected(target: Target, patterns: Sequence[str], find: Find) -> bool:
    return any(find(target) is not None if pattern == "all" else matches(target, pattern) for pattern in patterns)


def _is_enabled(target: Target, selection: Selection, targets: Sequence[Target]) -> bool:
    """Whether the target's group is enabled, or a pattern (`pp311-*`, `3.13t`) asks for it."""
    if not target.group or target.group in selection.enable or "all" in selection.build:
        return True
    return any(target.group in _groups_asked_for(pattern, targets) for pattern in selection.build)


def _groups_asked_for(pattern: str, targets: Sequence[Target]) -> set[str]:
    """Return a pattern's groups if it matches nothing else: those in use if there are any, else those at their end."""
    groups = {target.group for target in targets if matches(target, pattern)}
    if "" in groups:
        return set()
    return groups - set(table("interpreters")["end_of_life"]) or groups


def matches(target: Target, pattern: str) -> bool:
    """A pattern may be a short form (`cp312`, `3.12`)."""
    if pattern in {target.tag, target.spec}:
        return True
    return fnmatch.fnmatchcase(target.identifier, pattern)


def require_match(pattern: str, targets: Sequence[Target], option: str) -> None:
    """Raises SelectionError if a pattern matches no target."""
    if any(matches(target, pattern) for target in targets):
        return
    identifiers = [target.identifier for target in targets]
    names = [target.tag for target in targets] + [target.spec for target in targets] + identifiers
    near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.5)
    hint = f"Did you mean `{near[0]}`? " if near else ""
    raise SelectionError(
        f"`{option}`: the pattern `{pattern}` matches no target.",
        remedy=f"{hint}Targets here are {', '.join(identifiers)}.",
    )


def _refuse_empty(selection: Selection, plan: Plan, requires_python: SpecifierSet | None) -> None:
    by_project = [target.tag for target, refusal in plan.excluded if refusal is Refusal.REQUIRES_PYTHON]
    if by_project:
        raise SelectionError(
            f"Nothing is left to build: the project's requires-python (`{requires_python}`) excludes "
            f"{', '.join(by_project)}.",
            remedy="Select a newer Python with `build`, or widen requires-python.",
        )
    raise SelectionError(
        f"Nothing is left to build: `build` is `{' '.join(selection.build)}`, `skip` is `{' '.join(selection.skip)}`.",
        remedy="Make `build` wider or `skip` narrower; `manywheels plan` shows what is selected.",
    )
