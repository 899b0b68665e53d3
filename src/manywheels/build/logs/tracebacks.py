"""Tracebacks without the frames of libraries: what is left is the project's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_FRAME: Final = re.compile(r'\s*File "(?P<file>[^"]*)", line \d+')
_LIBRARY: Final = re.compile(r".*/(?:site-packages|dist-packages|(?:lib|lib64)/(?:python|pypy)\d[\d.]*)/.*|<frozen .*>")
_TYPED: Final = "<string>"  # the file of setup.py, which back ends execute as a text, and of front ends' hooks


def own_frames(lines: Sequence[str], end: int) -> list[str]:
    """Return a traceback with a mark for each row of libraries' frames; its exception is in the line with index `end`.

    The front end's own frame, which calls a back end, goes with the libraries'.
    """
    frames = list(_frames(lines[1:end]))
    if len(frames) > 1 and _TYPED in frames[0][0][0] and frames[1][1]:
        frames[0] = (frames[0][0], True)
    shown: list[str] = []
    left_out = 0
    for frame, is_library in frames:
        if is_library:
            left_out += 1
            continue
        shown += [*_mark(left_out, lines[0]), *frame]
        left_out = 0
    return [lines[0], *shown, *_mark(left_out, lines[0]), *lines[end:]]


def _mark(count: int, head: str) -> list[str]:
    indent = head[: len(head) - len(head.lstrip())]
    return [f"{indent}  … {count} frame{'s' * (count != 1)} of libraries"] if count else []


def _frames(lines: Sequence[str]) -> Iterator[tuple[list[str], bool]]:
    """Yield the lines of each frame, and whether it is a library's."""
    frame: list[str] = []
    for line in lines:
        if _FRAME.match(line) and frame:
            yield frame, _is_library(frame)
            frame = []
        frame.append(line)
    if frame:
        yield frame, _is_library(frame)


def _is_library(frame: Sequence[str]) -> bool:
    found = _FRAME.match(frame[0])
    return found is not None and _LIBRARY.fullmatch(found["file"]) is not None
