"""Wait for a child's end beside other things that a program waits for.

pidfd_open(2) is missing in kernels before 5.3, and in the Pythons of manylinux2014's images, whatever the kernel.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def end_of(pid: int) -> Iterator[int]:
    """Give a descriptor that is readable once the child has ended; the child is not reaped."""
    descriptor = _pidfd(pid)
    if descriptor is None:
        descriptor = _watched(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _pidfd(pid: int) -> int | None:
    if hasattr(os, "pidfd_open"):
        with suppress(OSError):
            return os.pidfd_open(pid)
    return None


def _watched(pid: int) -> int:
    """Return the end of a pipe whose other end a thread closes."""
    reading, writing = os.pipe()

    def watch() -> None:
        with suppress(ChildProcessError):  # somebody reaped it
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        os.close(writing)

    threading.Thread(target=watch, name=f"end of {pid}", daemon=True).start()
    return reading
