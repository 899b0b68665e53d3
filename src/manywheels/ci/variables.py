"""Inputs as CI systems hand them in: one variable for each, all of them set, most to their defaults."""

from __future__ import annotations

from collections.abc import Mapping

from manywheels import inputs
from manywheels.inputs import Given


def read_inputs(
    environment: Mapping[str, str], prefix: str, place: str, *, foreign: frozenset[str] = frozenset()
) -> dict[str, Given]:
    """Return the inputs that variables with this prefix give; `foreign` are names that mean something else there.

    What is empty or only the default is left out, so that `[tool.manywheels]` is heard. Raises InputError for names
    that are no inputs; `place` says where they were given.
    """
    given = {}
    for variable, value in environment.items():
        name = variable.removeprefix(prefix).lower().replace("_", "-")
        if variable.startswith(prefix) and name not in foreign:
            given[name] = Given(value=value, origin=f"input `{name}`")
    inputs.require_known(given, place)
    declared = inputs.declared_inputs()
    return {name: entry for name, entry in given.items() if entry.value.strip() not in {"", declared[name].default}}
