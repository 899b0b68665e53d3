"""cibuildwheel's `container-engine`: `docker; create_args: --network=host --env=A=b`.

Of the options of `docker create`, those in data/cibuildwheel.toml are taken. In a CI job, the project's own files may
only give those that reach nothing outside of the container.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import inputs
from manywheels.plan.assignments import Assignment
from manywheels.plan.inputs import Value

_NAME: Final = re.compile(r"[^\s=]+")
_ENGINES: Final = ("docker", "podman")
_FIELDS: Final = ("name", "create_args", "create-args", "disable_host_mount", "disable-host-mount")
_ALLOWED: Final = "`docker` or `podman`, with options as in `docker; create_args: --network=host`"
_IGNORED: Final = "--platform"  # the target decides; cibuildwheel ignores it as well
_SWITCH: Final = "switch"
_VARIABLE: Final = "variable"  # for builds, and not for the program: a project must not choose its LD_PRELOAD


@dataclass(frozen=True)
class CreateArgument:
    """An option of `docker create`: its `name` in the SDK, the `kind` of its value, and the text of it."""

    option: str
    name: str
    kind: str
    value: str
    harmless: bool


@dataclass(frozen=True, kw_only=True)
class ContainerEngine:
    """The engine that is asked for, and what its containers are created with."""

    name: str = "docker"
    arguments: tuple[CreateArgument, ...] = ()

    @property
    def of_container(self) -> tuple[CreateArgument, ...]:
        """What a container is created with."""
        return tuple(argument for argument in self.arguments if argument.kind != _VARIABLE)

    @property
    def variables(self) -> tuple[Assignment, ...]:
        """Variables that builds get by `--env NAME=value`."""
        pairs = (argument.value.partition("=") for argument in self.arguments if argument.kind == _VARIABLE)
        return tuple(Assignment(name=name, value=(text,) if text else ()) for name, given, text in pairs if given)

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the caller's variables that builds get by `--env NAME`."""
        values = (argument.value for argument in self.arguments if argument.kind == _VARIABLE)
        return tuple(value for value in values if "=" not in value)


def parse_container_engine(value: Value, name: str) -> ContainerEngine:
    """Raises InputError."""
    if not value.value.strip():
        return ContainerEngine()
    fields = inputs.parse_fields(value, name, _FIELDS, "name", _ALLOWED)
    engine = fields.get("name", ())
    if len(engine) != 1 or engine[0] not in _ENGINES:
        raise inputs.refuse(value, name, _ALLOWED)
    words = fields.get("create_args") or fields.get("create-args") or ()
    return ContainerEngine(name=engine[0], arguments=tuple(_arguments(list(words), value)))


def _arguments(words: list[str], value: Value) -> Iterator[CreateArgument]:
    known = {option: row for row in table("cibuildwheel")["create_argument"] for option in row["options"]}
    while words:
        option, equals, text = words.pop(0).partition("=")
        row = known.get(option)
        if row is None and option != _IGNORED:
            raise _refuse(value, f"{option}{equals}{text}", known)
        is_switch = row is not None and row["kind"] == _SWITCH
        if not equals and not is_switch:
            if not words:
                raise InputError(f"{value.origin}: `{option}` has no value.", remedy="Give one after it.")
            text = words.pop(0)
        if row is not None:
            if row["kind"] == _VARIABLE and not _NAME.fullmatch(text.partition("=")[0]):
                raise InputError(
                    f"{value.origin}: `{text}` of `{option}` does not begin with a variable's name.",
                    remedy="Write `NAME=value`, or `NAME` for the caller's value.",
                )
            harmless = row.get("harmless", False) and (row["kind"] != _VARIABLE or "=" in text)
            yield CreateArgument(option, row["name"], row["kind"], text, harmless)


def _refuse(value: Value, word: str, known: Mapping[str, Any]) -> InputError:
    return InputError(
        f"{value.origin}: `{shlex.quote(word)}` of `create_args` is not taken.",
        remedy=f"Remove it. Options that are taken: {', '.join(sorted(known))}.",
    )
