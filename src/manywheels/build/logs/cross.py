"""Failures whose reason is that a wheel is built for a machine that cannot run here.

To support another, add an entry to `_RUNS` or `_REASONS`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.build.logs.scan import contains

if TYPE_CHECKING:
    from manywheels.build.logs import Excerpt
    from manywheels.core.cancellation import Cancellation

_WAYS_OUT: Final = (
    "use --engine container, which runs the target's programs (under emulation, if this machine is another one), or "
    "build on a machine of that architecture"
)
# Looked for in the whole log: what follows says less, such as the traceback of the script that started the program.
_RUNS: Final = re.compile(
    rb"manywheels: error: cannot run|[Ee]xec format error|cannot execute(?:: | )(?:binary file|required file not found)"
    rb"|qemu-\S+: Could not open '/lib|try_run\(\) invoked in cross-compiling mode"
    rb"|Can ?not run test applications in this cross environment|cannot run test program while cross compiling"
    rb"|Executables created by .{1,200} are not runnable"
)
_RUNS_WHAT_IT_BUILT: Final = (
    f"The build runs a program that it built for the target, so it cannot be cross-built: {_WAYS_OUT}."
)
_REASONS: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in {
        r".*can't find crate for `(?:core|std)`|.*the `\S+` target may not be installed": (
            f"Rust's standard library for the target is missing: `rustup target add` installs it. Or {_WAYS_OUT}."
        ),
        r".*[Dd]ependency \S+ found: NO|.*Could NOT find|.*[Cc]ould not find \S+ \(missing"
        r"|.*unable to find (?:dynamic system )?library": (
            "A cross build finds no library of this machine: build the library for the target in `before-all` or "
            f"`before-build`, and name its place in `environment` (CMAKE_PREFIX_PATH, PKG_CONFIG_PATH). Or {_WAYS_OUT}."
        ),
    }.items()
)


def remedy(excerpt: Excerpt, log: Path, cancellation: Cancellation) -> str:
    """Return what to do if a native build would not have failed here; empty if that is not known. Raises Cancelled."""
    if contains(log, _RUNS, cancellation):
        return _RUNS_WHAT_IT_BUILT
    for line in (excerpt.reason, *excerpt.lines):
        for pattern, text in _REASONS:
            if pattern.match(line):
                return text
    return ""
