"""What is measured while a command runs: seconds, processor seconds, compilers, memory."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from compile_counter import Compilations, CompileCounter


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of a tool.

    `processor` is the busy time of the whole machine, in seconds; `idle` the share of the time without a compiler;
    `peak` the resident memory of manywheels' own processes, in bytes; `compilations` what the kernel reported, None if
    it reports nothing; `told` what the tool itself says of how many compilers it ran, None if it says nothing.
    """

    seconds: float
    processor: float
    idle: float
    peak: int
    compilations: Compilations | None
    told: int | None = None


def measured(action: Callable[[], None]) -> Run:
    """Return what an action took. The machine must be quiet: processors and compilers are those of all processes."""
    with CompileCounter() as counter, Sampler() as sampler:
        busy, started = busy_seconds(), time.monotonic()
        action()
        seconds, busy = time.monotonic() - started, busy_seconds() - busy
    return Run(seconds=seconds, processor=busy, idle=sampler.idle, peak=sampler.peak, compilations=counter.result)


def busy_seconds() -> float:
    """Return the seconds since the machine's start that its processors were not idle, all processors together."""
    # proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, then guests' time, which is in user's
    times = [int(word) for word in Path("/proc/stat").read_text("ascii").split("\n", 1)[0].split()[1:8]]
    return (sum(times) - times[3] - times[4]) / os.sysconf("SC_CLK_TCK")


class Sampler:
    """Samples the machine's processes ten times a second: running compilers, and the memory of manywheels."""

    _COMPILERS = ("zig", "clang", "cc1", "cc1plus", "ld", "ld.lld", "as", "lto1", "collect2", "rustc")

    def __init__(self) -> None:
        self._samples = self._compiling = self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def idle(self) -> float:
        """The share of the samples without a compiler or linker."""
        return 1 - self._compiling / max(1, self._samples)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._samples += 1
            compiling, memory = self._sample()
            self._compiling += compiling
            self.peak = max(self.peak, memory)

    def _sample(self) -> tuple[bool, int]:
        compiling, memory = False, 0
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                name = (process / "comm").read_text("utf-8").strip()
                compiling = compiling or name in self._COMPILERS
                if name.startswith("python"):
                    command = (process / "cmdline").read_bytes()
                    if b"manywheels" in command and b"sandbox_init" not in command:
                        memory += resident(process)
            except (OSError, ValueError):
                continue
        return compiling, memory


def resident(process: Path) -> int:
    """Return a process's resident memory in bytes; what several processes share is divided among them (PSS)."""
    for line in (process / "smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
