"""`before-all`: prepares the machine, or the image, once, before the first target begins.

It is configuration that its author stands for, not the work of a build back end: in a container it runs as root, as it
does with cibuildwheel, so that it can install libraries. So nobody else may steer it: a command of the workflow does
not get the variables of the project's own files. Its folder is the snapshot that all targets' copies are made from, and
its HOME outlives it: what it puts there (`$HOME/.cargo/bin`) the targets' `environment` can name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.stages.hooks import Hook, marks, run_before_all
from manywheels.core.cancellation import Cancellation
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.target_options import BeforeAll, TargetOptions, fill, fill_values
from manywheels.runtime.environment import build_environment

OPTION: Final = "before-all"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What `before-all` needs: `environment` are the variables that builds start from, `path` comes first on PATH.

    `python` is the first target's; `folder` is for its HOME, `project` and `package` are folders of the snapshot;
    `timeout` is in seconds.
    """

    recipes: tuple[TargetOptions, ...]
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
        """Each command once, in the order of the targets, with the variables of the first target that has it."""
        commands: dict[str, BeforeAll] = {}
        for recipe in self.recipes:
            if recipe.before_all:
                commands.setdefault(recipe.before_all.command, recipe.before_all)
        return tuple(commands.values())


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A machine as `before-all` left it: `home` is where its HOME was, None where there was none to run."""

    home: Path | None = None

    def expand(self, made: tuple[Assignment, ...], environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment with a target's assignments made; `$HOME` in them is where `before-all` worked."""
        if self.home is None:
            return assignments.expand(made, environment)
        seen = {**environment, **self._rust(), "HOME": str(self.home)}
        expanded = assignments.expand(made, seen)
        own = expanded["HOME"] if any(assignment.name == "HOME" for assignment in made) else environment["HOME"]
        return {**expanded, "HOME": own}

    def _rust(self) -> dict[str, str]:
        """Rust's compilers are looked up below HOME, which each target has for itself."""
        assert self.home is not None  # noqa: S101 - asked only where there is one
        toolchains = self.home / ".rustup"
        return {"RUSTUP_HOME": str(toolchains)} if toolchains.is_dir() else {}


def prepare(request: Preparation, cancellation: Cancellation) -> Prepared:
    """Run each target's `before-all`, those that are alike once. Raises BeforeAllFailed and Cancelled."""
    if not request.commands:
        return Prepared()
    request.folder.mkdir()
    scrubbed = build_environment(request.caller, path=request.path, private=request.folder)
    places = {"project": request.project, "package": request.package}
    for asked in request.commands:
        passed = {name: request.caller[name] for name in asked.environment_pass if name in request.caller}
        seen = {**scrubbed, **request.environment, **marks(), **passed}
        hook = Hook(
            option=OPTION, command=fill(asked.command, python=request.python, **places),
            folder=request.project, timeout=request.timeout, log=request.log,
            environment=assignments.expand(fill_values(asked.environment, **places), seen),
        )  # fmt: skip
        run_before_all(hook, cancellation)
    return Prepared(home=request.folder / "home")
