"""`before-all`: prepare the machine or the image once, before the first target.

In a container it runs as root, to install libraries. So a command set by the workflow must not depend on the project's
files, and does not get their variables. It runs in the snapshot. Its HOME stays, for what it installed there
(`$HOME/.cargo/bin`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.stages.hooks import Hook, marks, run_before_all
from manywheels.build.stages.variables import Runner
from manywheels.core.cancellation import Cancellation
from manywheels.errors import BeforeAllFailed, HookFailed
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.pip_settings import Follower
from manywheels.plan.target_options import BeforeAll, TargetOptions, fill, fill_values
from manywheels.runtime.environment import build_environment

OPTION: Final = "before-all"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What `before-all` needs: each target's `options`, and the first target's `python`.

    `environment` are the toolchain's variables; `path` comes first on PATH; `folder` is created for HOME; `project` and
    `package` are in the snapshot; `timeout` is in seconds, for each command.
    """

    options: tuple[TargetOptions, ...]
    caller: Mapping[str, str]
    path: tuple[Path, ...]
    python: Path
    environment: Mapping[str, str]
    folder: Path
    project: Path
    package: Path
    timeout: float
    log: Path

    @property
    def commands(self) -> tuple[BeforeAll, ...]:
        """Each different command, with the variables of its first target."""
        commands: dict[str, BeforeAll] = {}
        for options in self.options:
            if options.before_all:
                commands.setdefault(options.before_all.command, options.before_all)
        return tuple(commands.values())


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The machine after `before-all`, which ran with `home` as HOME, if any target has it."""

    home: Path | None = None

    def expand(self, made: tuple[Assignment, ...], environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with assignments, in which `$HOME` is that of `before-all`."""
        expanded = assignments.expand(made, self.seen(environment))
        if self.home is None:
            return expanded
        own = expanded["HOME"] if any(assignment.name == "HOME" for assignment in made) else environment["HOME"]
        return {**expanded, "HOME": own}

    def seen(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return what assignments see."""
        return {**environment, **self._rust(), "HOME": str(self.home)} if self.home else dict(environment)

    def _rust(self) -> dict[str, str]:
        assert self.home is not None  # noqa: S101 - the caller has checked
        toolchains = self.home / ".rustup"
        return {"RUSTUP_HOME": str(toolchains)} if toolchains.is_dir() else {}


def prepare(request: Preparation, cancellation: Cancellation) -> Prepared:
    """Raises BeforeAllFailed and Cancelled."""
    if not request.commands:
        return Prepared()
    request.folder.mkdir(parents=True)
    scrubbed = build_environment(request.caller, path=request.path, private=request.folder)
    places = {"project": request.project, "package": request.package}
    follower = Follower(is_there=lambda path: (request.project / path).is_dir())
    for before_all in request.commands:
        passed = {name: request.caller[name] for name in before_all.environment_pass if name in request.caller}
        seen = {**scrubbed, **request.environment, **marks(), **passed}
        made = fill_values(before_all.environment, **places)
        hook = Hook(
            option=OPTION, command=fill(before_all.command, python=request.python, **places),
            folder=request.project, timeout=request.timeout, log=request.log,
            environment=follower.follow(_variables(request, made, seen, cancellation)).environment,
        )  # fmt: skip
        run_before_all(hook, cancellation)
    return Prepared(home=request.folder / "home")


def _variables(
    request: Preparation, made: tuple[Assignment, ...], seen: dict[str, str], cancellation: Cancellation
) -> dict[str, str]:
    runner = Runner(
        option="environment", folder=request.project, scratch=request.folder / f"variables-{secrets.token_hex(4)}",
        log=request.log, timeout=request.timeout, cancellation=cancellation, python=request.python,
    )  # fmt: skip
    try:
        return assignments.expand(runner.evaluate(made, seen), seen)
    except HookFailed as error:
        raise BeforeAllFailed(error.message, remedy=error.remedy) from None
