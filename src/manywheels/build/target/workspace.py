"""Where one target is built or tested: its user, folders, and processes' variables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from manywheels.build.compiler_cache import client
from manywheels.build.compilers.choice import Machine
from manywheels.build.context import RunContext
from manywheels.build.cross.command import cross_files, prepare
from manywheels.build.cross.files import CrossFiles
from manywheels.build.private_folder import make_private_folder
from manywheels.build.source_copy import SourceCopy
from manywheels.build.source_environment import SourceEnvironment
from manywheels.build.stages.hooks import marks
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.target_options import Repairer
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime.workspace import Snapshot


@dataclass
class TargetWorkspace:
    """`source_copy` is the target's copy of the source; `suffix` ends the names of folders and log.

    This process's user owns `sealed`, readable for all, and `folder`, which contains the folders of the target's user,
    closed to others. Tests have a workspace of their own, `is_for_tests`. `snapshot` is of another source than the
    platform's, such as an sdist's.
    """

    context: RunContext
    planned: PlannedTarget
    suffix: str = ""
    is_for_tests: bool = False
    snapshot: Snapshot | None = None

    def __post_init__(self) -> None:
        assert self.planned.interpreter is not None  # noqa: S101 - targets without one are not built
        self.interpreter = self.planned.interpreter
        self.target = self.planned.target
        self.options = self.context.run.options.for_target(self.target)
        setup = self.context.setup_of(self.target)
        self._checkout = self.context.checkout or setup.snapshot
        self.setup = replace(setup, snapshot=self.snapshot) if self.snapshot else setup
        self.user = self.context.users[self.target]
        name = f"{self.target.identifier}{self.suffix}"
        self.folder = self.context.work / name
        self.source_copy = SourceCopy(
            snapshot=self.setup.snapshot, folder=self.folder / "source", origin=self.context.run.project.path
        )
        self.evaluated: tuple[Assignment, ...] | None = None  # `environment`, once its commands have run
        self.cross = None if self.is_for_tests else self._cross_files()
        self.sealed = self.context.work / "sealed" / name
        self.log = self.context.run.output.log(name)

    @property
    def copy(self) -> Path:
        """The top of the target's copy of the source."""
        return self.source_copy.folder

    @property
    def places(self) -> dict[str, Path]:
        """The values of `{project}` and `{package}`."""
        return self.source_copy.places

    @property
    def source(self) -> Path:
        """The package's folder in the snapshot, which project code cannot write."""
        return self.source_copy.source

    @property
    def user_and_fetcher(self) -> tuple[int, int] | None:
        """The user ids of the target and its fetcher; None if nothing is prefetched."""
        if self.user is None or self.context.fetcher is None or self.is_for_tests:
            return None
        return self.user, self.context.fetcher

    def make_folder(self) -> None:
        """Raises OSError, and ToolchainError if this machine's Python cannot build for the target's machine."""
        make_private_folder(self.folder, self.user)
        if self.cross:
            prepare(self.cross, self.interpreter.path, self.setup.tools.environment)

    def _cross_files(self) -> CrossFiles | None:
        """Return the files of a target that is another machine than this one."""
        policy = self.context.run.options.platform_of(self.target).policy
        if not Machine.here().is_foreign(policy, self.target.arch):
            return None
        folder = self.context.work / f"cross-{self.target.identifier}{self.suffix}"
        return cross_files(self.target, policy, folder, roots=[self.folder])

    @property
    def _commands(self) -> SourceEnvironment:
        """Not kept: tests that use the copy of the build set `source_copy` later."""
        return SourceEnvironment(
            run=self.context.run, planned=self.planned, copy=self.source_copy, private=self.folder, sealed=self.sealed,
            constrained=self._checkout.root / self._checkout.package, uv=self.context.uv, log=self.log, user=self.user,
        )  # fmt: skip

    def base_venv(self) -> Venv:
        """Return the target's interpreter, outside of a virtual environment."""
        made = self.evaluated if self.evaluated is not None else assignments.as_written(self._commands.assignments)
        environment = self.setup.prepared.expand(made, self._given(self.options.environment_pass))
        if not self.is_for_tests and not self.cross:  # tests run what was repaired, and must not find what it lacks
            environment = self.setup.tools.with_libraries(environment)
        return self._commands.venv(environment)

    def evaluate(self, cancellation: Cancellation) -> None:
        """Run the commands in `environment`, in the copy. Raises HookFailed, OSError and Cancelled."""
        seen = self.setup.prepared.seen(self._given(self.options.environment_pass))
        self.evaluated = self._commands.evaluate(seen, cancellation)

    def default_environment(self) -> dict[str, str]:
        """Return the target's variables as if its options changed none. Raises OSError for unreadable constraints."""
        return self._commands.follower.follow(self._given(())).environment

    def _given(self, passed: tuple[str, ...]) -> dict[str, str]:
        """Return the variables before `environment` changes them; `passed` are names of the caller's variables."""
        path = (*([self.cross.bin] if self.cross else []), self.setup.tools.bin_dir)
        return self._commands.given(path, passed) | self._own_variables()

    def _own_variables(self) -> dict[str, str]:
        own = {
            **self.setup.tools.environment,
            **(self.cross.environment if self.cross else {}),
            **self.context.jobserver.environment,
            **marks(self.target),
        }
        if self.context.compiler_cache and not self.is_for_tests:
            own[client.SOCKET] = str(self.context.compiler_cache.socket_of(self.target))
        if self.options.repair.by is Repairer.NONE:  # nothing would add the shared C++ library to the wheel
            own["MANYWHEELS_CXX_STATIC"] = "1"
        if self.user_and_fetcher:  # the fetcher owns the files, so the kernel refuses hard links
            own["UV_LINK_MODE"] = "symlink"
        return own

    @cached_property
    def constraints(self) -> str:
        """The content of the constraints file, if any. Raises OSError."""
        constraints = self.options.constraints
        if not (constraints.file or constraints.packages):
            return ""
        return constraints.text(self._commands.constrained, self.target.python)
