"""Limits of this process's control group."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# cgroup v2 and v1
_COUNTERS: Final = (Path("/sys/fs/cgroup/memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control"))


def available_cores() -> int:
    """Return what the CPU affinity and the cgroup v2 quota allow, at least 1."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        if quota != "max":
            cores = min(cores, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return max(1, cores)


def kills() -> int:
    """Return how many of the group's processes the OOM killer has ended; 0 if unknown."""
    for counter in _COUNTERS:
        try:
            lines = counter.read_text("ascii").splitlines()
        except OSError:
            continue
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    return 0
