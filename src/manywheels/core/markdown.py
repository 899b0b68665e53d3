"""Text of projects in Markdown: none of it can become markup.

Names stand in `<code>` with all punctuation as character references, which are never syntax (CommonMark 6.2) nor
mentions or addresses (GitHub's filters pass over code), and lines of logs stand in fences longer than any that they
hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from manywheels.core import text

LIMIT: Final = 1_000_000  # bytes; the runner refuses a file beyond 1024 KiB, and others may write into it as well
_LONGEST: Final = 1_000  # characters of a name


def code(words: str) -> str:
    """Return one line as code that holds no markup, whatever is in it, cut where no name ends."""
    inert = _inert(text.clean(words).strip()[:_LONGEST])
    return f"<code>{inert}</code>" if inert else ""


def _inert(words: str) -> str:
    shown = re.sub(r"(?<!\S)[+=-]|[^\w ,/+=-]|_", lambda found: f"&#{ord(found[0])};", words)
    # Addresses of mail are looked for in what has been rendered; the comment parts the text there.
    return shown.replace("&#64;", "&#64;<!-- -->")


def prose(words: str) -> str:
    """Return one line of text without markup, but for what stands between two backticks."""
    return "".join(code(part) if quoted else _inert(part) for part, quoted in text.parts(words.strip())).strip()


def fenced(lines: Iterable[str]) -> str:
    """Return lines as a block of code whose fence none of them can close."""
    shown = [text.clean(line) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}text", *shown, fence])


def size_in_bytes(part: str) -> int:
    """Return the length of a text in UTF-8."""
    return len(part.encode())


def within(budget: int, pieces: Iterable[str], what: str, where: str = "the manifest and the logs") -> str:
    """Join as many pieces as fit into a number of bytes; a last line says how many were left out, and where to look."""
    taken, left_out = [], 0
    room = budget - 100  # for that last line
    for piece in pieces:
        room -= size_in_bytes(piece) + 1
        if room < 0:
            left_out += 1
        else:
            taken.append(piece)
    if left_out:
        taken.append(f"\n*{left_out} more {what}: see {where}.*\n")
    return "\n".join(taken)
