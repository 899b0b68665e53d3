"""One target's options: how its wheel is built, repaired, audited and tested."""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manywheels.core.regular_files import open_regular
from manywheels.plan import assignments, inputs
from manywheels.plan.assignments import Assignment
from manywheels.plan.container_engine import parse_container_engine
from manywheels.plan.inputs import Parser, Value
from manywheels.wheels.wheelfile import parse_name

if TYPE_CHECKING:
    import argparse

FRONT_ENDS: Final = ("uv", "build", "build[uv]", "pip")
_MAX_VERBOSITY: Final = 3  # as pip's -vvv
_LARGEST_CONSTRAINTS: Final = 16 << 20  # bytes
_NEEDS_SHELL: Final = re.compile(r"[$`;&|<>#\\\n]")


@dataclass(frozen=True, kw_only=True)
class FrontEnd:
    """The build front end (PEP 517) with the user's arguments; `verbosity` is from -3 to 3."""

    name: str = "uv"
    arguments: tuple[str, ...] = ()
    verbosity: int = 0


@dataclass(frozen=True, kw_only=True)
class Constraints:
    """Constraints on build requirements: a file in the project, or requirements; empty for the latest."""

    file: str = ""
    packages: tuple[str, ...] = ()

    def text(self, project: Path, python: str) -> str:
        """Return the constraints for a Python such as `3.12`, preferably of the file's sibling `…-python312`.

        Raises OSError if the file is unreadable, too large or not in `project`; UnicodeDecodeError.
        """
        if not self.file:
            return "".join(f"{package}\n" for package in self.packages)
        path = project / self.file
        specific = path.with_name(f"{path.stem}-python{python.replace('.', '')}{path.suffix}")
        chosen = specific if specific.is_file() else path
        # Project code gets the text, and this process may have more permissions.
        if not chosen.resolve().is_relative_to(project.resolve()):
            raise PermissionError(errno.EPERM, "The constraints file is not in the project", self.file)
        with open_regular(chosen, largest=_LARGEST_CONSTRAINTS) as file:
            return file.read().decode()


class Repairer(StrEnum):
    """What makes the wheel meet its policy."""

    AUDITWHEEL = "auditwheel"  # built in
    COMMAND = "command"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Repair:
    """How the wheel is repaired: `command` is the user's, `strip` for the built-in auditwheel.

    `exclude`: patterns of libraries that are not grafted; verification accepts them.
    """

    by: Repairer = Repairer.AUDITWHEEL
    command: str = ""
    exclude: tuple[str, ...] = ()
    strip: bool = False


@dataclass(frozen=True, kw_only=True)
class Audit:
    """The user's command that audits the wheel, and the packages it needs."""

    command: str
    requires: tuple[str, ...]

    def command_for(self, wheel: str) -> str:
        """Return the command for a wheel; parts with `{abi3_wheel}` are only for abi3 wheels."""
        is_abi3 = any(tag.abi == "abi3" for tag in parse_name(wheel).tags)
        parts = [part for part in self.command.split(" && ") if is_abi3 or "{abi3_wheel}" not in part]
        return " && ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Tests:
    """How the wheel is tested; `before` and `command` are shell text, `sources` paths in the project.

    `image` is the container image to test in, or empty for where the wheel is built.
    """

    command: str
    before: str
    requires: tuple[str, ...]
    extras: tuple[str, ...]
    groups: tuple[str, ...]
    sources: tuple[str, ...]
    environment: tuple[Assignment, ...]
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class BeforeAll:
    """The command that prepares the machine, as root in a container, and its variables."""

    command: str
    environment: tuple[Assignment, ...]
    environment_pass: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TargetOptions:
    """One target's options; `before_all`, `audit` and `tests` are None if there is nothing to run."""

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
    """Replace `{wheel}` by `places["wheel"]`, `#{wheel}` by the text `{wheel}`."""
    for name, place in places.items():
        braced = "{" + name + "}"
        command = re.sub(rf"(?<!#){re.escape(braced)}", lambda _, place=place: str(place), command)  # type: ignore[misc]
        command = command.replace(f"#{braced}", braced)
    return command


def fill_values(variables: tuple[Assignment, ...], **places: Path | str) -> tuple[Assignment, ...]:
    return assignments.change_texts(variables, lambda text: fill(text, **places))


# --- texts into values ------------------------------------------------------------------------------------------------


def parse_target_options(
    value: Callable[[str], Value], without_projects: Callable[[str], Value], *, tested: bool
) -> TargetOptions:
    """Raises InputError for the first invalid option.

    `value` returns an option's value, `without_projects` that without the project's files.
    """

    def parsed(name: str) -> Any:  # noqa: ANN401 - each parser has its own type
        return PARSERS[name](value(name), name)

    front_end: FrontEnd = parsed("build-frontend")
    audit, tests = parsed("audit-command"), parsed("test-command")
    environment, environment_pass = _variables(value)
    return TargetOptions(
        environment=environment,
        environment_pass=environment_pass,
        config_settings=parsed("config-settings"),
        front_end=FrontEnd(name=front_end.name, arguments=front_end.arguments, verbosity=parsed("build-verbosity")),
        constraints=parsed("dependency-versions"),
        before_all=_before_all(value, without_projects),
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
            image=parsed("test-in"),
        )
        if tests and tested
        else None,
    )


def parse_front_end(value: Value, name: str) -> FrontEnd:
    """Accept text such as `pip` or `pip; args: --no-cache-dir`."""
    allowed = f"{', '.join(f'`{known}`' for known in FRONT_ENDS)}, with options as in `pip; args: --no-cache-dir`"
    fields = inputs.parse_fields(value, name, ("name", "args"), "name", allowed)
    called = fields.get("name", ())
    if len(called) != 1 or called[0] not in FRONT_ENDS:
        raise inputs.refuse(value, name, allowed)
    return FrontEnd(name=called[0], arguments=fields.get("args", ()))


def parse_constraints(value: Value, name: str) -> Constraints:
    """Accept `latest`, a file name, `file: …` or `packages: …`."""
    text = value.value.strip()
    if text == "latest":
        return Constraints()
    if not text.startswith(("file:", "packages:")):
        return Constraints(file=inputs.parse_path(value, name))
    allowed = "`latest`, a constraints file of the project, or `packages: cython==3.1.4 setuptools<81`"
    fields = inputs.parse_fields(value, name, ("file", "packages"), "", allowed)
    if len(fields) != 1 or len(fields.get("file", ("",))) != 1:
        raise inputs.refuse(value, name, allowed)
    return Constraints(file=fields.get("file", ("",))[0], packages=fields.get("packages", ()))


def _parse_verbosity(value: Value, name: str) -> int:
    if not re.fullmatch("[+-]?[0-9]", value.value.strip()) or abs(int(value.value)) > _MAX_VERBOSITY:
        raise inputs.refuse(value, name, f"a whole number from -{_MAX_VERBOSITY} to {_MAX_VERBOSITY}")
    return int(value.value)


def _parse_command(value: Value, name: str) -> str:
    if "\0" in value.value:
        raise inputs.refuse(value, name, "a shell command without NUL characters")
    return value.value.strip()


def _parse_extras(value: Value, name: str) -> tuple[str, ...]:
    extras = inputs.parse_list(value)
    for extra in extras:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", extra):
            raise inputs.refuse(value, name, f"names of extras separated by commas (`{extra}` is not one)")
    return extras


PARSERS: Final[Mapping[str, Parser]] = {
    "environment": assignments.parse,
    "environment-pass": inputs.parse_words,
    "config-settings": inputs.parse_settings,
    "build-frontend": parse_front_end,
    "build-verbosity": _parse_verbosity,
    "dependency-versions": parse_constraints,
    "before-all": _parse_command,
    "before-build": _parse_command,
    "repair-wheel-command": _parse_command,
    "repair-exclude": inputs.parse_words,
    "repair-strip": inputs.parse_flag,
    "audit-command": _parse_command,
    "audit-requires": inputs.parse_words,
    "test-command": _parse_command,
    "before-test": _parse_command,
    "test-requires": inputs.parse_words,
    "test-extras": _parse_extras,
    "test-groups": inputs.parse_words,
    "test-sources": inputs.parse_words,
    "test-environment": assignments.parse,
    "test-in": inputs.parse_image,
}


def _before_all(value: Callable[[str], Value], without_projects: Callable[[str], Value]) -> BeforeAll | None:
    """Return the command; the project's variables apply only to the project's own command.

    Otherwise a pull request could set PATH or LD_PRELOAD and run its code as root in the workflow's command.
    """
    chosen = value("before-all")
    source = value if chosen.is_projects else without_projects
    command = _parse_command(chosen, "before-all")
    if not command:
        return None
    environment, environment_pass = _variables(source)
    return BeforeAll(command=command, environment=environment, environment_pass=environment_pass)


def _variables(value: Callable[[str], Value]) -> tuple[tuple[Assignment, ...], tuple[str, ...]]:
    """Return assignments and names of the caller's variables, with those that a container is created with."""
    engine = parse_container_engine(value("container-engine"), "container-engine")
    made = assignments.parse(value("environment"), "environment")
    passed = inputs.parse_words(value("environment-pass"), "environment-pass")
    return (*engine.variables, *made), (*engine.passed, *passed)


def _repair(command: str, exclude: tuple[str, ...], *, strip: bool) -> Repair:
    """A command that only runs auditwheel with known options becomes the built-in repair."""
    if command in {"", Repairer.NONE}:
        return Repair(by=Repairer.NONE, exclude=exclude)
    if command == Repairer.AUDITWHEEL:
        return Repair(exclude=exclude, strip=strip)
    known = _auditwheel_options(command)
    exclude += tuple(known.exclude)
    ours = known.words == ["auditwheel", "repair", "{wheel}"] and known.wheel_dir == "{dest_dir}"
    if ours and not _NEEDS_SHELL.search(command):
        return Repair(exclude=exclude, strip=strip or known.strip)
    return Repair(by=Repairer.COMMAND, command=command, exclude=exclude)


def _auditwheel_options(command: str) -> argparse.Namespace:
    """Return auditwheel's known options, and the other `words`."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--strip", action="store_true")
    parser.add_argument("-w", "--wheel-dir")
    try:
        known, words = parser.parse_known_args(shlex.split(command))
    except (ValueError, argparse.ArgumentError):  # the shell will report it
        return argparse.Namespace(exclude=[], words=[], wheel_dir=None)
    known.words = words
    return known
