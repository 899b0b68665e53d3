"""Virtual environments for a target's project code: one that hooks prepare for the build, and a fresh one for tests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manywheels.build.stages.hooks import WROTE_TOO_MUCH
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import last_bytes
from manywheels.errors import Cancelled, HookFailed
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command
from manywheels.runtime.uv import why_uv_refused

TIMEOUT: Final = 600.0  # seconds for uv to make an environment, or to install into one


@dataclass(frozen=True, kw_only=True)
class Venv:
    """Where a target's project code lives: `user` is the id that it runs as, None for the program's own.

    `environment` are the variables that its processes see; `uv` is the front end, and `log` takes what they say.
    `venv` is the virtual environment that is activated, if one is; `python` is in it then.
    """

    uv: str
    python: Path
    environment: Mapping[str, str]
    log: Path
    user: int | None = None
    venv: Path | None = None

    def run(self, argv: tuple[str, ...], folder: Path, timeout: float, cancellation: Cancellation) -> sandbox.Outcome:
        """Run a command of the program's own choice in here. Raises Cancelled, and HookFailed for too long a log."""
        command = Command(
            argv=argv, folder=folder, environment=self.environment, log=self.log, timeout=timeout, user=self.user
        )
        outcome = sandbox.run(command, cancellation)
        if outcome.cancelled:
            raise Cancelled("The target was stopped.", remedy="")
        if outcome.wrote_too_much:
            raise HookFailed(f"`{argv[0]}` {WROTE_TOO_MUCH}", remedy="Look into the log for what it repeats.")
        return outcome


def activate(environment: Mapping[str, str], venv: Path) -> dict[str, str]:
    """Return the variables as they are when a virtual environment is activated: its programs come first on PATH."""
    path = os.pathsep.join([str(venv / "bin"), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path, "VIRTUAL_ENV": str(venv)}


def create_venv(
    quarters: Venv, venv: Path, folder: Path, cancellation: Cancellation, packages: tuple[str, ...] = ()
) -> Venv:
    """Make a virtual environment with pip and `packages` in it; return the quarters as they are when it is activated.

    `venv` must not exist in a folder of the program's own; uv is started in `folder`. Raises HookFailed with uv's
    reason, and Cancelled.
    """
    untrusted_files.make_folder(venv, quarters.user)
    argv: tuple[str, ...]
    argv = (quarters.uv, "venv", "--quiet", "--no-project", "--no-config", "--seed", "--python", str(quarters.python),
            str(venv))  # fmt: skip
    outcome = quarters.run(argv, folder, TIMEOUT, cancellation)
    if outcome.succeeded and packages:
        argv = (quarters.uv, "pip", "install", "--quiet", "--python", str(venv / "bin/python"), *packages)
        outcome = quarters.run(argv, folder, TIMEOUT, cancellation)
    if not outcome.succeeded:
        raise HookFailed(
            f"No virtual environment could be made: {reason(quarters.log)}",
            remedy="Look whether the index answers (pip comes from there), and whether this Python starts.",
        )
    return replace(quarters, python=venv / "bin/python", environment=activate(quarters.environment, venv), venv=venv)


def reason(log: Path) -> str:
    """Return why uv failed, from the end of the log that it wrote to."""
    said = last_bytes(log, 8192).decode("utf-8", "replace")
    return why_uv_refused(said.rpartition("\n$ ")[2])
