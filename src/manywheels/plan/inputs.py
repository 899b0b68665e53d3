"""The inputs: their names, meanings and defaults from action.yml, and how each one's text becomes a value.

action.yml is the one list. The command line's options, `[tool.manywheels]` and the action's `INPUT_*` variables are
three ways to give the same inputs; a value that is not allowed is refused in the same words, with its origin, in each.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from typing import Any, Final

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan import option_types
from manywheels.resources import resource

TABLES: Final = frozenset({"verify", "overrides"})  # with keys of their own, read by verify.rules and by settings
_PREFIX: Final = "MANYWHEELS_"
GITLAB_PREFIX: Final = "MANYWHEELS_INPUT_"  # what GitLab's templates give; read by ci.gitlab
COMMANDS: Final = ("build", "verify", "publish", "plan")
_LONGEST: Final = 100 * 3600.0  # seconds
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input as action.yml declares it."""

    name: str
    description: str
    default: str


class OriginKind(Enum):
    """Who gave a value. A pull request can change what is the PROJECT's; everything else is the caller's or ours."""

    DEFAULT = auto()  # action.yml's
    VARIABLE = auto()  # `MANYWHEELS_…`, `CIBW_…`
    WORKFLOW = auto()  # an input of the action, or of GitLab's component
    COMMAND_LINE = auto()
    PROGRAM = auto()  # it follows from what was done before: the folder of this run's wheels
    PROJECT = auto()  # pyproject.toml, alone or together with others


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: `kind` decides what it is trusted with; `place` is for messages only.

    A place reads as `--jobs`, ``input `jobs` `` or `[tool.manywheels] jobs`.
    """

    kind: OriginKind
    place: str

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value that was given for an input, and where it comes from."""

    value: str
    origin: Origin

    @property
    def is_projects(self) -> bool:
        """Whether the project's own files say so, alone or together with others."""
        return self.origin.kind is OriginKind.PROJECT

    @property
    def is_default(self) -> bool:
        """Whether nobody gave it."""
        return self.origin.kind is OriginKind.DEFAULT


def default(value: str = "") -> Value:
    """Return a value that counts where nobody gave one."""
    return Value(value=value, origin=Origin(OriginKind.DEFAULT, "default"))


@cache
def declared_inputs() -> Mapping[str, Input]:
    """Return action.yml's inputs by name, in its order."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    action = yaml.load(resource("action.yml").read_text("utf-8"), Loader=loader)  # noqa: S506 - a safe loader, in C
    return {
        name: Input(name=name, description=str(entry["description"]), default=str(entry.get("default", "")))
        for name, entry in action["inputs"].items()
    }


def inputs_of(command: str) -> tuple[Input, ...]:
    """Return the inputs that a command takes as options, in the order of its help text."""
    return tuple(declared_inputs()[name] for name in table("inputs")["commands"].get(command, ()))


def flags() -> frozenset[str]:
    """Return the inputs that need no value on the command line."""
    return frozenset(table("inputs")["flags"])


def hidden() -> frozenset[str]:
    """Return the inputs that pyproject.toml cannot give: what is done with which project, and secrets."""
    return frozenset(name for name, facts in table("options").items() if facts.get("hidden"))


def require_known(names: Iterable[str], origin: str) -> None:
    """Raise InputError for names that are no inputs, each with the nearest one that is."""
    require_one_of(names, declared_inputs(), origin, "input")


def require_one_of(names: Iterable[str], known: Iterable[str], origin: str, kind: str) -> None:
    """Raise InputError for names that are not in `known`, each with the nearest one that is."""
    known = list(known)
    unknown = sorted(set(names) - set(known))
    if not unknown:
        return
    described = []
    for name in unknown:
        near = difflib.get_close_matches(name, known, n=1)
        described.append(f"`{name}`" + (f" (did you mean `{near[0]}`?)" if near else ""))
    raise InputError(
        f"{origin}: no such {kind}: {', '.join(described)}.", remedy=f"The {kind}s are {', '.join(known)}."
    )


def from_settings(settings: Mapping[str, Any]) -> dict[str, Value]:
    """Turn the table `[tool.manywheels]` into given inputs.

    Raises InputError for unknown names, for those that do not belong there, and for values of other kinds.
    """
    origin = "[tool.manywheels]"
    settings = {name: value for name, value in settings.items() if name not in TABLES}
    require_known((name for name in settings if not option_types.IMAGE_OPTION.fullmatch(name)), origin)
    misplaced = sorted(hidden() & set(settings))
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
    """Return the variable that gives an input: `MANYWHEELS_BUILD_FRONTEND` for `build-frontend`."""
    return _PREFIX + name.upper().replace("-", "_")


def from_environment(environment: Mapping[str, str]) -> dict[str, Value]:
    """Return the inputs that variables `MANYWHEELS_<NAME>` give; one that is empty gives nothing."""
    to_commands = {"command", "package-dir"}
    named = {name: variable(name) for name in declared_inputs() if name not in to_commands}
    return {
        name: Value(value=environment[key], origin=Origin(OriginKind.VARIABLE, key))
        for name, key in named.items()
        if environment.get(key, "").strip()
    }


def doubtful_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """Tell of variables whose names are nearly those of inputs; others of that prefix are somebody else's."""
    known = [variable(name) for name in declared_inputs()]
    for name in environment:
        if name.startswith(_PREFIX) and not name.startswith(GITLAB_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.9)
            if near:
                yield f"The variable {name} is not read; did you mean {near[0]}?"


def refuse(given: Value, name: str, allowed: str) -> InputError:
    """Return the error for a value that is not allowed; `allowed` says what is."""
    return InputError(f"{given.origin}: `{given.value}` is not a value of `{name}`.", remedy=f"Allowed: {allowed}.")


def parse_choice(given: Value, name: str, choices: tuple[str, ...]) -> str:
    """Return the value if it is one of `choices`."""
    if given.value not in choices:
        raise refuse(given, name, ", ".join(f"`{choice}`" for choice in choices))
    return given.value


def parse_flag(given: Value, name: str) -> bool:
    """Return a truth value; YAML's and GitHub's spellings are taken."""
    word = given.value.strip().lower()
    if word in {"true", "yes", "on", "1"}:
        return True
    if word in {"false", "no", "off", "0", ""}:
        return False
    raise refuse(given, name, "`true`, `false`")


def parse_jobs(given: Value, name: str) -> int | None:
    """Return how many targets at once; None for `auto`."""
    if given.value == "auto":
        return None
    if not given.value.isascii() or not given.value.isdigit() or not 1 <= int(given.value) <= 1024:  # noqa: PLR2004
        raise refuse(given, name, "`auto`, or a whole number from 1 to 1024")
    return int(given.value)


def parse_duration(given: Value, name: str) -> float:
    """Return seconds from `90s`, `60m`, `2h` or a bare number of seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", given.value.strip())
    seconds = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST:
        raise refuse(given, name, "a duration such as `90s`, `60m` or `2h`, at most `100h`")
    return seconds


def parse_words(given: Value, name: str) -> tuple[str, ...]:
    """Split a value into words as a POSIX shell would, without running one."""
    try:
        return tuple(shlex.split(given.value))
    except ValueError as error:
        raise refuse(given, name, f"words with balanced quotes ({error})") from None


def parse_settings(given: Value, name: str) -> tuple[str, ...]:
    """Return the back end's settings as `key=value` words (PEP 517 config_settings)."""
    words = parse_words(given, name)
    for word in words:
        if "=" not in word or word.startswith(("=", "-C")):
            raise refuse(given, name, f"words of the form `key=value` (`{word}` is not one)")
    return words


def parse_path(given: Value, name: str) -> str:
    """Return a path's text; one that is empty or holds control characters is refused."""
    if not given.value or any(ord(character) < ord(" ") for character in given.value):
        raise refuse(given, name, "a path, not empty and without control characters")
    return given.value


Parser = Callable[[Value, str], Any]
