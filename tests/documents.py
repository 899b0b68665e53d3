"""The code that the documentation shows: fenced blocks, code within text, and the commands in them, with places."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from textwrap import dedent

from conftest import ROOT

PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
SHELLS = ("console", "sh", "bash")
# Programs that start the one that is named after them.
_STARTERS = ("docker run", "podman run", "uvx", "uv run", "uv tool run", "sudo", "env", "nice")
_FENCE = re.compile(r" *(`{3,}|~{3,}) *([^`]*)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block; `line` is that of its first line of code, from 1."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it is, as `docs/options.md:16`."""
        return f"{self.page}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """One line of a shell, as it is typed; `shown` is what the page shows of its output."""

    place: str
    text: str
    shown: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Words, ...]:
        """The commands that the line consists of."""
        return tuple(_parts(self.text))


@dataclass(frozen=True, kw_only=True)
class Words:
    """A command without operators and redirections: the variables that it sets, and its words."""

    variables: dict[str, str]
    words: tuple[str, ...]

    @property
    def of_manywheels(self) -> list[str] | None:
        """The arguments that manywheels gets, wherever it is installed and whoever starts it; None if it is another."""
        for number, word in enumerate(self.words):
            if PurePosixPath(word).name == "manywheels":
                before = " ".join(self.words[:number])
                started = not before or any(f"{before} ".startswith(f"{name} ") for name in _STARTERS)
                return list(self.words[number + 1 :]) if started else None
        return None


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks_of(markdown: str, page: str) -> list[Block]:
    """Return the fenced blocks of a page, those in lists too."""
    found: list[Block] = []
    code: list[str] | None = None
    language, fence, start = "", "", 0
    for number, line in enumerate(markdown.splitlines(), 1):
        if code is None:
            if opened := _FENCE.fullmatch(line):
                code, fence, language, start = [], opened[1], opened[2].strip(), number + 1
        elif re.fullmatch(rf" *{fence[0]}{{{len(fence)},}} *", line):
            found.append(Block(page=page, line=start, language=language, text=dedent("\n".join([*code, ""]))))
            code = None
        else:
            code.append(line)
    assert code is None, f"{page}:{start}: the block has no end"
    return found


def inline_code_of(markdown: str, page: str) -> list[Command]:
    """Return the code within a page's text and tables."""
    found: list[Command] = []
    fence = ""
    for number, line in enumerate(markdown.splitlines(), 1):
        if opened := _FENCE.fullmatch(line):
            fence = "" if opened[1] == fence else fence or opened[1]
        elif not fence:
            codes = (code for _, code in re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", line))
            found += (Command(place=f"{page}:{number}", text=code.replace(r"\|", "|").strip()) for code in codes)
    return found


def commands_of(block: Block) -> list[Command]:
    """Return the lines of a shell's block: all of a script, and those of a session that have a prompt."""
    found: list[Command] = []
    lines = enumerate(block.text.splitlines(), block.line)
    for number, line in lines:
        if block.language == "console" and not line.startswith("$ "):
            assert found or not line, f"{block.page}:{number}: output, and no command with `$ ` before it"
            found[-1:] = [replace(last, shown=(*last.shown, line)) for last in found[-1:]]
            continue
        text = line.removeprefix("$ ") if block.language == "console" else line
        while text.endswith("\\"):
            text = text[:-1] + next(lines)[1].removeprefix("> ")
        if text.strip() and not text.lstrip().startswith("#"):
            found.append(Command(place=f"{block.page}:{number}", text=text.strip()))
    return found


def is_pattern(text: str) -> bool:
    """Whether a reader has to fill in something: `DIR…`, `[CODE]`, `IMAGE`."""
    return bool(re.search(r"[…\[|]|(?<![\w-])[A-Z]{4,}(?![\w-])", text))


def _parts(text: str) -> Iterator[Words]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    tokens = iter(lexer)
    for token in tokens:
        if not set(token) <= set("();<>|&"):
            words.append(token)
        elif set(token) & set("<>"):
            next(tokens)  # the file
        else:
            yield from _words(words)
            words = []
    yield from _words(words)


def _words(words: Iterable[str]) -> Iterator[Words]:
    words = list(words)
    variables = {}
    while words and (assigned := re.fullmatch(r"([A-Za-z_]\w*)=(.*)", words[0], re.DOTALL)):
        variables[assigned[1]] = assigned[2]
        del words[0]
    if words:
        yield Words(variables=variables, words=tuple(words))
