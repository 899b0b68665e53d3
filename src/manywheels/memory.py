"""Whether memory ran out: the control group counts the processes that the kernel killed for it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

# Version 2 of control groups, and version 1; inside a container both are the container's own.
_COUNTERS: Final = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def kills() -> int:
    """Return how many processes of this control group the kernel has killed so far; 0 where it does not say."""
    for counter in _COUNTERS:
        try:
            lines = counter.read_text("ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
