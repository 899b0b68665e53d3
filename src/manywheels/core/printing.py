"""Lines on the log. Threads write them: each goes out in one piece, so that none begins in the middle of another.

GitHub's runner obeys a command only where it stands at the beginning of a line.
"""

from __future__ import annotations

import sys
import threading
from typing import Final, TextIO

from manywheels.core import text

_WRITING: Final = threading.Lock()


def say(*lines: str, stream: TextIO | None = None) -> None:
    """Print lines, whatever is in them."""
    write("".join(f"{text.sanitize(line)}\n" for line in lines), stream or sys.stdout)


def write(block: str, stream: TextIO) -> None:
    """Write whole lines at once, as they are: commands to the runner are among them."""
    with _WRITING:
        stream.write(block)
        stream.flush()
