"""Printing whole lines from several threads; GitHub's runner reads commands only at a line's beginning."""

from __future__ import annotations

import sys
import threading
from typing import Final, TextIO

from manywheels.core import text

_LOCK: Final = threading.Lock()


def say(*lines: str, stream: TextIO | None = None) -> None:
    """Print lines, sanitized; the default stream is stdout."""
    write_lines("".join(f"{text.sanitize(line)}\n" for line in lines), stream or sys.stdout)


def write_lines(block: str, stream: TextIO) -> None:
    """The lines are written unchanged, for commands to the runner."""
    with _LOCK:
        stream.write(block)
        stream.flush()
