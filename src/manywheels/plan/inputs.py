"""Inputs as action.yml declares them, and parsers for their values."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from itertools import groupby
from typing import Any, Final

from manywheels.core.text import did_you_mean
from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import option_types
from manywheels.resources import resource

TABLES: Final = frozenset({"verify", "overrides"})  # read by verify.rules and settings
_PREFIX: Final = "MANYWHEELS_"
GITLAB_PREFIX: Final = "MANYWHEELS_INPUT_"  # read by cli.gitlab
COMMANDS: Final = ("build", "verify", "gather", "publish", "plan")
_MAX_DURATION: Final = 100 * 3600.0  # seconds
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input as action.yml declares it."""

    name: str
    description: str
    default: str


class OriginKind(Enum):
    """Who gave a value. A pull request can change PROJECT values, but no others."""

    DEFAULT = auto()  # action.yml's
    VARIABLE = auto()  # `MANYWHEELS_…`, `CIBW_…`
    WORKFLOW = auto()  # an input of the action, or of GitLab's component
    COMMAND_LINE = auto()
    PROGRAM = auto()  # set by manywheels
    PROJECT = auto()  # pyproject.toml, also if combined with other values


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `kind` decides trust, `place` is for messages."""

    kind: OriginKind
    place: str

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True, kw_only=True)
class Value:
    """An input's text and its origin."""

    value: str
    origin: Origin

    @property
    def is_projects(self) -> bool:
        """Whether the project's files gave it, or a part."""
        return self.origin.kind is OriginKind.PROJECT

    @property
    def is_default(self) -> bool:
        return self.origin.kind is OriginKind.DEFAULT


def default(value: str = "") -> Value:
    return Value(value=value, origin=Origin(OriginKind.DEFAULT, "default"))


@cache
def declared_inputs() -> Mapping[str, Input]:
    """Return the inputs by name, in action.yml's order."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    action = yaml.load(resource("action.yml").read_text("utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C
    return {
        name: Input(name=name, description=str(entry["description"]), default=str(entry.get("default", "")))
        for name, entry in action["inputs"].items()
    }


def inputs_of(command: str) -> tuple[Input, ...]:
    """The order is that of the command's help."""
    return tuple(declared_inputs()[name] for name in table("inputs")["commands"].get(command, ()))


def gitlab_defaults() -> Mapping[str, str]:
    """Return the defaults of GitLab's components that are not action.yml's."""
    defaults: dict[str, str] = table("inputs")["gitlab"]
    return defaults


def flags() -> frozenset[str]:
    """The options of these inputs take no value."""
    return frozenset(table("inputs")["flags"])


def hidden() -> frozenset[str]:
    """Return the inputs that pyproject.toml cannot set."""
    return frozenset(name for name, facts in table("options").items() if facts.get("hidden"))


def require_known(names: Iterable[str], origin: str) -> None:
    """Raises InputError for names that are not inputs."""
    require_one_of(names, declared_inputs(), origin, "input")


def require_one_of(names: Iterable[str], known: Iterable[str], origin: str, kind: str) -> None:
    """Raises InputError for names that are not in `known`, with the nearest match."""
    known = list(known)
    unknown = sorted(set(names) - set(known))
    if not unknown:
        return
    described = [f"`{name}`{did_you_mean(name, known)}" for name in unknown]
    raise InputError(
        f"{origin}: no such {kind}: {', '.join(described)}.", remedy=f"The {kind}s are {', '.join(known)}."
    )


def from_settings(settings: Mapping[str, Any]) -> dict[str, Value]:
    """Return the inputs in `[tool.manywheels]`, without its overrides.

    Raises InputError for unknown or misplaced names and wrong types.
    """
    origin = "[tool.manywheels]"
    settings = {name: value for name, value in settings.items() if name not in TABLES}
    misplaced = sorted(hidden() & set(settings))
    allowed = [*(name for name in declared_inputs() if name not in hidden()), *sorted(TABLES)]
    named = {name for name in settings if not option_types.IMAGE_OPTION.fullmatch(name)}
    require_one_of(named.difference(misplaced), allowed, origin, "option")
    if misplaced:
        raise InputError(
            f"{origin}: `{misplaced[0]}` cannot be set there.",
            remedy="Give it on the command line or as the action's input; secrets come from the CI's own store.",
        )
    return {
        name: Value(
            value=option_types.write(name, value, f"{origin} {name}"),
            origin=Origin(OriginKind.PROJECT, f"{origin} {name}"),
        )
        for name, value in settings.items()
    }


def variable(name: str) -> str:
    """Return an option's variable, such as `MANYWHEELS_BUILD_FRONTEND`."""
    return _PREFIX + name.upper().replace("-", "_")


def from_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """Return the inputs in `MANYWHEELS_<NAME>` variables; empty ones are ignored."""
    arguments = {"command", "package-dir"}
    named = {name: variable(name) for name in declared_inputs() if name not in arguments}
    return {
        name: Value(value=environment[key], origin=Origin(OriginKind.VARIABLE, key))
        for name, key in named.items()
        if environment.get(key, "").strip()
    }


def misspelt_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield a note on each variable that resembles an input's; others have other uses."""
    known = [variable(name) for name in declared_inputs()]
    for name in environment:
        if name.startswith(_PREFIX) and not name.startswith(GITLAB_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            if near:
                yield f"The variable {name} is not read; did you mean {near[0]}?"


def refuse(value: Value, name: str, allowed: str) -> InputError:
    """`allowed` describes the valid values."""
    return InputError(f"{value.origin}: `{value.value}` is not a value of `{name}`.", remedy=f"Allowed: {allowed}.")


def parse_choice(value: Value, name: str, choices: tuple[str, ...]) -> str:
    """Raises InputError, as all parsers here do."""
    if value.value not in choices:
        raise refuse(value, name, ", ".join(f"`{choice}`" for choice in choices))
    return value.value


def parse_flag(value: Value, name: str) -> bool:
    """Accept YAML's and GitHub's spellings; empty is false."""
    word = value.value.strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0", ""}:
        return False
    raise refuse(value, name, "`true`, `false`")


def parse_jobs(value: Value, name: str) -> int | None:
    """None means `auto`."""
    if value.value == "auto":
        return None
    if not value.value.isascii() or not value.value.isdigit() or not 1 <= int(value.value) <= 1024:  # noqa: PLR2004
        raise refuse(value, name, "`auto`, or a whole number from 1 to 1024")
    return int(value.value)


def parse_duration(value: Value, name: str) -> float:
    """Return seconds from `90s`, `60m`, `2h` or a number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", value.value.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _MAX_DURATION:
        raise refuse(value, name, "a duration such as `90s`, `60m` or `2h`, at most `100h`")
    return seconds


def parse_words(value: Value, name: str) -> tuple[str, ...]:
    """Split as a POSIX shell does."""
    try:
        return tuple(shlex.split(value.value))
    except ValueError as error:
        raise refuse(value, name, f"words with balanced quotes ({error})") from None


def parse_list(value: Value) -> tuple[str, ...]:
    """Split at blanks and commas."""
    return tuple(word for word in re.split(r"[\s,]+", value.value) if word)


def parse_image(value: Value, name: str) -> str:
    """Return an image reference, or empty."""
    if value.value and not re.fullmatch(r"[A-Za-z0-9][\w.:/@-]*", value.value):
        raise refuse(value, name, "an image reference, as `quay.io/pypa/manylinux_2_28_x86_64:latest`")
    return value.value


def parse_settings(value: Value, name: str) -> tuple[str, ...]:
    """Return the back end's `key=value` words (PEP 517 config_settings)."""
    words = parse_words(value, name)
    for word in words:
        if "=" not in word or word.startswith(("=", "-C")):
            raise refuse(value, name, f"words of the form `key=value` (`{word}` is not one)")
    return words


def parse_fields(
    value: Value, name: str, known: tuple[str, ...], first: str, allowed: str
) -> dict[str, tuple[str, ...]]:
    """Parse `value; key: words; …`; a first part without a key belongs to `first`."""
    lexer = shlex.shlex(value.value, posix=True, punctuation_chars=";")
    lexer.commenters, lexer.whitespace_split = "", True
    try:
        parts = [list(part) for ends, part in groupby(lexer, lambda word: word == ";") if not ends]
    except ValueError:
        raise refuse(value, name, f"{allowed}, with balanced quotes") from None
    fields: dict[str, tuple[str, ...]] = {}
    for number, part in enumerate(parts):
        key, colon, rest = part[0].partition(":")
        words = [*([rest] if rest else []), *part[1:]] if colon else part
        key = key if colon else first if number == 0 else ""
        if key not in known or key in fields:
            raise refuse(value, name, allowed)
        fields[key] = tuple(words)
    return fields


def parse_path(value: Value, name: str) -> str:
    """The path is not empty and has no control characters."""
    if not value.value or any(ord(character) < ord(" ") for character in value.value):
        raise refuse(value, name, "a path, not empty and without control characters")
    return value.value


Parser = Callable[[Value, str], Any]
