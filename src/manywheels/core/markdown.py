"""Untrusted text in Markdown, none of which can become markup.

Names stand in `<code>`, where GitHub looks for no mentions or addresses, with punctuation as character references,
never syntax (CommonMark 6.2); logs in fences longer than theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from manywheels.core import text

LIMIT: Final = 1_000_000  # bytes; the runner refuses a summary above 1024 KiB, and others may write to it
_LONGEST: Final = 1_000  # characters of a name


def code(words: str) -> str:
    """Return one line as code, cut after _LONGEST characters."""
    inert = _inert(text.clean(words).strip()[:_LONGEST])
    return f"<code>{inert}</code>" if inert else ""


def _inert(words: str) -> str:
    shown = re.sub(r"(?<!\S)[+=-]|[^\w ,/+=-]|_", lambda found: f"&#{ord(found[0])};", words)
    # Mail addresses are looked for in the rendered text, which the comment divides.
    return shown.replace("&#64;", "&#64;<!-- -->")


def prose(words: str) -> str:
    """Return one line of text; words between backticks become code."""
    return "".join(code(part) if quoted else _inert(part) for part, quoted in text.parts(words.strip())).strip()


def fenced(lines: Iterable[str]) -> str:
    """Return lines as a code block that none of them can close."""
    shown = [text.clean(line) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def size_in_bytes(part: str) -> int:
    return len(part.encode())


def fit(budget: int, pieces: Iterable[str], what: str, where: str = "the manifest and the logs") -> str:
    """Join the pieces that fit into `budget` bytes; a last line counts the rest and says where they are."""
    taken, left_out = [], 0
    left = budget - 100  # for the last line
    for piece in pieces:
        left -= size_in_bytes(piece) + 1
        if left < 0:
            left_out += 1
        else:
            taken.append(piece)
    if left_out:
        taken.append(f"\n*{left_out} more {what}: see {where}.*\n")
    return "\n".join(taken)
