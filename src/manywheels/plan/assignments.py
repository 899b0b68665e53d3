"""Environment variables in POSIX shell syntax: `CFLAGS="-O3 -g0" PATH="$PATH:/opt/bin"`.

Quotes, backslashes, `$NAME` and `${NAME}` work as in a shell, but none runs: what needs one (`$(command)`, backticks,
`${NAME:-other}`, `;`, `~`) is refused, not taken as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from manywheels.errors import InputError
from manywheels.plan.inputs import Value, refuse

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_PLAIN: Final = re.compile(r"[^\s'\"\\$`;|&<>()]+")
_IN_QUOTES: Final = re.compile(r'[^"\\$`]+')
_TILDE: Final = "`~` needs a shell; write `$HOME`"


@dataclass(frozen=True)
class Reference:
    """`$NAME` in a value, expanded at the assignment; empty if unset."""

    name: str


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A variable and the parts of its value, in order."""

    name: str
    value: tuple[str | Reference, ...]


def expand(assignments: tuple[Assignment, ...], environment: Mapping[str, str]) -> dict[str, str]:
    """Each assignment sees the earlier ones."""
    result = dict(environment)
    for assignment in assignments:
        result[assignment.name] = "".join(
            result.get(part.name, "") if isinstance(part, Reference) else part for part in assignment.value
        )
    return result


def parse(value: Value, name: str) -> tuple[Assignment, ...]:
    """Raises InputError, also for what needs a shell."""
    if "\0" in value.value:
        raise _refuse(value, name, "no variable can hold a NUL character")
    reader = _Reader(value.value)
    try:
        return tuple(reader.assignments())
    except _Unreadable as unreadable:
        raise _refuse(value, name, str(unreadable)) from None


def _refuse(value: Value, name: str, reason: str) -> InputError:
    return refuse(value, name, f"words of the form `NAME=value`, quoted if they contain blanks ({reason})")


class _Unreadable(Exception):
    """Why the text is not a list of assignments."""


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def assignments(self) -> list[Assignment]:
        found = []
        while self._skip_blanks():
            start = self._at
            name = self._take(_NAME)
            if not name or not self._text.startswith("=", self._at):
                word = self._text[start:].split()[0]
                raise _Unreadable(f"`{word}` is not one")
            self._at += 1
            found.append(Assignment(name=name, value=self._value()))
        return found

    def _skip_blanks(self) -> bool:
        while self._at < len(self._text) and (
            self._text[self._at].isspace() or self._text.startswith("\\\n", self._at)
        ):
            self._at += 1 if self._text[self._at].isspace() else 2
        return self._at < len(self._text)

    def _value(self) -> tuple[str | Reference, ...]:
        parts: list[str | Reference] = []
        if self._text.startswith("~", self._at):
            raise _Unreadable(_TILDE)
        while self._at < len(self._text) and not self._text[self._at].isspace():
            parts += self._piece()
        return _joined(parts)

    def _piece(self) -> list[str | Reference]:
        match self._text[self._at]:
            case "'":
                end = self._text.find("'", self._at + 1)
                if end < 0:
                    raise _Unreadable("a quote is not closed")
                quoted = self._text[self._at + 1 : end]
                self._at = end + 1
                return [quoted]
            case '"':
                return self._double_quoted()
            case "\\":
                return self._escaped(everywhere=True)
            case "$" | "`":
                return [self._reference()]
        plain = self._take(_PLAIN)
        if not plain:
            raise _Unreadable(f"`{self._text[self._at]}` must be quoted: no shell evaluates this")
        if ":~" in plain:
            raise _Unreadable(_TILDE)
        return [plain]

    def _double_quoted(self) -> list[str | Reference]:
        self._at += 1
        parts: list[str | Reference] = []
        while self._at < len(self._text):
            match self._text[self._at]:
                case '"':
                    self._at += 1
                    return parts
                case "\\":
                    parts += self._escaped(everywhere=False)
                case "$" | "`":
                    parts.append(self._reference())
                case _:
                    parts.append(self._take(_IN_QUOTES))
        raise _Unreadable("a quote is not closed")

    def _escaped(self, *, everywhere: bool) -> list[str | Reference]:
        """In double quotes, a backslash only escapes special characters."""
        letter = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if letter == "\n":
            return []
        if everywhere:
            if not letter:
                raise _Unreadable("a backslash ends it")
            return [letter]
        return [letter if letter and letter in '$`"\\' else f"\\{letter}"]

    def _reference(self) -> str | Reference:
        if match := _REFERENCE.match(self._text, self._at):
            self._at = match.end()
            return Reference(match[1] or match[2])
        following = self._text[self._at + 1 : self._at + 2]
        if self._text[self._at] == "`" or following == "(":
            raise _Unreadable("no shell evaluates this, so commands cannot be run; set the variable in the caller's "
                              "environment and name it in `environment-pass`")  # fmt: skip
        if following == "{" or (following and following in "0123456789@*#?$!-"):
            raise _Unreadable("of `$…`, only `$NAME` and `${NAME}` can be used")
        self._at += 1
        return "$"

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if not match:
            return ""
        self._at = match.end()
        return match[0]


def _joined(parts: list[str | Reference]) -> tuple[str | Reference, ...]:
    """Join neighbouring strings: a value must not depend on how it was quoted."""
    joined: list[str | Reference] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)
