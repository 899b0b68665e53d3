"""The Python and the virtual environments that a target's project code runs with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from manywheels.build.stages.hooks import WROTE_TOO_MUCH, Hook, run_hook
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import last_bytes
from manywheels.errors import Cancelled, HookFailed
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.pip_settings import Followed
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command
from manywheels.runtime.uv import why_uv_refused

UV_TIMEOUT: Final = 600.0  # seconds for uv to create an environment or to install into one


@dataclass(frozen=True, kw_only=True)
class Venv:
    """A Python with the environment variables, log and user of the commands that run with it.

    `folder` is the activated virtual environment of `python`; None for the target's own interpreter. `user` is a user
    id, None for this process's. `overlooked` name settings of indexes and versions that the caller made in vain.
    """

    uv: str
    python: Path
    followed: Followed
    log: Path
    user: int | None = None
    folder: Path | None = None
    overlooked: tuple[str, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        return self.followed.environment

    def changed(self, made: tuple[Assignment, ...]) -> Venv:
        """Return this with other variables; uv follows what they make of pip's."""
        return replace(self, followed=self.followed.changed(lambda before: assignments.expand(made, before)))

    @property
    def remedy(self) -> str:
        """What may have kept uv from finding a requirement: settings that it does not follow. Empty without any."""
        notes = dict.fromkeys((*self.overlooked, *self.followed.notes))
        if "PIP_NO_INDEX" in self.followed.made.values():
            notes["PIP_NO_INDEX is set, so that no index is asked"] = None
        return f"These settings for indexes may be the reason: {'; '.join(notes)}." if notes else ""

    def run(self, argv: tuple[str, ...], folder: Path, timeout: float, cancellation: Cancellation) -> sandbox.Outcome:
        """Raises Cancelled, and HookFailed if the log gets too long."""
        command = Command(
            argv=argv, folder=folder, environment=self.environment, log=self.log, timeout=timeout, user=self.user
        )
        outcome = sandbox.run(command, cancellation)
        if outcome.cancelled:
            raise Cancelled("The target was stopped.", remedy="")
        if outcome.wrote_too_much:
            raise HookFailed(f"`{argv[0]}` {WROTE_TOO_MUCH}", remedy="Look in the log for what is repeated.")
        return outcome

    def run_hook(self, option: str, command: str, folder: Path, timeout: float, cancellation: Cancellation) -> None:
        """Raises HookFailed and Cancelled."""
        hook = Hook(
            option=option, command=command, folder=folder, environment=self.environment, timeout=timeout, log=self.log,
            user=self.user,
        )  # fmt: skip
        run_hook(hook, cancellation)


def _activate(environment: Mapping[str, str], venv: Path) -> dict[str, str]:
    path = os.pathsep.join([str(venv / "bin"), environment.get("PATH", os.defpath)])
    return {**environment, "PATH": path, "VIRTUAL_ENV": str(venv)}


def create_venv(
    base: Venv, folder: Path, working_folder: Path, cancellation: Cancellation, packages: tuple[str, ...] = ()
) -> Venv:
    """Create a virtual environment with pip and `packages`; return it activated.

    `folder` must not exist, and only this process's user may write its parent. uv runs in `working_folder`. Raises
    HookFailed with uv's reason, and Cancelled.
    """
    untrusted_files.make_folder(folder, base.user)
    argv: tuple[str, ...]
    argv = (base.uv, "venv", "--quiet", "--no-project", "--no-config", "--seed", "--python", str(base.python),
            str(folder))  # fmt: skip
    outcome = base.run(argv, working_folder, UV_TIMEOUT, cancellation)
    if outcome.succeeded and packages:
        argv = (base.uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), *packages)
        outcome = base.run(argv, working_folder, UV_TIMEOUT, cancellation)
    if not outcome.succeeded:
        raise HookFailed(
            f"No virtual environment could be created: {uv_failure(base.log)}",
            remedy="Check that the index can be reached (pip comes from there) and that this Python starts. "
            f"{base.remedy}".rstrip(),
        )
    return activated(base, folder)


def activated(base: Venv, folder: Path) -> Venv:
    followed = base.followed.changed(lambda before: _activate(before, folder))
    return replace(base, python=folder / "bin/python", followed=followed, folder=folder)


def uv_failure(log: Path) -> str:
    """Return uv's reason from the end of the log."""
    output = last_bytes(log, 8192).decode("utf-8", "replace")
    return why_uv_refused(output.rpartition("\n$ ")[2])
