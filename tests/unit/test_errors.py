"""The errors as a whole: codes, exit statuses, remedies; and how one is told."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import manywheels
from manywheels import errors
from manywheels.cli import guard
from manywheels.errors import ManywheelsError, TargetError, VerificationFailed
from manywheels.verify import CHECKS

SOURCES = sorted(Path(manywheels.__file__).parent.rglob("*.py"))
WITHOUT_REMEDY = {"Cancelled", "BuildFailed"}  # the user's own doing; the compiler's own words


def every_error() -> list[type[ManywheelsError]]:
    def below(kind: type[ManywheelsError]) -> Iterator[type[ManywheelsError]]:
        yield kind
        for narrower in kind.__subclasses__():
            yield from below(narrower)

    return list(below(ManywheelsError))


@cache
def raised() -> tuple[tuple[str, int, str, ast.Call], ...]:
    """Return file, line, class and call of each place in the sources where an error is made."""
    return tuple(_raised())


def _raised() -> Iterator[tuple[str, int, str, ast.Call]]:
    names = {kind.__name__ for kind in every_error()}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                yield path.name, node.lineno, node.func.id, node


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_says_what_it_is(kind: type[ManywheelsError]) -> None:
    assert re.fullmatch(r"MW\d{3}", kind.code)
    assert "code" in vars(kind), "a code of its own"
    assert (vars(kind).get("__doc__") or "").strip().endswith(".")
    assert kind.exit_status in {1, 2, 3, 4}


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in every_error()] + [check.code for check in CHECKS]
    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_exit_statuses(kind: type[ManywheelsError]) -> None:
    """0 all done, 1 a target failed, 2 configuration or usage, 3 verification failed, 4 delivery failed."""
    if issubclass(kind, VerificationFailed):
        assert kind.exit_status == 3
    elif issubclass(kind, TargetError):
        assert kind.exit_status == 1
        assert kind.code.startswith("MW1")
    elif kind.code.startswith("MW0"):
        assert kind.exit_status == 2


def test_all_errors_stand_in_one_module() -> None:
    assert {kind.__module__ for kind in every_error()} == {errors.__name__}


def test_every_message_carries_its_remedy() -> None:
    without = []
    for file, line, name, call in raised():
        remedy = next((keyword.value for keyword in call.keywords if keyword.arg == "remedy"), None)
        empty = remedy is None or (isinstance(remedy, ast.Constant) and not remedy.value)
        if empty and name not in WITHOUT_REMEDY:
            without.append(f"{file}:{line} {name}")
    assert without == []


def test_every_error_is_raised_somewhere() -> None:
    used = {name for _, _, name, _ in raised()}
    roots = {"ManywheelsError"}
    assert {kind.__name__ for kind in every_error()} - used - roots == set()


def test_messages_are_sentences() -> None:
    """Literal messages begin with a capital, a quoted name or a variable, and end with a full stop."""
    for file, line, name, call in raised():
        message = call.args[0] if call.args else None
        if isinstance(message, ast.Constant):
            text = str(message.value)
        elif isinstance(message, ast.JoinedStr) and isinstance(message.values[-1], ast.Constant):
            text = str(message.values[-1].value)
        else:
            continue
        assert text.endswith("."), f"{file}:{line} {name}: {text}"


def test_an_error_as_text() -> None:
    assert str(ManywheelsError("It broke.", remedy="Mend it.")) == "It broke.\n  Mend it."
    assert str(ManywheelsError("It broke.", remedy="")) == "It broke."


def test_a_target_error_carries_lines_of_the_log() -> None:
    error = TargetError("It broke.", remedy="Mend it.", excerpt=("a", "b"))
    assert (error.message, error.remedy, error.excerpt) == ("It broke.", "Mend it.", ("a", "b"))


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_told_once_with_code_and_remedy(
    kind: type[ManywheelsError], capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        raise kind("It broke.", remedy="Mend it.")

    with guard.cancellable() as cancellation:
        assert guard.run_guarded(command, cancellation) == kind.exit_status
    captured = capsys.readouterr()
    assert captured.err == f"error {kind.code}: It broke.\n  Mend it.\n"
    assert captured.out == ""


@pytest.mark.parametrize("hostile", ["a\n::set-output name=x::y", "a\r::error::x", "##[error]x", "\x1b[2J"])
def test_no_error_speaks_to_the_ci(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of wheels and members are in messages, and whoever made the wheel chose them."""
    guard.print_error(ManywheelsError(f"`{hostile}` is not a wheel's file name.", remedy="Mend it."))
    told = capsys.readouterr().err
    assert not re.search(r"##\[|[\x00-\x08\x0b-\x1f\x7f-\x9f]|^\s*::", told, re.MULTILINE)


def test_constants_name_the_statuses() -> None:
    named = {name: value for name, value in inspect.getmembers(errors) if name.startswith("EXIT_")}
    assert sorted(named.values()) == [0, 1, 2, 3, 4]
