"""Words in POSIX shell syntax, as in `"$HOME/x:$PATH"`: quotes, backslashes, variables, and commands in `$(…)`.

No shell runs. A command is a program with its arguments, as in cibuildwheel; several are separated by `;`. What only a
shell can do (pipes, redirections, arithmetic, `~`) is refused, not taken as text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from manywheels.errors import TargetError

_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_REFERENCE: Final = re.compile(rf"\$(?:\{{({_NAME})\}}|({_NAME}))")
_WITH_DEFAULT: Final = re.compile(rf"\$\{{({_NAME})(:?)-")
_ASSIGNED: Final = re.compile(rf"{_NAME}=")
_PLAIN: Final = re.compile(r"[^\s'\"\\$`;|&<>()}]+")
_IN_QUOTES: Final = re.compile(r'[^"\\$`]+')
_BLANKS: Final = re.compile(r"(?:[^\S\n]|\\\n)+")
_SPECIAL: Final = "0123456789@*#?$!-"
_KEYWORDS: Final = frozenset({"if", "for", "while", "until", "case", "select", "function", "time", "coproc", "!",
                              "{", "[["})  # fmt: skip
_TILDE: Final = "`~` needs a shell; write `$HOME`"
_DEEPEST: Final = 10  # commands and defaults within one another
LARGEST: Final = 128 << 10  # the kernel's limit for a variable, in bytes

# Runs a program with arguments, in an environment; returns its output.
Run = Callable[[tuple[str, ...], Mapping[str, str]], str]


@dataclass(frozen=True)
class Reference:
    """`$NAME`, or `${NAME:-otherwise}`. Without `otherwise`, an unset variable is empty."""

    name: str
    otherwise: Word = ()
    if_empty: bool = False


@dataclass(frozen=True)
class Substitution:
    """`$(…)`: the output of commands without blanks at its end; `text` is how it was written."""

    commands: tuple[tuple[Word, ...], ...]
    text: str


Part = str | Reference | Substitution
Word = tuple[Part, ...]


class Unreadable(Exception):
    """Why a text is not made of such words."""


def text_of(word: Word, environment: Mapping[str, str], run: Run) -> str:
    """Raises TargetError for a text that no variable can hold."""
    texts, left = list[str](), LARGEST
    for part in word:
        texts.append(_text(part, environment, run))
        left -= len(texts[-1])
        if left < 0:
            raise TargetError(
                f"A variable in `environment` would have more than {LARGEST} characters, which is the kernel's limit.",
                remedy="Shorten it: a value that repeats others grows with each of them.",
            )
    return "".join(texts)


def _text(part: Part, environment: Mapping[str, str], run: Run) -> str:
    match part:
        case Reference():
            value = environment.get(part.name)
            needs_other = value is None or (part.if_empty and not value)
            return text_of(part.otherwise, environment, run) if needs_other else value or ""
        case Substitution():
            return output_of(part, environment, run)
    return part


def output_of(part: Substitution, environment: Mapping[str, str], run: Run) -> str:
    commands = (tuple(text_of(word, environment, run) for word in command) for command in part.commands)
    return "".join(run(command, environment) for command in commands).rstrip()


def has_commands(word: Word) -> bool:
    return any(
        isinstance(part, Substitution) or (isinstance(part, Reference) and has_commands(part.otherwise))
        for part in word
    )


def with_texts(word: Word, change: Callable[[str], str]) -> Word:
    """Return the word with its plain texts changed, also those inside of commands and defaults."""
    return tuple(_with_texts(part, change) for part in word)


def _with_texts(part: Part, change: Callable[[str], str]) -> Part:
    match part:
        case Reference():
            return Reference(part.name, with_texts(part.otherwise, change), part.if_empty)
        case Substitution():
            commands = tuple(tuple(with_texts(word, change) for word in command) for command in part.commands)
            return Substitution(commands, change(part.text))
    return change(part)


class Reader:
    """Reads words from a text; raises Unreadable. `depth` counts the commands and defaults around it."""

    def __init__(self, text: str, depth: int = 0) -> None:
        self._text = text
        self._at = 0
        self._depth = depth

    @property
    def rest(self) -> str:
        return self._text[self._at :]

    def skip_blanks(self) -> bool:
        """Return whether anything follows; a comment does not count."""
        while self._at < len(self._text):
            if self._text[self._at].isspace():
                self._at += 1
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
            elif self._text[self._at] == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return True
        return False

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if not match:
            return ""
        self._at = match.end()
        return match[0]

    def word(self, ends: str = "") -> Word:
        """Read up to a blank, or one of the characters `ends`."""
        parts: list[Part] = []
        if self._text.startswith("~", self._at):
            raise Unreadable(_TILDE)
        while self._at < len(self._text) and self._text[self._at] not in ends and not self._text[self._at].isspace():
            parts += self._piece()
        return _joined(parts)

    def _piece(self) -> list[Part]:
        match self._text[self._at]:
            case "'":
                end = self._text.find("'", self._at + 1)
                if end < 0:
                    raise Unreadable("a quote is not closed")
                quoted = self._text[self._at + 1 : end]
                self._at = end + 1
                return [quoted]
            case '"':
                return self._double_quoted()
            case "\\":
                return self._escaped(everywhere=True)
            case "$" | "`":
                return [self._expansion(quoted=False)]
            case "}":
                self._at += 1
                return ["}"]
        plain = self.take(_PLAIN)
        if not plain:
            raise Unreadable(f"`{self._text[self._at]}` must be quoted: no shell evaluates this")
        if ":~" in plain:
            raise Unreadable(_TILDE)
        return [plain]

    def _double_quoted(self) -> list[Part]:
        self._at += 1
        parts: list[Part] = []
        while self._at < len(self._text):
            match self._text[self._at]:
                case '"':
                    self._at += 1
                    return parts
                case "\\":
                    parts += self._escaped(everywhere=False)
                case "$" | "`":
                    parts.append(self._expansion(quoted=True))
                case _:
                    parts.append(self.take(_IN_QUOTES))
        raise Unreadable("a quote is not closed")

    def _escaped(self, *, everywhere: bool) -> list[Part]:
        """In double quotes, a backslash only escapes special characters."""
        letter = self._text[self._at + 1 : self._at + 2]
        self._at += 2
        if letter == "\n":
            return []
        if everywhere:
            if not letter:
                raise Unreadable("a backslash ends it")
            return [letter]
        return [letter if letter and letter in '$`"\\' else f"\\{letter}"]

    def _expansion(self, *, quoted: bool) -> Part:
        if self._text[self._at] == "`":
            return self._backticks(quoted=quoted)
        if match := _REFERENCE.match(self._text, self._at):
            self._at = match.end()
            return Reference(match[1] or match[2])
        if match := _WITH_DEFAULT.match(self._text, self._at):
            self._at = match.end()
            return Reference(match[1], self._default(quoted=quoted), if_empty=bool(match[2]))
        following = self._text[self._at + 1 : self._at + 2]
        if following == "(":
            return self._substitution()
        if following == "{" or (following and following in (_SPECIAL if quoted else _SPECIAL + "'\"")):
            raise Unreadable("of `$…`, only `$NAME`, `${NAME}`, `${NAME:-other}` and `$(command)` can be used")
        self._at += 1
        return "$"

    def _default(self, *, quoted: bool) -> Word:
        """Read to the brace that closes `${NAME:-`."""
        start = self._at
        with self._deeper():
            word = self.word(ends="}")
        if not self.rest.startswith("}"):
            raise Unreadable("`${NAME:-…}` is not closed, or has a blank without quotes")
        if quoted and "'" in self._text[start : self._at]:  # a shell takes it for a part of the text
            raise Unreadable('single quotes in `"${NAME:-…}"` can be misread; leave them out')
        self._at += 1
        return word

    def _substitution(self) -> Substitution:
        start = self._at
        if self._text.startswith("$((", start):
            raise Unreadable("`$((…))` needs a shell")
        self._at += 2
        with self._deeper():
            commands = self.commands(")")
        if not self.rest.startswith(")"):
            raise Unreadable("`$(` is not closed")
        self._at += 1
        return Substitution(commands, self._text[start : self._at])

    def _backticks(self, *, quoted: bool) -> Substitution:
        start = self._at
        match = re.compile(r"`((?:[^`\\]|\\.)*)`", re.DOTALL).match(self._text, start)
        if not match:
            raise Unreadable("a backtick is not closed")
        self._at = match.end()
        special = r'\\([$`\\"])' if quoted else r"\\([$`\\])"
        with self._deeper():
            inner = Reader(re.sub(special, r"\1", match[1]), self._depth)
            return Substitution(inner.commands(""), self._text[start : self._at])

    @contextmanager
    def _deeper(self) -> Iterator[None]:
        if self._depth == _DEEPEST:
            raise Unreadable(f"commands are nested more than {_DEEPEST} deep")
        self._depth += 1
        yield
        self._depth -= 1

    def commands(self, end: str) -> tuple[tuple[Word, ...], ...]:
        """Read commands separated by `;` or a new line, up to `end` or to the text's end."""
        found: list[list[Word]] = [[]]
        while True:
            self.take(_BLANKS)
            following = self._text[self._at : self._at + 1]
            if following in {"", end}:
                break
            if following in ";\n":
                self._at += 1
                found.append([])
            else:
                found[-1].append(self._argument(f";{end}", is_first=not found[-1]))
        commands = tuple(tuple(words) for words in found if words)
        if not commands:
            raise Unreadable("`$()` has no command")
        return commands

    def _argument(self, ends: str, *, is_first: bool) -> Word:
        start = self._at
        word = self.word(ends)
        written = self._text[start : self._at]
        if written.startswith("#"):
            raise Unreadable("a comment in `$(…)` needs a shell")
        if is_first and (written in _KEYWORDS or _ASSIGNED.match(written)):
            raise Unreadable(f"`{written}` in `$(…)` needs a shell; write `sh -c '…'`")
        return word


def _joined(parts: list[Part]) -> Word:
    """Join neighbouring strings: a value must not depend on how it was quoted."""
    joined: list[Part] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return tuple(joined)
