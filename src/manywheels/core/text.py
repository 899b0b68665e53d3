"""Sizes and durations for users; untrusted text without control characters or CI commands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

_SHOWN: Final = 4  # names in a message
# Moves the cursor, ends a line, changes the writing direction, or is a surrogate.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_COMMAND: Final = re.compile(r"##(?=\[)|section(?=_(?:start|end):)")


def quote(line: str) -> str:
    return f"  │ {sanitize(line)}"


def sanitize(line: str) -> str:
    """Return one line without control characters and CI commands.

    GitHub's runner reads `::name::` at the beginning of a line and `##[name]` anywhere, GitLab's `section_start:`. A
    backslash divides them: the runner ignores zero-width characters.
    """
    shown = _COMMAND.sub(lambda found: found[0] + "\\", clean(line))
    return f"\\{shown}" if shown.lstrip().startswith("::") else shown


def clean(line: str) -> str:
    """Replace control characters by blanks."""
    return _CONTROL.sub(" ", line)


def parts(words: str) -> list[tuple[str, bool]]:
    """Return a line's parts, and whether each stood between backticks."""
    pieces = re.split(r"`([^`]*)`", clean(words))
    return [(piece, bool(number % 2)) for number, piece in enumerate(pieces) if piece]


def shorten(words: str, most: int) -> str:
    """Return at most that many characters, with `…` for what was left out."""
    return words if len(words) <= most else f"{words[: most - 1]}…"


def some(names: Sequence[str], most: int = _SHOWN) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def size(count: int) -> str:
    """Format bytes as `417 kB` or `3.2 MB` (decimal units)."""
    if count < 999_500:  # noqa: PLR2004 - more rounds to 1000 kB
        return f"{max(1, round(count / 1000))} kB"
    return f"{count / 1_000_000:.1f} MB"


def duration(seconds: float) -> str:
    if seconds < 99.95:  # noqa: PLR2004 - more rounds to 100.0 s
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"


def natural(identifier: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key by which `cp39` comes before `cp310`."""
    return tuple((int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", identifier))


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ` (did you mean `near`?)` with the nearest known word; empty if none is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f" (did you mean `{near[0]}`?)" if near else ""
