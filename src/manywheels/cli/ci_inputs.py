"""Inputs from CI systems: one variable each, most with its default."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from manywheels.errors import InputError
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value


def read_inputs(
    environment: Mapping[str, str],
    prefix: str,
    place: str,
    *,
    defaults: Mapping[str, str] = MappingProxyType({}),
    ignored: frozenset[str] = frozenset(),
) -> dict[str, Value]:
    """Return the inputs in variables with this prefix, except those in `ignored`.

    Empty values and defaults are skipped, so that `[tool.manywheels]` takes effect: those in `defaults`, else
    action.yml's. An input may have two spellings: `repository_url` from a workflow, `repository-url` with action.yml's
    default. Raises InputError for unknown names and conflicting values; `place` is their origin.
    """
    named = [
        (variable.removeprefix(prefix).lower().replace("_", "-"), value)
        for variable, value in environment.items()
        if variable.startswith(prefix)
    ]
    named = [(name, value) for name, value in named if name not in ignored]
    inputs.require_known(dict(named), place)
    declared, given = inputs.declared_inputs(), dict[str, Value]()
    for name, value in named:
        if value.strip() in {"", defaults.get(name, declared[name].default)}:
            continue
        if name in given and given[name].value != value:
            raise InputError(
                f"{place}: `{name}` is given twice, with different values.",
                remedy=f"Give it once, as `{name}`; `{name.replace('-', '_')}` is an old spelling of the same.",
            )
        given[name] = Value(value=value, origin=Origin(OriginKind.WORKFLOW, f"input `{name}`"))
    return given
