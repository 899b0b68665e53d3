"""Inputs as CI systems hand them in: one variable for each, all of them set, most to their defaults."""

from __future__ import annotations

from collections.abc import Mapping

from manywheels.errors import InputError
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value


def read_inputs(
    environment: Mapping[str, str], prefix: str, place: str, *, foreign: frozenset[str] = frozenset()
) -> dict[str, Value]:
    """Return the inputs that variables with this prefix give; `foreign` are names that mean something else there.

    What is empty or only the default is left out, so that `[tool.manywheels]` is heard. An input may come under two
    spellings: `repository_url` from a workflow, and `repository-url` with its default from action.yml. Raises
    InputError for names that are no inputs, and for two values of one; `place` says where they were given.
    """
    named = [
        (variable.removeprefix(prefix).lower().replace("_", "-"), value)
        for variable, value in environment.items()
        if variable.startswith(prefix)
    ]
    named = [(name, value) for name, value in named if name not in foreign]
    inputs.require_known(dict(named), place)
    declared, given = inputs.declared_inputs(), dict[str, Value]()
    for name, value in named:
        if value.strip() in {"", declared[name].default}:
            continue
        if name in given and given[name].value != value:
            raise InputError(
                f"{place}: `{name}` is given twice, with different values.",
                remedy=f"Give it once, as `{name}`; `{name.replace('-', '_')}` is an old spelling of the same.",
            )
        given[name] = Value(value=value, origin=Origin(OriginKind.WORKFLOW, f"input `{name}`"))
    return given
