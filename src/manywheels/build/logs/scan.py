"""Scan a log once, in blocks and bounded memory, for the report that explains a failure best."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.build.logs.patterns import CHAIN, EXCEPTION_WRAPPER, PATTERNS, PatternMatch, Rank, traceback_end
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import open_ends

_LONGEST: Final = 8192  # bytes searched of a line
_BLOCK: Final = 1 << 18  # bytes read at once
_BEFORE: Final = 12  # lines kept before an error
_DENSE: Final = 60  # lines with the same hint searched at each end of a block
_AFTER: Final = 200  # lines kept from an error on: long tracebacks end with their reason
_TRACEBACKS: Final = 4  # links kept of an exception chain
_NEAR_BEFORE: Final = 6
_NEAR_AFTER: Final = 3

_ESCAPES: Final = re.compile(
    rb"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b\n]{0,2000}(?:\x07|\x1b\\)|[ -/]?[0-~])"
)
_CONTROLS: Final = bytes({*range(32), 127} - set(b"\t\n\r"))


@cache
def _hints(rank: Rank) -> tuple[bytes, ...]:
    """Return the shortest hints of the patterns that can still replace `rank`."""
    wanted = (one for one in PATTERNS if one.rank < rank or (one.last and one.rank == rank))
    hints = {hint for pattern in wanted for hint in pattern.hints}
    return tuple(sorted(hint for hint in hints if not any(other in hint for other in hints - {hint})))


def contains(log: Path, pattern: re.Pattern[bytes], cancellation: Cancellation) -> bool:
    """Whether a pattern is in the beginning or the end of a log, which may be gone. Raises Cancelled."""
    with suppress(OSError), open_ends(log) as stream:
        for block in blocks(stream):
            cancellation.stop_if_requested("Reading a log")
            if pattern.search(block):
                return True
    return False


def blocks(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the log in blocks of whole lines; long lines are cut as by `_shown`."""
    rest = b""
    while chunk := stream.read(_BLOCK):
        rest += chunk
        end = rest.rfind(b"\n") + 1
        if end:
            yield _plain(rest[:end])
            rest = rest[end:]
        if len(rest) > _LONGEST:
            # The text after the last carriage return may go on in the next chunk, so keep both parts.
            *shown, growing = rest.rsplit(b"\r", 1)
            rest = b"\r".join([*(_shown(_plain(text)) for text in shown), growing[:_LONGEST]])
    if rest:
        yield _plain(rest)


def _plain(data: bytes) -> bytes:
    return _ESCAPES.sub(b"", data).translate(None, _CONTROLS).replace(b"\r\n", b"\n")


def _shown(line: bytes) -> bytes:
    """Return the first text between carriage returns that looks like an error, else the last."""
    if b"\r" not in line:
        return line[:_LONGEST]
    texts = [text[:_LONGEST] for text in line.split(b"\r") if text.strip()]
    lowered = line.lower()
    if any(hint in lowered for hint in _hints(Rank.HEADLINE)):
        for text in texts:
            if any(hint in text.lower() for hint in _hints(Rank.HEADLINE)):
                return text
    return texts[-1] if texts else b""


def _text(line: bytes) -> str:
    text = _shown(line).decode("utf-8", errors="replace").expandtabs().rstrip()
    return text if text.isprintable() else "".join(letter for letter in text if letter.isprintable())


def _lines_from(block: bytes, start: int, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count and start < len(block):
        end = block.find(b"\n", start)
        end = len(block) if end < 0 else end
        lines.append(_text(block[start:end]))
        start = end + 1
    return lines


def _lines_until(block: bytes, end: int, count: int) -> list[str]:
    lines: list[str] = []
    while len(lines) < count and end > 0:
        start = block.rfind(b"\n", 0, end - 1) + 1
        lines.append(_text(block[start:end].rstrip(b"\n")))
        end = start
    return lines[::-1]


def _suspicious(block: bytes, hints: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return the start and end of each line with a hint, in order.

    If nearly every line has a hint, only the block's first and last such lines count: a log full of errors would take
    minutes.
    """
    lowered = block.lower()
    spans: set[tuple[int, int]] = set()
    for hint in hints:
        found, count = lowered.find(hint), 0
        while found >= 0 and count < _DENSE:
            spans.add(_line_around(lowered, found))
            found, count = lowered.find(hint, _line_around(lowered, found)[1]), count + 1
        first, found, count = found, lowered.rfind(hint) if found >= 0 else -1, 0
        while found >= first >= 0 and count < _DENSE:
            spans.add(_line_around(lowered, found))
            found, count = lowered.rfind(hint, 0, _line_around(lowered, found)[0]), count + 1
    return sorted(spans)


def _line_around(block: bytes, position: int) -> tuple[int, int]:
    end = block.find(b"\n", position)
    return block.rfind(b"\n", 0, position) + 1, len(block) if end < 0 else end


class Scan:
    """The best matches so far, and the last lines, which the next block may need.

    `is_whole` is false if line numbers are unknown, because a part is left out.
    """

    def __init__(self, *, limit: int) -> None:
        self.tail: list[str] = []
        self.lines = 0
        self.is_whole = True
        self._kept = max(limit, _BEFORE)
        self._best: deque[PatternMatch] = deque(maxlen=_TRACEBACKS)
        self._pardoned: PatternMatch | None = None

    def feed(self, block: bytes) -> None:
        for best in self._best:
            best.after += _lines_from(block, 0, _AFTER - len(best.after))
        for start, end in _suspicious(block, _hints(self._rank())):
            if found := self._match(block, start, end):
                self._consider(found)
        for best in self._best:
            if not best.after:
                self._describe(best, block)
        self.tail = self._before(block, len(block), self._kept)
        self.lines += block.count(b"\n") + (not block.endswith(b"\n"))

    def verdict(self) -> PatternMatch | None:
        chain = list(self._best)
        best = chain.pop() if chain else None
        while best and chain and _wraps(best, chain[-1]):
            best = chain.pop()
        if self._pardoned and (best is None or best.pattern.rank >= Rank.WEAK):
            return self._pardoned
        return best

    def _rank(self) -> Rank:
        return self._best[-1].pattern.rank if self._best else Rank.NOTHING

    def _match(self, block: bytes, start: int, end: int) -> PatternMatch | None:
        line = _text(block[start:end])
        lowered = line.lower().encode()
        for pattern in PATTERNS:
            match = pattern.regex.match(line) if any(hint in lowered for hint in pattern.hints) else None
            if match is None:
                continue
            if pattern.preceded and not any(map(pattern.preceded.match, self._before(block, start, _NEAR_BEFORE))):
                continue
            if pattern.followed and not any(map(pattern.followed.match, _lines_from(block, end + 1, _NEAR_AFTER))):
                continue
            return PatternMatch(pattern=pattern, match=match, start=start)
        return None

    def _consider(self, found: PatternMatch) -> None:
        rank = found.pattern.rank
        if rank == Rank.PARDON:
            self._pardoned = self._pardoned or (self._best[-1] if self._best else None)
            self._best.clear()
        elif rank < self._rank():
            self._best.clear()
            self._best.append(found)
        elif rank == self._rank() and found.pattern.last:
            self._best.append(found)

    def _describe(self, found: PatternMatch, block: bytes) -> None:
        found.number = self.lines + block.count(b"\n", 0, found.start) + 1
        found.before = self._before(block, found.start, self._kept)
        found.after = _lines_from(block, found.start, _AFTER)

    def _before(self, block: bytes, start: int, count: int) -> list[str]:
        lines = _lines_until(block, start, count)
        missing = count - len(lines)
        return [*self.tail[len(self.tail) - min(missing, len(self.tail)) :], *lines]


def _wraps(outer: PatternMatch, inner: PatternMatch) -> bool:
    """Whether `outer` is a traceback, raised while handling `inner`, that only reports a failed command."""
    end = traceback_end(outer.after)
    chained = any(map(CHAIN.match, inner.after[: outer.number - inner.number]))
    return chained and end is not None and EXCEPTION_WRAPPER.match(outer.after[end].strip()) is not None
