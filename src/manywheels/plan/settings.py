"""The settings: every value that somebody gave for an option, in order of precedence, and how they become one.

From the lowest to the highest: action.yml's default, variables `MANYWHEELS_<OPTION>`, `[tool.manywheels]`, its
overrides in their order, and what was given as a workflow's input or on the command line. Where there is no
`[tool.manywheels]`, cibuildwheel's configuration stands between the defaults and the variables.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import inputs, option_types
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.option_types import Inherit
from manywheels.plan.project import Project
from manywheels.plan.setting import Setting, read_inherit, read_overrides, read_select
from manywheels.plan.targets import Target, known_targets, matches


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All values that were given, those that come before others last; `notes` tell what was read and cannot be used."""

    rows: tuple[Setting, ...]
    notes: tuple[str, ...] = ()

    def value(self, name: str, target: Target | None = None) -> Value:
        """Return an option's value for a target (None: for all), with its origin."""
        result = inputs.default()
        for row in self.rows:
            if row.name == name and row.applies_to(target):
                result = _next(name, result, row)
        return result

    def without_projects(self) -> Settings:
        """Return the settings as they would be if the project's own files gave none."""
        return replace(self, rows=tuple(row for row in self.rows if not row.given.is_projects))

    def is_foreign(self, name: str) -> bool:
        """Whether the value that counts is of cibuildwheel's configuration."""
        return [row.foreign for row in self.rows if row.name == name and not row.select][-1:] == [True]

    def overriding(self, target: Target) -> tuple[Setting, ...]:
        """Return the values that overrides give for this target."""
        return tuple(row for row in self.rows if row.select and row.applies_to(target))

    def names(self) -> tuple[str, ...]:
        """Return the options that have a value, in the order of action.yml."""
        return tuple(dict.fromkeys(row.name for row in self.rows))


def _next(name: str, before: Value, row: Setting) -> Value:
    if row.rule is Inherit.NONE or not before.value:
        return row.given
    value = option_types.join(name, before.value, row.given.value, row.rule, str(row.given.origin))
    place = row.given.origin.place if before.is_default else f"{before.origin} + {row.given.origin}"
    # What a pull request can change a part of, it can change.
    kind = OriginKind.PROJECT if before.is_projects else row.given.origin.kind
    return Value(value=value, origin=Origin(kind, place))


def read_settings(
    given: Mapping[str, Value], project: Project, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Return all settings for a project.

    Raises InputError for names that are no options, with the nearest one that is, and for values of other kinds.
    """
    from manywheels.plan import cibuildwheel

    defaults = (
        Setting(name=name, given=inputs.default(entry.default))
        for name, entry in inputs.declared_inputs().items()
        if name not in inputs.hidden()
    )
    variables = _rows(inputs.from_environment(environment))
    notes = list(inputs.doubtful_variables(environment))
    if _has_own(project.settings):
        middle = [*variables, *_rows(inputs.from_settings(project.settings)), *_overrides(project.settings)]
        if project.cibuildwheel is not None:
            notes.append("[tool.cibuildwheel] and CIBW_ variables are not read, because there is [tool.manywheels].")
    else:
        foreign, told = cibuildwheel.read(project.cibuildwheel, environment)
        middle = [*foreign, *variables]
        notes += told
    return Settings(rows=(*defaults, *middle, *_rows(given)), notes=tuple(notes))


def _rows(values: Mapping[str, Value]) -> Iterator[Setting]:
    return (Setting(name=name, given=entry) for name, entry in values.items())


def _has_own(settings: Mapping[str, Any]) -> bool:
    """Whether `[tool.manywheels]` gives options; a table that is not about building leaves the other tool's alone."""
    return any(name not in inputs.TABLES for name in settings) or "overrides" in settings


def _overrides(settings: Mapping[str, Any]) -> Iterator[Setting]:
    for number, override in enumerate(read_overrides(settings, "tool.manywheels"), 1):
        origin = f"[[tool.manywheels.overrides]] {number}"
        own = {name: value for name, value in override.items() if name not in {"select", "inherit"}}
        inputs.require_one_of(own, overridable(), origin, "option that an override can have")
        select = read_select(override.get("select"), origin)
        _require_meaning(select, origin)
        yield from rows_of(own, read_inherit(override.get("inherit", {}), own, origin), origin, select)


def rows_of(
    values: Mapping[str, Any], inherit: Mapping[str, Inherit], origin: str, select: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """Return the values of a table of the project's own as settings; `origin` names the table."""
    for name, value in values.items():
        place = f"{origin} {name}"
        text = option_types.write(name, value, place)
        given = Value(value=text, origin=Origin(OriginKind.PROJECT, place))
        yield Setting(name=name, given=given, select=select, rule=inherit.get(name, Inherit.NONE))


def _require_meaning(select: Iterable[str], origin: str) -> None:
    for pattern in select:
        if not any(matches(target, pattern) for target in _all_targets()):
            names = dict.fromkeys(name for target in _all_targets() for name in (f"{target.tag}-*", target.tag))
            near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.5)
            raise InputError(
                f"{origin}: `select`: the pattern `{pattern}` matches no target.",
                remedy=f"Did you mean `{near[0]}`?" if near else "Patterns are as in `cp313-*` or `*-musllinux_*`.",
            )


@cache
def _all_targets() -> tuple[Target, ...]:
    families, machines = ("manylinux", "musllinux"), table("machines")
    return tuple(target for family in families for arch in machines for target in known_targets(family, arch))


def overridable() -> tuple[str, ...]:
    """Return the options that an override can give for some targets."""
    return tuple(name for name, facts in table("options").items() if facts.get("target"))


def setting_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the caller's variables that settings are read from; the one with the password is for publishing only."""
    own = {inputs.variable(name) for name in inputs.declared_inputs() if name not in inputs.hidden()}
    return tuple(name for name in environment if name in own or name.startswith("CIBW_"))
