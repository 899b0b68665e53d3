"""The interpreter and the variables of commands that run in a copy of the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manywheels.build.context import Run
from manywheels.build.private_folder import tool_variables
from manywheels.build.source_copy import SourceCopy, written_constraints
from manywheels.build.stages.variables import Runner
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.plan.assignments import Assignment
from manywheels.plan.pip_settings import Follower, withheld
from manywheels.plan.target_options import TargetOptions, fill_values
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime.environment import build_environment


@dataclass(frozen=True, kw_only=True)
class SourceEnvironment:
    """What commands in `copy` get of the caller's variables and of the options of `planned`.

    They run as `user`, None for the program's own, whose folder is `private`. `sealed` is for files that they read and
    cannot write. `dependency-versions` names a file in `constrained`.
    """

    run: Run
    planned: PlannedTarget
    copy: SourceCopy
    private: Path
    sealed: Path
    constrained: Path
    uv: str
    log: Path
    user: int | None

    @property
    def python(self) -> Path:
        assert self.planned.interpreter is not None  # noqa: S101 - targets without one are not built
        return self.planned.interpreter.path

    @property
    def options(self) -> TargetOptions:
        return self.run.options.for_target(self.planned.target)

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """`environment`, as it is written."""
        return fill_values(self.options.environment, **self.copy.places)

    def evaluate(self, seen: Mapping[str, str], cancellation: Cancellation) -> tuple[Assignment, ...]:
        """Return `environment` after its commands have run. Raises HookFailed, OSError and Cancelled."""
        runner = Runner(
            option="environment", folder=self.copy.project, scratch=self.private / "variables", log=self.log,
            timeout=self.run.options.timeout, cancellation=cancellation, python=self.python, user=self.user,
        )  # fmt: skip
        return runner.evaluate(self.assignments, seen)

    def given(self, path: tuple[Path, ...], passed: tuple[str, ...]) -> dict[str, str]:
        """Return the variables before `environment`: the caller's, of which `passed` are named, and uv's and zig's."""
        scrubbed = build_environment(self.run.caller, path=path, private=self.private, passed=passed, user=self.user)
        return scrubbed | tool_variables(self.private, self.user)

    @property
    def follower(self) -> Follower:
        """What follows the caller's indexes and versions. Raises OSError if constraints cannot be written."""
        constraints = written_constraints(
            self.options.constraints, self.constrained, self.planned.target.python, self.sealed
        )
        return self.copy.follower(constraints)

    def venv(self, environment: Mapping[str, str]) -> Venv:
        """Return the interpreter outside of a virtual environment, with these variables. Raises OSError."""
        return Venv(
            uv=self.uv, python=self.python, followed=self.follower.follow(environment), log=self.log, user=self.user,
            overlooked=(*self.run.overlooked, *withheld(self.run.caller, self.options.environment_pass)),
        )  # fmt: skip
