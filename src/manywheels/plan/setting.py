"""A value given for an option; readers of `overrides`, `select` and `inherit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from manywheels.errors import InputError
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.option_types import Inherit
from manywheels.plan.targets import Target, expand_patterns, matches


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One value given for an option, for targets that match `select`; empty means all.

    Patterns from cibuildwheel's configuration may match no target. `problem` is raised if the value counts.
    """

    name: str
    value: Value
    select: tuple[str, ...] = ()
    rule: Inherit = Inherit.NONE
    from_cibuildwheel: bool = False
    problem: InputError | None = None

    def applies_to(self, target: Target | None) -> bool:
        """Whether it is for a target; None stands for all targets."""
        return not self.select or (target is not None and any(matches(target, pattern) for pattern in self.select))


def read_overrides(settings: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Raises InputError if they are not a list of tables."""
    overrides = settings.get("overrides", [])
    if not isinstance(overrides, list) or not all(isinstance(override, dict) for override in overrides):
        raise InputError(
            f"[{name}] overrides: this is not a list of tables.",
            remedy=f"Begin each override with `[[{name}.overrides]]`.",
        )
    return overrides


def read_select(value: object, origin: str) -> tuple[str, ...]:
    """Raises InputError if there are no patterns."""
    words = [value] if isinstance(value, str) else value
    if isinstance(words, list) and all(isinstance(word, str) for word in words):
        patterns = expand_patterns(" ".join(words))
        if patterns:
            return patterns
    raise InputError(
        f"{origin}: `select` names no targets.",
        remedy='Give a pattern over target identifiers, or a list of patterns, as in `select = "cp313-*"`.',
    )


def read_inherit(value: object, known: Iterable[str], origin: str) -> dict[str, Inherit]:
    """Return the rules of a table, or of text such as `environment; before-all: prepend`.

    Raises InputError for names not in `known` and unknown rules.
    """
    rules = _inherit_text(value, origin) if isinstance(value, str) else value
    if not isinstance(rules, dict) or not all(rule in list(Inherit) for rule in rules.values()):
        raise InputError(
            f"{origin}: `inherit` is not a table of rules.",
            remedy='Give each option `"append"`, `"prepend"` or `"none"`, as in `inherit.environment = "append"`.',
        )
    inputs.require_one_of(rules, known, f"{origin} inherit", "option that is set beside it")
    return {name: Inherit(rule) for name, rule in rules.items()}


def _inherit_text(text: str, origin: str) -> dict[str, str]:
    value = Value(value=text, origin=Origin(OriginKind.VARIABLE, origin))
    rules = {}
    for part in text.split(";"):
        names, colon, rule = part.partition(":")
        for name in inputs.parse_words(replace(value, value=names), "inherit"):
            rules[name] = rule.strip() if colon else "append"
    return rules
