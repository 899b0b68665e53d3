"""Count the compilers that the machine really starts, by the kernel's process connector (Linux, root only).

    with CompileCounter() as counter:
        ...
    counter.result                   a `Compilations`, or None where the kernel tells us nothing

The kernel reports each exec(2) of the machine, also of processes in containers. A process of its own listens, so that
what is measured is not waited for; it reads the command from /proc. One compilation is one run of gcc's `cc1` or
`cc1plus`, or of clang (`-cc1`, or zig's `zig clang`) on a C or C++ source, without those that make no object (`-E`).
Where COMPILE_COUNTER_LOG names a file, the commands are written there.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import selectors
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

# linux/netlink.h, linux/connector.h, linux/cn_proc.h
_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = _CN_VAL_PROC = 1
_PROC_CN_MCAST_LISTEN = 1
_NLMSG_DONE = 3
_PROC_EVENT_EXEC = 2
_SO_RCVBUFFORCE = 33
_WHAT = 16 + 20  # where an event begins: behind struct nlmsghdr and struct cn_msg
_PROCESS = _WHAT + 16 + 4  # its process_tgid: behind what, cpu, timestamp_ns, and process_pid

_SOURCE = re.compile(r"\.(c|cc|cpp|cxx|c\+\+|C|i|ii)$")
_WITHOUT_OBJECT = {"-E", "-M", "-MM", "-fsyntax-only", "-###", "--version"}
_PROBES = re.compile(r"conftest|CMakeScratch|CMakeTmp|CompilerId|cmTC_|meson-private|/tmp/tmp[^/]*/(test|flagcheck)")
_RUNTIMES = re.compile(r"/ziglang/lib/|zig-cache/|/libcxx/")


class Kind(StrEnum):
    """What was compiled: the project, a question of configure, CMake or Meson, or the compiler's own runtime."""

    UNIT = "unit"
    PROBE = "probe"
    RUNTIME = "runtime"


@dataclass(frozen=True)
class Compilations:
    """How many compilations of each kind ran, by container.

    `lost` is whether the kernel dropped events: then these are too few.
    """

    containers: dict[str, dict[str, int]]
    lost: bool

    @property
    def units(self) -> int:
        return sum(kinds.get(Kind.UNIT, 0) for kinds in self.containers.values())

    @property
    def probes(self) -> int:
        return sum(kinds.get(Kind.PROBE, 0) for kinds in self.containers.values())

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, and at most one container compiled: otherwise somebody else did, too."""
        return not self.lost and len(self.containers) <= 1


class CompileCounter:
    """Counts while it is open. Where the kernel reports nothing, as in a container or without root, so does this."""

    def __init__(self) -> None:
        self.result: Compilations | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True,  # Ctrl-C is not for it: it ends with its input
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it listens
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate()
        if found := json.loads(told or "null"):
            self.result = Compilations(**found)


# --- the process that listens ---


def kind_of(command: list[str], folder: str) -> Kind | None:
    """Return what a command compiles, None if it is no compilation of C or C++. `folder` is its working folder."""
    if not is_compiler(command) or _WITHOUT_OBJECT.intersection(command):
        return None
    source = next((word for word in command[1:] if _SOURCE.search(word) and not word.startswith("-")), None)
    if source is None:
        return None
    place = os.path.join(folder, source)  # noqa: PTH118 - names in another mount namespace
    if _RUNTIMES.search(place):
        return Kind.RUNTIME
    return Kind.PROBE if _PROBES.search(place) else Kind.UNIT


def is_compiler(command: list[str]) -> bool:
    """Whether this is the process that compiles, rather than a driver that starts it."""
    name = command[0].rpartition("/")[2]
    return name in {"cc1", "cc1plus"} or command[1:2] in (["clang"], ["-cc1"])


def container_of(cgroups: str) -> str:
    """Return the short id of the container that a process is in, "" for none."""
    found = re.search(r"[0-9a-f]{64}", cgroups)
    return found[0][:12] if found else ""


def listen() -> socket.socket:
    """Return a socket with the events of all processes. Raises OSError, as without root."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
    events.bind((0, _CN_IDX_PROC))
    events.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 26)
    wish = struct.pack("=IIIIHHI", _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0, _PROC_CN_MCAST_LISTEN)
    events.send(struct.pack("=IHHII", 16 + len(wish), _NLMSG_DONE, 0, 0, 0) + wish)
    return events


def hears(events: socket.socket) -> bool:
    """Whether events arrive: in a container's process namespace the kernel sends none, and no error."""
    subprocess.run(["true"], check=True)
    events.settimeout(1)
    until = time.monotonic() + 2
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < until:
            if started(events.recv(1 << 16)):
                return True
    return False


def started(event: bytes) -> int | None:
    """Return the process of an event that is an exec(2)."""
    if len(event) < _PROCESS + 4 or struct.unpack_from("=I", event, _WHAT)[0] != _PROC_EVENT_EXEC:
        return None
    process: int = struct.unpack_from("=I", event, _PROCESS)[0]
    return process


def look_at(process: int) -> tuple[str, Kind] | None:
    """Return the container and the kind, if the process compiles."""
    place = Path("/proc", str(process))
    try:
        command = os.fsdecode((place / "cmdline").read_bytes()).split("\0")
        if not is_compiler(command):
            return None
        kind = kind_of(command, str((place / "cwd").readlink()))
        if kind and (file := os.environ.get("COMPILE_COUNTER_LOG")):
            with open(file, "a", encoding="utf-8") as log:  # noqa: PTH123
                log.write(f"{kind} {' '.join(command)}\n")
        return (container_of((place / "cgroup").read_text("ascii")), kind) if kind else None
    except OSError:  # it has ended: no compiler is that fast
        return None


def main() -> None:
    """Count until the input ends, then write what was counted as JSON, `null` if events do not arrive."""
    try:
        events = listen()
        heard = hears(events)
    except OSError:
        heard = False
    print("ready", flush=True)
    if not heard:
        sys.stdin.read()
        print("null")
        return
    counts, lost = count(events)
    containers: dict[str, dict[str, int]] = {}
    for (container, kind), number in counts.items():
        containers.setdefault(container, {})[kind] = number
    print(json.dumps({"containers": containers, "lost": lost}))


def count(events: socket.socket) -> tuple[Counter[tuple[str, Kind]], bool]:
    """Return how many compilations there were in each container until the input ends, and whether events were lost."""
    counts: Counter[tuple[str, Kind]] = Counter()
    lost = False
    events.settimeout(None)
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if events in ready:
                try:
                    process = started(events.recv(1 << 16))
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    lost = True
                    continue
                if process and (found := look_at(process)):
                    counts[found] += 1
            elif sys.stdin in ready:
                return counts, lost


if __name__ == "__main__":
    main()
