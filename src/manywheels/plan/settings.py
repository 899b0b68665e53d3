"""Settings: every value given for an option, by precedence, and how they combine.

From lowest to highest: action.yml's defaults, cibuildwheel's configuration (unless `[tool.manywheels]` has options),
`MANYWHEELS_<OPTION>` variables, `[tool.manywheels]`, its overrides in order, workflow inputs or command-line options.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, TypeVar

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import cibuildwheel, inputs, option_types
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.option_types import Inherit
from manywheels.plan.project import Project
from manywheels.plan.setting import Setting, read_inherit, read_overrides, read_select
from manywheels.plan.targets import Target, known_targets, matches

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All given values, highest precedence last; `notes` warn of configuration without effect.

    `project_table` is `[tool.manywheels]`, for its tables that are not options (`verify`).
    """

    rows: tuple[Setting, ...] = field(repr=False)  # the password is among them
    project_table: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def value(self, name: str, target: Target | None = None) -> Value:
        """Return an option's value for a target; None stands for all targets."""
        result = inputs.default()
        for row in self.rows:
            if row.name == name and row.applies_to(target):
                result = _next(name, result, row)
        return result

    def parsed(self, name: str, parser: Callable[[Value, str], T]) -> T:
        """Parse an option's value for all targets. Raises InputError."""
        return parser(self.value(name), name)

    def counting_for(self, targets: Iterable[Target]) -> Settings:
        """Leave out cibuildwheel's overrides that none of the targets matches: it does not judge them either."""
        targets = tuple(targets)
        counting = (
            row for row in self.rows if not row.from_cibuildwheel or not row.select or any(map(row.applies_to, targets))
        )
        return replace(self, rows=tuple(counting))

    def with_values(self, values: Mapping[str, Value]) -> Settings:
        """Add values that replace all others."""
        return replace(self, rows=(*self.rows, *_rows(values)))

    def without_projects(self) -> Settings:
        return replace(self, rows=tuple(row for row in self.rows if not row.value.is_projects))

    def is_from_cibuildwheel(self, name: str) -> bool:
        """Whether the value for all targets is cibuildwheel's."""
        return [row.from_cibuildwheel for row in self.rows if row.name == name and not row.select][-1:] == [True]

    @property
    def follows_cibuildwheel(self) -> bool:
        """Whether cibuildwheel's configuration is in force, though other values may come before it."""
        return any(row.from_cibuildwheel and row.name == "build" for row in self.rows)

    def overriding(self, target: Target) -> tuple[Setting, ...]:
        return tuple(row for row in self.rows if row.select and row.applies_to(target))

    def names(self) -> tuple[str, ...]:
        """Return the options that have a value, in action.yml's order."""
        return tuple(dict.fromkeys(row.name for row in self.rows))


def _next(name: str, before: Value, row: Setting) -> Value:
    if row.problem:
        raise row.problem
    if row.rule is Inherit.NONE:
        return row.value
    value = option_types.join(name, before.value, row.value.value, row.rule, str(row.value.origin))
    place = row.value.origin.place if before.is_default else f"{before.origin} + {row.value.origin}"
    # If a pull request can change a part of a value, it can change the value.
    kind = OriginKind.PROJECT if before.is_projects else row.value.origin.kind
    return Value(value=value, origin=Origin(kind, place))


def read_settings(
    given: Mapping[str, Value],
    project_table: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings of a command on finished wheels; `project_table` is `[tool.manywheels]`.

    Overrides and cibuildwheel's configuration are for builds only. Raises InputError for unknown or misplaced options
    and wrong types.
    """
    project_table = project_table or {}
    own = (*_rows(inputs.from_environment(environment)), *_rows(inputs.from_settings(project_table)))
    return Settings(rows=(*_defaults(), *own, *_rows(given)), project_table=project_table)


def read_build_settings(
    given: Mapping[str, Value], project: Project, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Overrides and cibuildwheel's configuration are read, too. Raises InputError."""
    notes = list(inputs.misspelt_variables(environment))
    variables = _rows(inputs.from_environment(environment))
    if has_options(project.settings):
        rows = [*variables, *_rows(inputs.from_settings(project.settings)), *_overrides(project.settings)]
        if project.cibuildwheel is not None:
            notes.append("[tool.cibuildwheel] and CIBW_ variables are not read, because there is [tool.manywheels].")
    else:
        from_cibuildwheel, unsupported = cibuildwheel.read(project.cibuildwheel, environment)
        rows = [*from_cibuildwheel, *variables]
        notes += unsupported
    # `plan --explain` shows inputs that pyproject.toml cannot set only if they are given.
    rows = [
        *_defaults(without=inputs.hidden()),
        *rows,
        *_given_rows(given, theirs=any(row.from_cibuildwheel and row.name == "build" for row in rows)),
    ]
    return Settings(rows=tuple(rows), project_table=project.settings, notes=tuple(notes))


def _given_rows(given: Mapping[str, Value], *, theirs: bool) -> Iterator[Setting]:
    """Return rows of what is given; in cibuildwheel, `--enable` adds to its configuration."""
    for row in _rows(given):
        adds = theirs and row.name == "enable"
        yield replace(row, rule=Inherit.APPEND, from_cibuildwheel=True) if adds else row


def _defaults(*, without: frozenset[str] = frozenset()) -> Iterator[Setting]:
    declared = inputs.declared_inputs().items()
    return _rows({name: inputs.default(entry.default) for name, entry in declared if name not in without})


def _rows(values: Mapping[str, Value]) -> Iterator[Setting]:
    return (Setting(name=name, value=value) for name, value in values.items())


def has_options(table: Mapping[str, Any]) -> bool:
    """A table that only configures `verify` leaves cibuildwheel's options in force."""
    return any(name not in inputs.TABLES for name in table) or "overrides" in table


def _overrides(table: Mapping[str, Any]) -> Iterator[Setting]:
    for number, override in enumerate(read_overrides(table, "tool.manywheels"), 1):
        origin = f"[[tool.manywheels.overrides]] {number}"
        own = {name: value for name, value in override.items() if name not in {"select", "inherit"}}
        inputs.require_one_of(own, overridable(), origin, "option that an override can have")
        select = read_select(override.get("select"), origin)
        _require_targets(select, origin)
        yield from _table_rows(own, read_inherit(override.get("inherit", {}), own, origin), origin, select)


def _table_rows(
    values: Mapping[str, Any], inherit: Mapping[str, Inherit], origin: str, select: tuple[str, ...] = ()
) -> Iterator[Setting]:
    for name, value in values.items():
        place = f"{origin} {name}"
        text = option_types.write(name, value, place)
        own = Value(value=text, origin=Origin(OriginKind.PROJECT, place))
        yield Setting(name=name, value=own, select=select, rule=inherit.get(name, Inherit.NONE))


def _require_targets(select: Iterable[str], origin: str) -> None:
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
    return tuple(name for name, facts in table("options").items() if facts.get("target"))


def setting_variables(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Return the caller's variables that settings are read from, without the password's."""
    own = {inputs.variable(name) for name in inputs.declared_inputs() if name not in inputs.hidden()}
    return tuple(name for name in environment if name in own or name.startswith("CIBW_"))
