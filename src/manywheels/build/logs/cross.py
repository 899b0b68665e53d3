"""Failures whose reason is that a wheel is built for a machine that cannot run here.

To support another, add an entry to `_REASONS`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from manywheels.build.logs import Excerpt

WAYS_OUT: Final = (
    "use --engine container, which runs the target's programs (under emulation, if this machine is another one), or "
    "build on a machine of that architecture"
)
_RUNS: Final = (
    r"manywheels: error: cannot run|.*[Ee]xec format error|.*cannot execute(?: binary file|: required file not found)"
    r"|.*try_run\(\) invoked in cross-compiling mode|.*Can ?not run test applications in this cross environment"
    r"|.*cannot run test program while cross compiling|.*[Cc]ould not run the host binary"
    r"|.*Executables created by .* are not runnable"
)
_REASONS: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in {
        _RUNS: f"The build runs a program that it built for the target, so it cannot be cross-built: {WAYS_OUT}.",
        r".*can't find crate for `(?:core|std)`|.*the `\S+` target may not be installed": (
            f"Rust's standard library for the target is missing: `rustup target add` installs it. Or {WAYS_OUT}."
        ),
        r".*(?:Dependency|dependency) \S+ found: NO|.*Could NOT find|.*[Cc]ould not find \S+ \(missing"
        r"|.*unable to find (?:dynamic system )?library": (
            "A cross build finds no library of this machine: build the library for the target in `before-all` or "
            f"`before-build`, and name its place in `environment` (CMAKE_PREFIX_PATH, PKG_CONFIG_PATH). Or {WAYS_OUT}."
        ),
    }.items()
)


def remedy(excerpt: Excerpt) -> str:
    """Return what to do if a native build would not have failed here; empty if that is not known."""
    for line in (excerpt.reason, *excerpt.lines):
        for pattern, text in _REASONS:
            if pattern.match(line):
                return text
    return ""
