"""Sizes and durations for users, and untrusted text without control characters or CI commands."""

from __future__ import annotations

import re
from typing import Final

# What moves the cursor, ends a line, changes the writing direction, or is not UTF-8 (surrogates).
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COMMAND: Final = re.compile(r"##(?=\[)|section(?=_(?:start|end):)")


def quote(line: str) -> str:
    """Return a line of project code's output behind a bar, sanitized."""
    return f"  │ {sanitize(line)}"


def sanitize(line: str) -> str:
    """Return one line without control characters and without a CI's commands.

    GitHub's runner reads `::name::` at the beginning of a line and `##[name]` anywhere, GitLab's `section_start:`. A
    backslash divides them: the runner's comparison ignores characters of no width.
    """
    shown = _COMMAND.sub(lambda found: found[0] + "\\", clean(line))
    return f"\\{shown}" if shown.lstrip().startswith("::") else shown


def clean(line: str) -> str:
    """Return one line with control characters replaced by blanks."""
    return _CONTROL.sub(" ", line)


def parts(words: str) -> list[tuple[str, bool]]:
    """Return the parts of a line, each with whether it stood between backticks."""
    pieces = re.split(r"`([^`]*)`", clean(words))
    return [(piece, bool(number % 2)) for number, piece in enumerate(pieces) if piece]


def size(count: int) -> str:
    """Format a number of bytes as `417 kB` or `3.2 MB` (decimal units)."""
    if count < 999_500:  # noqa: PLR2004 - more rounds to 1000 kB
        return f"{max(1, round(count / 1000))} kB"
    return f"{count / 1_000_000:.1f} MB"


def duration(seconds: float) -> str:
    """Format seconds as `8.3 s` or `2 min 05 s`."""
    if seconds < 99.95:  # noqa: PLR2004 - more rounds to 100.0 s
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
