"""Find, in a build's log, the lines that explain why it failed.

A log is read once, in blocks, in bounded memory, whatever is in it; of one that is very long, the beginning and the
end (`reading`). Each entry of `kinds.KINDS` describes one way in
which tools report a failure; the entry with the best rank explains it. Within a rank the first report wins, because
later ones follow from it; tracebacks are the exception, for the last one ended the program.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.build.logs.kinds import (
    CHAIN,
    COLUMNS,
    KILLED,
    PATTERNS,
    Location,
    PatternMatch,
    Rank,
    matched,
    traceback_end,
)
from manywheels.build.logs.scan import Scan, blocks
from manywheels.core.log_files import is_longer, open_ends

if TYPE_CHECKING:
    from manywheels.core.cancellation import Cancellation

__all__ = ["Excerpt", "Location", "last_lines", "telling_excerpt"]

_VAGUE: Final = 3  # lines shown before an error that does not say where it is
# The next step of a build, which has nothing to do with an error before it: setuptools, ninja, make, a command's echo.
_NEXT_STEP: Final = re.compile(
    r"(?:building '|creating |copying |running |\[\s*\d+(?:/\d+|%)\] |make(?:\[\d+\])?: (?:Entering|Leaving) )"
    r"|\S*/(?:cc|c\+\+|gcc|g\+\+|clang|clang\+\+|[\w.-]+-(?:gcc|g\+\+))(?:-\d+)? .*\s-[co]\s"
)


@dataclass(frozen=True, kw_only=True)
class Excerpt:
    """The part of a log that explains a failure.

    `lines` are free of escape sequences and control characters, and cut at 500 characters; `first_line` is the
    1-based number of the first in the log, None where that is so long that its middle was left out. `reason` is one
    line, empty where no cause was recognized: then `lines` are the log's last ones. `killed` is whether the report is
    of a process that was killed, for memory as a rule.
    """

    lines: tuple[str, ...]
    first_line: int | None
    reason: str
    location: Location | None
    killed: bool = False


def last_lines(log: Path, cancellation: Cancellation, *, limit: int = 30) -> tuple[str, ...]:
    """Return the last lines of a log as they are shown; none if the log cannot be read. Raises Cancelled."""
    return _ending(_scanned(log, cancellation, limit=limit), limit=limit).lines


def telling_excerpt(log: Path, cancellation: Cancellation, *, limit: int = 30) -> Excerpt:
    """Return at most `limit` lines of `log` that explain the failure; none if the log cannot be read.

    Raises Cancelled.
    """
    scan = _scanned(log, cancellation, limit=max(limit, 1))
    sighting = scan.verdict()
    if sighting is None:
        return _ending(scan, limit=max(limit, 1))
    return _excerpt(sighting, limit=max(limit, 1), numbered=scan.is_whole)


def _scanned(log: Path, cancellation: Cancellation, *, limit: int) -> Scan:
    scan = Scan(limit=limit)
    try:
        scan.is_whole = not is_longer(log)
        with open_ends(log) as stream:
            for block in blocks(stream):
                cancellation.stop_if_requested("Reading a log")
                scan.feed(block)
    except OSError:
        # The log explains another failure, which must be reported even where the log is lost.
        pass
    return scan


def _ends(line: str) -> bool:
    """Tell whether `line` begins the report of someone who only knows that something failed."""
    return any(kind.pattern.match(line) for kind in PATTERNS if kind.last or kind.rank >= Rank.COMMAND)


def _body(sighting: PatternMatch, *, limit: int) -> tuple[int, list[str]]:
    """Return how many lines of the report to leave out at its beginning, and those to show."""
    rank, after = sighting.kind.rank, sighting.after
    end = traceback_end(after) if rank == Rank.TRACEBACK else None
    first = end or 0
    if rank < Rank.COMMAND:
        stop = (n for n, line in enumerate(after) if n > first and (_ends(line) or (end and CHAIN.match(line))))
        after = after[: next(stop, len(after))]
    if rank <= Rank.DRIVER:
        after = after[:1] + list(takewhile(lambda line: not _NEXT_STEP.match(line), after[1:]))
    while after and not after[-1]:
        after = after[:-1]
    # A traceback is told from its end: the frames nearest to the exception matter most.
    skipped = max(0, min(first + 1, len(after)) - limit) if end else 0
    return skipped, after[skipped : skipped + limit]


def _lead(sighting: PatternMatch, *, limit: int) -> list[str]:
    """Return the lines before a report that belong to it, or those that may explain a vague one."""
    kind, before = sighting.kind, sighting.before
    if kind.rank >= Rank.COMMAND:
        count = limit // 2
    elif kind.rank >= Rank.GENERIC:
        count = min(_VAGUE, limit // 2)
    else:
        belonging = takewhile(lambda line: kind.lead and kind.lead.match(line), reversed(before))
        count = min(len(list(belonging)), limit // 2)
    lead = before[len(before) - min(count, len(before)) :]
    return list(dropwhile(lambda line: not line, lead))


def _excerpt(sighting: PatternMatch, *, limit: int, numbered: bool) -> Excerpt:
    reason, location = (sighting.kind.telling or matched)(sighting)
    skipped, body = _body(sighting, limit=limit)
    lead = [] if skipped else _lead(sighting, limit=limit)
    lines = [*lead, *body][:limit]
    return Excerpt(
        lines=tuple(line[:COLUMNS] for line in lines),
        first_line=sighting.number + skipped - len(lead) if numbered else None,
        reason=reason,
        location=location,
        killed=sighting.kind.name in KILLED,
    )


def _ending(scan: Scan, *, limit: int) -> Excerpt:
    """Return the log's last lines, for there is nothing better to show."""
    lines = tuple(line[:COLUMNS] for line in scan.tail[-limit:])
    first = max(1, scan.lines - len(lines) + 1) if scan.is_whole else None
    return Excerpt(lines=lines, first_line=first, reason="", location=None)
