"""Lines on the log. Threads write them: each goes out in one piece, so that none begins in the middle of another.

What GitHub's runner is told to mask, it hears only where the command stands at the beginning of a line.
"""

from __future__ import annotations

import sys
import threading
from typing import Final, TextIO

from manywheels.report import text

_WRITING: Final = threading.Lock()


def say(*lines: str, stream: TextIO | None = None) -> None:
    """Print lines, whatever is in them."""
    write("".join(f"{text.harmless(line)}\n" for line in lines), stream or sys.stdout)


def write(block: str, stream: TextIO) -> None:
    """Write whole lines at once, as they are: commands to the runner are among them."""
    with _WRITING:
        stream.write(block)
        stream.flush()
