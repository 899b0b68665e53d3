"""The recipe of one target: how its wheel is built, repaired, looked at and tested, parsed from the options' texts.

`overrides` can give each target its own. Commands are shell text as the user wrote it; the places that it names in
braces are put in where it is run (`fill`).
"""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manywheels.plan import assignments, inputs
from manywheels.plan.assignments import Assignment
from manywheels.plan.inputs import Parser, Value
from manywheels.wheels.wheelfile import parse_name

if TYPE_CHECKING:
    import argparse

FRONT_ENDS: Final = ("uv", "build", "build[uv]", "pip")
_MOST: Final = 3  # as pip's -vvv
_SHELLS_OWN: Final = re.compile(r"[$`;&|<>#\\\n]")


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """The build front end (PEP 517) and the options that it gets besides ours; `verbosity` is from -3 to 3."""

    name: str = "uv"
    arguments: tuple[str, ...] = ()
    verbosity: int = 0


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Versions of what builds are made with: a constraints file of the project, or requirements; or the latest."""

    file: str = ""
    packages: tuple[str, ...] = ()

    def text(self, project: Path, python: str) -> str:
        """Return the constraints for a Python as `3.12`; a sibling of the file, `…-python312`, comes before it.

        `project` is the folder that the file lies in. Raises OSError where it cannot be read, or is not in there.
        """
        if not self.file:
            return "".join(f"{package}\n" for package in self.packages)
        path = project / self.file
        specific = path.with_name(f"{path.stem}-python{python.replace('.', '')}{path.suffix}")
        chosen = specific if specific.is_file() else path
        # Project code will read what this program, which may read more, has copied for it.
        if not chosen.resolve().is_relative_to(project.resolve()):
            raise PermissionError(errno.EPERM, "The constraints file does not lie in the project", self.file)
        return chosen.read_text("utf-8")


class Repairer(StrEnum):
    """Who makes the wheel meet its policy."""

    AUDITWHEEL = "auditwheel"  # built in
    COMMAND = "command"
    NOBODY = "none"


@dataclass(frozen=True, kw_only=True)
class Repair:
    """How the wheel is repaired: `command` is the user's own, `strip` is for the built-in auditwheel.

    `exclude` are patterns of libraries that are not grafted; whoever repairs, the wheel may need them.
    """

    by: Repairer = Repairer.AUDITWHEEL
    command: str = ""
    exclude: tuple[str, ...] = ()
    strip: bool = False


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The user's own look at the finished wheel, and the packages that it needs."""

    command: str
    requires: tuple[str, ...]

    def command_for(self, wheel: str) -> str:
        """Return what there is to run for a wheel of this name: what speaks of `{abi3_wheel}` is for abi3 wheels."""
        is_abi3 = any(tag.abi == "abi3" for tag in parse_name(wheel).tags)
        parts = [part for part in self.command.split(" && ") if is_abi3 or "{abi3_wheel}" not in part]
        return " && ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Tests:
    """How the finished wheel is tested. `before` and `command` are shell text; `sources` are paths in the project."""

    command: str
    before: str
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    environment: tuple[Assignment, ...]


@dataclass(frozen=True, kw_only=True)
class BeforeAll:
    """What prepares the machine, as root in a container, and the variables that it gets besides the usual ones."""

    command: str
    environment: tuple[Assignment, ...]
    environment_pass: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """What is asked for one target. `before_all`, `audit` and `tests` are None where there is nothing to be done."""

    environment: tuple[Assignment, ...]
    environment_pass: tuple[str, ...]
    config_settings: tuple[str, ...]
    front_end: FrontEnd
    constraints: Constraints
    before_all: BeforeAll | None
    before_build: str
    repair: Repair
    audit: Audit | None
    tests: Tests | None


def fill(command: str, **places: Path | str) -> str:
    """Put places into a command: `{wheel}` becomes the path given for `wheel`.

    Other braces stay as they are, and so does one after `#`, which is then taken away (`#{wheel}` is the text itself).
    """
    for name, place in places.items():
        braced = "{" + name + "}"
        command = re.sub(rf"(?<!#){re.escape(braced)}", lambda _, place=place: str(place), command)  # type: ignore[misc]
        command = command.replace(f"#{braced}", braced)
    return command


def fill_values(made: tuple[Assignment, ...], **places: Path | str) -> tuple[Assignment, ...]:
    """Put places into the values of variables."""
    return tuple(
        replace(one, value=tuple(fill(part, **places) if isinstance(part, str) else part for part in one.value))
        for one in made
    )


# --- texts into values ------------------------------------------------------------------------------------------------


def parse_target_options(
    value: Callable[[str], Value], vouched: Callable[[str], Value], *, tested: bool
) -> TargetOptions:
    """Return the recipe from the options' values. Raises InputError for the first that is not allowed.

    `vouched` returns an option's value as it would be if the project's own files gave none.
    """

    def parsed(name: str) -> Any:  # noqa: ANN401 - each parser has its own type
        return PARSERS[name](value(name), name)

    front_end: FrontEnd = parsed("build-frontend")
    audit, tests = parsed("audit-command"), parsed("test-command")
    return TargetOptions(
        environment=parsed("environment"),
        environment_pass=parsed("environment-pass"),
        config_settings=parsed("config-settings"),
        front_end=FrontEnd(name=front_end.name, arguments=front_end.arguments, verbosity=parsed("build-verbosity")),
        constraints=parsed("dependency-versions"),
        before_all=_before_all(value, vouched),
        before_build=parsed("before-build"),
        repair=_repair(parsed("repair-wheel-command"), parsed("repair-exclude"), strip=parsed("repair-strip")),
        audit=Audit(command=audit, requires=parsed("audit-requires")) if audit else None,
        tests=Tests(
            command=tests,
            before=parsed("before-test"),
            requires=parsed("test-requires"),
            extras=parsed("test-extras"),
            groups=parsed("test-groups"),
            sources=parsed("test-sources"),
            environment=parsed("test-environment"),
        )
        if tests and tested
        else None,
    )


def parse_front_end(given: Value, name: str) -> FrontEnd:
    """Return the front end from `pip`, or from `pip; args: --no-cache-dir`."""
    allowed = f"{', '.join(f'`{known}`' for known in FRONT_ENDS)}, with options as in `pip; args: --no-cache-dir`"
    fields = _fields(given, name, ("name", "args"), "name", allowed)
    called = fields.get("name", ())
    if len(called) != 1 or called[0] not in FRONT_ENDS:
        raise inputs.refuse(given, name, allowed)
    return FrontEnd(name=called[0], arguments=fields.get("args", ()))


def parse_constraints(given: Value, name: str) -> Constraints:
    """Return the constraints from `latest`, a file's name, `file: …` or `packages: … …`."""
    text = given.value.strip()
    if text == "latest":
        return Constraints()
    if not text.startswith(("file:", "packages:")):
        return Constraints(file=inputs.parse_path(given, name))
    allowed = "`latest`, a constraints file of the project, or `packages: cython==3.1.4 setuptools<81`"
    fields = _fields(given, name, ("file", "packages"), "", allowed)
    if len(fields) != 1 or len(fields.get("file", ("",))) != 1:
        raise inputs.refuse(given, name, allowed)
    return Constraints(file=fields.get("file", ("",))[0], packages=fields.get("packages", ()))


def parse_verbosity(given: Value, name: str) -> int:
    """Return a whole number from -3 to 3."""
    if not re.fullmatch("[+-]?[0-9]", given.value.strip()) or abs(int(given.value)) > _MOST:
        raise inputs.refuse(given, name, f"a whole number from -{_MOST} to {_MOST}")
    return int(given.value)


def parse_command(given: Value, name: str) -> str:
    """Return a shell command's text; it may have several lines."""
    if "\0" in given.value:
        raise inputs.refuse(given, name, "a shell command without NUL characters")
    return given.value.strip()


def parse_extras(given: Value, name: str) -> tuple[str, ...]:
    """Return the names of extras from `test,all`."""
    extras = tuple(word for word in re.split(r"[\s,]+", given.value) if word)
    for extra in extras:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", extra):
            raise inputs.refuse(given, name, f"names of extras with commas between (`{extra}` is none)")
    return extras


PARSERS: Final[Mapping[str, Parser]] = {
    "environment": assignments.parse,
    "environment-pass": inputs.parse_words,
    "config-settings": inputs.parse_settings,
    "build-frontend": parse_front_end,
    "build-verbosity": parse_verbosity,
    "dependency-versions": parse_constraints,
    "before-all": parse_command,
    "before-build": parse_command,
    "repair-wheel-command": parse_command,
    "repair-exclude": inputs.parse_words,
    "repair-strip": inputs.parse_flag,
    "audit-command": parse_command,
    "audit-requires": inputs.parse_words,
    "test-command": parse_command,
    "before-test": parse_command,
    "test-requires": inputs.parse_words,
    "test-extras": parse_extras,
    "test-groups": inputs.parse_words,
    "test-sources": inputs.parse_words,
    "test-environment": assignments.parse,
}


def _before_all(value: Callable[[str], Value], vouched: Callable[[str], Value]) -> BeforeAll | None:
    """Return the command with its variables. Those of the project's own files are for a command of theirs only.

    With PATH or LD_PRELOAD, a pull request would have the workflow's command run code of its own, as root.
    """
    given = value("before-all")
    source = value if given.is_projects else vouched
    command = parse_command(given, "before-all")
    return (
        BeforeAll(
            command=command,
            environment=assignments.parse(source("environment"), "environment"),
            environment_pass=inputs.parse_words(source("environment-pass"), "environment-pass"),
        )
        if command
        else None
    )


def _repair(command: str, exclude: tuple[str, ...], *, strip: bool) -> Repair:
    """Choose who repairs; a command that is only auditwheel with options that are known here needs no shell."""
    if command in {"", Repairer.NOBODY}:
        return Repair(by=Repairer.NOBODY, exclude=exclude)
    if command == Repairer.AUDITWHEEL:
        return Repair(exclude=exclude, strip=strip)
    asked = _auditwheel_options(command)
    exclude += tuple(asked.exclude)
    ours = asked.words == ["auditwheel", "repair", "{wheel}"] and asked.wheel_dir == "{dest_dir}"
    if ours and not _SHELLS_OWN.search(command):
        return Repair(exclude=exclude, strip=strip or asked.strip)
    return Repair(by=Repairer.COMMAND, command=command, exclude=exclude)


def _auditwheel_options(command: str) -> argparse.Namespace:
    """Return those of auditwheel's options in a command that are known here, and all other `words`."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--strip", action="store_true")
    parser.add_argument("-w", "--wheel-dir")
    try:
        asked, words = parser.parse_known_args(shlex.split(command))
    except (ValueError, argparse.ArgumentError):  # a shell will say what is wrong with it
        return argparse.Namespace(exclude=[], words=[], wheel_dir=None)
    asked.words = words
    return asked


def _fields(given: Value, name: str, known: tuple[str, ...], first: str, allowed: str) -> dict[str, tuple[str, ...]]:
    """Read `value; key: words; …`; the words of a part without a key are those of `first`, where it stands first."""
    lexer = shlex.shlex(given.value, posix=True, punctuation_chars=";")
    lexer.commenters, lexer.whitespace_split = "", True
    try:
        parts = [list(part) for ends, part in groupby(lexer, lambda word: word == ";") if not ends]
    except ValueError:
        raise inputs.refuse(given, name, f"{allowed}, with balanced quotes") from None
    fields: dict[str, tuple[str, ...]] = {}
    for number, part in enumerate(parts):
        key, colon, rest = part[0].partition(":")
        words = [*([rest] if rest else []), *part[1:]] if colon else part
        key = key if colon else first if number == 0 else ""
        if key not in known or key in fields:
            raise inputs.refuse(given, name, allowed)
        fields[key] = tuple(words)
    return fields
