"""What the control group of this process allows: processors, and memory that ran out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# Version 2 of control groups, and version 1; inside a container both are the container's own.
_COUNTERS: Final = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def available_cores() -> int:
    """Return how many cores this process may use: its affinity, bounded by the control group's quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, cores)


def kills() -> int:
    """Return how many processes of this control group the kernel has killed so far; 0 where it does not say."""
    for counter in _COUNTERS:
        try:
            lines = counter.read_text("ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
