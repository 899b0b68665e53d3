"""Environment variables in POSIX shell syntax: `CFLAGS="-O3 -g0" PATH="$PATH:/opt/bin" LIB="$(pwd)/lib"`.

A plan has them as they are written. `evaluate` has their commands run, when the target is built.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from manywheels.errors import InputError
from manywheels.plan.inputs import Value, refuse
from manywheels.plan.shell_words import (
    Part,
    Reader,
    Reference,
    Run,
    Substitution,
    Unreadable,
    Word,
    has_commands,
    output_of,
    text_of,
    with_texts,
)

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EQUALS: Final = re.compile("=")


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A variable and the parts of its value, in order."""

    name: str
    value: Word


def expand(assignments: tuple[Assignment, ...], environment: Mapping[str, str]) -> dict[str, str]:
    """Each assignment sees the earlier ones. They have no commands, or `evaluate` has run these."""
    result = dict(environment)
    for assignment in assignments:
        result[assignment.name] = text_of(assignment.value, result, _run_nothing)
    return result


def _run_nothing(command: tuple[str, ...], _: Mapping[str, str]) -> str:
    raise ValueError(f"`{command[0]}` was not run before")


def evaluate(
    assignments: tuple[Assignment, ...], environment: Mapping[str, str], run: Callable[[str], Run]
) -> tuple[Assignment, ...]:
    """Replace commands by their output, in order; each sees the variables before it.

    `run` is called with the variable's name. Raises what it raises.
    """
    seen, made = dict(environment), []
    for assignment in assignments:
        parts = (_evaluated(part, seen, run(assignment.name)) for part in assignment.value)
        made.append(replace(assignment, value=tuple(part for part in parts if part != "")))
        seen[assignment.name] = text_of(made[-1].value, seen, _run_nothing)
    return tuple(made)


def _evaluated(part: Part, seen: Mapping[str, str], run: Run) -> Part:
    if isinstance(part, Substitution):
        return output_of(part, seen, run)
    if isinstance(part, Reference) and has_commands(part.otherwise):
        return text_of((part,), seen, run)
    return part


def run_commands(assignments: tuple[Assignment, ...]) -> bool:
    """Whether any has a command."""
    return any(has_commands(assignment.value) for assignment in assignments)


def as_written(assignments: tuple[Assignment, ...]) -> tuple[Assignment, ...]:
    """Return them with each command as its text: for what must be decided before commands can run."""
    return tuple(replace(made, value=_as_written(made.value)) for made in assignments)


def _as_written(word: Word) -> Word:
    parts: list[Part] = []
    for part in word:
        match part:
            case Substitution():
                parts.append(part.text)
            case Reference():
                parts.append(replace(part, otherwise=_as_written(part.otherwise)))
            case _:
                parts.append(part)
    return tuple(parts)


def change_texts(assignments: tuple[Assignment, ...], change: Callable[[str], str]) -> tuple[Assignment, ...]:
    """Return them with their plain texts changed, as placeholders are filled in."""
    return tuple(replace(made, value=with_texts(made.value, change)) for made in assignments)


def parse(value: Value, name: str) -> tuple[Assignment, ...]:
    """Raises InputError, also for what only a shell can do."""
    if "\0" in value.value:
        raise _refuse(value, name, "no variable can hold a NUL character")
    reader = Reader(value.value)
    try:
        return tuple(_assignments(reader))
    except Unreadable as unreadable:
        raise _refuse(value, name, str(unreadable)) from None


def _assignments(reader: Reader) -> list[Assignment]:
    found = []
    while reader.skip_blanks():
        rest = reader.rest
        name = reader.take(_NAME)
        if not name or not reader.take(_EQUALS):
            raise Unreadable(f"`{rest.split(maxsplit=1)[0]}` is not one")
        found.append(Assignment(name=name, value=reader.word()))
    return found


def _refuse(value: Value, name: str, reason: str) -> InputError:
    return refuse(value, name, f"words of the form `NAME=value`, quoted if they contain blanks ({reason})")
