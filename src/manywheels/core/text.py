"""Words and numbers as users read them, and text of others made harmless."""

from __future__ import annotations

import re
from typing import Final

# What moves a cursor, ends a line, turns the direction of writing, or cannot be written as UTF-8.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COMMAND: Final = re.compile(r"##(?=\[)|section(?=_(?:start|end):)")


def quote(line: str) -> str:
    """Return a line of somebody else's output behind a bar, so that no CI reads a command in it.

    GitHub's runner reads `::name::` at a line's beginning and `##[name]` anywhere; GitLab's reads `section_start:`.
    """
    return f"  │ {sanitize(line)}"


def sanitize(line: str) -> str:
    """Return one line without control characters and without what a CI would read as a command of its own.

    A backslash goes between the characters of such a command: the runner compares as a language does, and passes over
    characters of no width.
    """
    shown = _COMMAND.sub(lambda found: found[0] + "\\", clean(line))
    return f"\\{shown}" if shown.lstrip().startswith("::") else shown


def clean(line: str) -> str:
    """Return one line without control characters: each becomes a blank."""
    return _CONTROL.sub(" ", line)


def parts(words: str) -> list[tuple[str, bool]]:
    """Return a line in parts, each with whether it stood between two backticks."""
    pieces = re.split(r"`([^`]*)`", clean(words))
    return [(piece, bool(number % 2)) for number, piece in enumerate(pieces) if piece]


def size(count: int) -> str:
    """Return a number of bytes as `417 kB` or `3.2 MB` (decimal units)."""
    if count < 999_500:  # noqa: PLR2004 - what rounds to 1000 kB is 1.0 MB
        return f"{max(1, round(count / 1000))} kB"
    return f"{count / 1_000_000:.1f} MB"


def duration(seconds: float) -> str:
    """Return seconds as `8.3 s` or `2 min 05 s`."""
    if seconds < 99.95:  # noqa: PLR2004 - beyond it, minutes read better
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
