"""What GitHub's runner and GitLab read out of a job's log, ported from their sources.

GitHub: `ActionCommand.TryParseV2`, `TryParse`, `OutputManager` and .NET's `StreamReader.ReadLine` (actions/runner).
GitLab: `Gitlab::Regex.build_trace_section_regex` (gitlab-org/gitlab, lib/gitlab/regex.rb).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

# ActionCommandManager registers them; `internal-set-repo-path` only for plugins, but it does no harm to be careful.
REGISTERED: Final = frozenset({
    "add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "internal-set-repo-path",
    "notice", "remove-matcher", "save-state", "set-env", "set-output", "stop-commands", "warning",
})  # fmt: skip
_WHITE_SPACE: Final = "\t\n\v\f\r\x85" + "".join(  # Char.IsWhiteSpace
    character for character in map(chr, range(0x3001)) if unicodedata.category(character) in {"Zs", "Zl", "Zp"}
)
_SECTION: Final = re.compile(
    r"section_((?:start)|(?:end)):(\d+):([a-zA-Z0-9_.-]+)(\[(?:\w+=\w+)(?:, ?(?:\w+=\w+))*\])?\r\x1b\[0K", re.ASCII
)


@dataclass(frozen=True, kw_only=True)
class Command:
    name: str
    properties: dict[str, str]
    data: str


def lines_of(output: str) -> list[str]:
    r"""Split as .NET's StreamReader.ReadLine does: at \r, \n and \r\n, at nothing else."""
    return re.split(r"\r\n|\r|\n", output)


def github_commands(output: str) -> list[Command]:
    """Return the commands that the runner would carry out."""
    return [command for line in lines_of(output) if (command := parse(line))]


def gitlab_sections(output: str) -> list[tuple[str, str]]:
    """Return the sections' marks that GitLab would obey: `start` or `end`, and the name."""
    return [(match[1], match[3]) for match in _SECTION.finditer(output)]


def parse(line: str) -> Command | None:
    return _parse_v2(line) or _parse_v1(line)


def _parse_v2(line: str) -> Command | None:
    message = line.lstrip(_WHITE_SPACE)
    if not _starts(message, "::"):
        return None
    for end in _places(message, "::", 2):
        name, _, properties = message[2:end].partition(" ")
        if name.lower() in REGISTERED:
            pairs = (part.split("=", 1) for part in properties.strip().split(",") if part)
            found = {pair[0]: _unescape(pair[1], ":,") for pair in pairs if len(pair) == 2 and all(pair)}
            return Command(name=name.lower(), properties=found, data=_unescape(message[end + 2 :], ""))
    return None


def _parse_v1(message: str) -> Command | None:
    for start in _places(message, "##[", 0):
        end = message.find("]", start)
        name = message[start + 3 : end].partition(" ")[0] if end >= 0 else ""
        if name.lower() in REGISTERED:
            return Command(name=name.lower(), properties={}, data=message[end + 1 :])
    return None


def _unescape(words: str, more: str) -> str:
    for character in f"\r\n{more}%":
        words = words.replace(f"%{ord(character):02X}", character)
    return words


def _starts(message: str, needle: str) -> bool:
    return 0 in _places(message, needle, 0)


def _places(message: str, needle: str, start: int) -> Iterator[int]:
    """Yield where `needle` may be found: the runner compares by culture, which passes over what has no width.

    Where a match begins behind such characters, both places are given: which one it is depends on ICU's version.
    """
    for place in range(start, len(message)):
        at = place
        for wanted in needle:
            while at < len(message) and _is_ignorable(message[at]):
                at += 1
            if at >= len(message) or message[at] != wanted:
                break
            at += 1
        else:
            yield place


def _is_ignorable(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Cf", "Cc", "Cs"} and character not in "\t\n\v\f\r\x85"
    ) or character in "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\ufe00\ufe0f\uffa0"
