"""Find the lines of a build's log that explain why it failed.

A log is read once, in bounded memory; of a very long one, only the two ends. Of the lines that match
`patterns.PATTERNS`, the best rank counts. Within a rank, the first line wins, since others follow from it; of
tracebacks the last, which ended the program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.build.logs.patterns import (
    CHAIN,
    COLUMNS,
    KILLED,
    PATTERNS,
    RESOLUTION,
    Location,
    PatternMatch,
    Rank,
    matched,
    traceback_end,
)
from manywheels.build.logs.scan import Scan, blocks
from manywheels.build.logs.tracebacks import own_frames
from manywheels.core.log_files import is_longer, open_ends

if TYPE_CHECKING:
    from manywheels.core.cancellation import Cancellation

__all__ = ["Excerpt", "Location", "last_lines", "telling_excerpt"]

_VAGUE: Final = 3  # lines shown before an error without a location
_COMMAND_FAILED: Final = "CalledProcessError"  # an exception: the command has said why before
_OF_A_COMMAND: Final = 6  # lines shown before it
# The next step of a build, unrelated to an error before it: setuptools, ninja, make, a command's echo.
_NEXT_STEP: Final = re.compile(
    r"(?:building '|creating |copying |running |\[\s*\d+(?:/\d+|%)\] |make(?:\[\d+\])?: (?:Entering|Leaving) )"
    r"|\S*/(?:cc|c\+\+|gcc|g\+\+|clang|clang\+\+|[\w.-]+-(?:gcc|g\+\+))(?:-\d+)? .*\s-[co]\s"
)


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The part of a log that explains a failure.

    `lines` have no control characters, and at most 500 characters each. If no pattern matched, they are the log's last
    ones, and `reason` is empty. `first_line` counts from 1; None if lines between are left out. `killed` means that
    a process was killed, usually for lack of memory, `unresolved` that a requirement was not found.
    """

    lines: tuple[str, ...]
    first_line: int | None
    reason: str
    location: Location | None
    killed: bool = False
    unresolved: bool = False


def last_lines(log: Path, cancellation: Cancellation, *, limit: int = 30) -> tuple[str, ...]:
    """Return the last lines of a log, none if unreadable. Raises Cancelled."""
    return _ending(_scanned(log, cancellation, limit=limit), limit=limit).lines


def telling_excerpt(log: Path, cancellation: Cancellation, *, limit: int = 30) -> Excerpt:
    """Return at most `limit` lines that explain the failure; none if unreadable. Raises Cancelled."""
    scan = _scanned(log, cancellation, limit=max(limit, 1))
    found = scan.verdict()
    if found is None:
        return _ending(scan, limit=max(limit, 1))
    return _excerpt(found, limit=max(limit, 1), numbered=scan.is_whole)


def _scanned(log: Path, cancellation: Cancellation, *, limit: int) -> Scan:
    scan = Scan(limit=limit)
    try:
        scan.is_whole = not is_longer(log)
        with open_ends(log) as stream:
            for block in blocks(stream):
                cancellation.stop_if_requested("Reading a log")
                scan.feed(block)
    except OSError:
        pass  # the failure must be reported without it too
    return scan


def _ends(line: str) -> bool:
    """Whether a line starts a report that only says that something failed."""
    return any(one.regex.match(line) for one in PATTERNS if one.last or one.rank >= Rank.COMMAND)


def _body(after: list[str], rank: Rank, *, limit: int) -> tuple[int, list[str]]:
    """Return how many lines to skip at the start of a report, which begins `after`, and the lines to show."""
    end = traceback_end(after) if rank == Rank.TRACEBACK else None
    first = end or 0
    if rank < Rank.COMMAND:
        stop = (n for n, line in enumerate(after) if n > first and (_ends(line) or (end and CHAIN.match(line))))
        after = after[: next(stop, len(after))]
    if rank <= Rank.DRIVER:
        after = after[:1] + list(takewhile(lambda line: not _NEXT_STEP.match(line), after[1:]))
    while after and not after[-1]:
        after = after[:-1]
    # A traceback's end matters most: the exception and its nearest frames.
    skipped = max(0, min(first + 1, len(after)) - limit) if end else 0
    return skipped, after[skipped : skipped + limit]


def _lead(found: PatternMatch, *, limit: int) -> list[str]:
    """Return the lines before a report that belong to it, or may explain a vague one."""
    pattern, before = found.pattern, found.before
    if pattern.rank >= Rank.COMMAND:
        count = limit // 2
    elif pattern.rank == Rank.TRACEBACK and _COMMAND_FAILED in found.after[traceback_end(found.after) or 0]:
        count = min(_OF_A_COMMAND, limit // 2)
    elif pattern.rank >= Rank.GENERIC:
        count = min(_VAGUE, limit // 2)
    else:
        belonging = takewhile(lambda line: pattern.lead and pattern.lead.match(line), reversed(before))
        count = min(len(list(belonging)), limit // 2)
    lead = before[len(before) - min(count, len(before)) :]
    return list(dropwhile(lambda line: not line, lead))


def _excerpt(found: PatternMatch, *, limit: int, numbered: bool) -> Excerpt:
    reason, location = (found.pattern.explain or matched)(found)
    after = found.after
    if found.pattern.rank == Rank.TRACEBACK and (end := traceback_end(after)):
        after = own_frames(after, end)
        numbered = numbered and after == found.after
    skipped, body = _body(after, found.pattern.rank, limit=limit)
    lead = [] if skipped else _lead(found, limit=limit)
    lines = [*lead, *body][:limit]
    return Excerpt(
        lines=tuple(line[:COLUMNS] for line in lines),
        first_line=found.number + skipped - len(lead) if numbered else None,
        reason=reason,
        location=location,
        killed=found.pattern.name in KILLED,
        unresolved=found.pattern.name == RESOLUTION,
    )


def _ending(scan: Scan, *, limit: int) -> Excerpt:
    lines = tuple(line[:COLUMNS] for line in scan.tail[-limit:])
    first = max(1, scan.lines - len(lines) + 1) if scan.is_whole else None
    return Excerpt(lines=lines, first_line=first, reason="", location=None)
