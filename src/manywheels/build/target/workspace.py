"""Where one target is built or tested: its user, folders, and processes' variables."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from manywheels.build.compiler_cache import client
from manywheels.build.compilers.choice import Machine
from manywheels.build.context import RunContext
from manywheels.build.cross.command import cross_files, prepare
from manywheels.build.cross.files import CrossFiles
from manywheels.build.stages.hooks import marks
from manywheels.build.stages.variables import Runner
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.pip_settings import Follower, local_path, withheld
from manywheels.plan.target_options import Repairer, fill_values
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime import untrusted_files
from manywheels.runtime.environment import build_environment
from manywheels.runtime.workspace import Snapshot


@dataclass
class TargetWorkspace:
    """`copy` is the target's copy of the source; `suffix` ends the names of folders and log.

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
        self.setup = replace(setup, snapshot=self.snapshot) if self.snapshot else setup
        self.user = self.context.users[self.target]
        name = f"{self.target.identifier}{self.suffix}"
        self.folder = self.context.work / name
        self.copy = self.folder / "source"
        self.evaluated: tuple[Assignment, ...] | None = None  # `environment`, once its commands have run
        self.cross = None if self.is_for_tests else self._cross_files()
        self.sealed = self.context.work / "sealed" / name
        self.log = self.context.run.output.log(name)

    @property
    def project(self) -> Path:
        """The folder of the copy that commands run in."""
        return self.copy / self.setup.snapshot.project

    @property
    def places(self) -> dict[str, Path]:
        """The values of `{project}` and `{package}`."""
        return {"project": self.project, "package": self.copy / self.setup.snapshot.package}

    @property
    def source(self) -> Path:
        """The package's folder in the snapshot, which project code cannot write."""
        return self.setup.snapshot.root / self.setup.snapshot.package

    @property
    def source_top(self) -> Path:
        """The caller's folder that was copied."""
        project, package = self.context.run.project.path.resolve(), self.setup.snapshot.package
        return project.parents[len(package.parts) - 1] if package.parts else project

    @property
    def user_and_fetcher(self) -> tuple[int, int] | None:
        """The user ids of the target and its fetcher; None if nothing is prefetched."""
        if self.user is None or self.context.fetcher is None or self.is_for_tests:
            return None
        return self.user, self.context.fetcher

    def make_folder(self) -> None:
        """Raises OSError, and ToolchainError if this machine's Python cannot build for the target's machine."""
        untrusted_files.make_place(self.folder, self.user)
        for cache in ("uv", "zig") if self.user is not None else ():  # not shared with other users
            untrusted_files.make_folder(self.folder / cache, self.user)
        if self.cross:
            prepare(self.cross, self.interpreter.path, self.setup.tools.environment)

    def _cross_files(self) -> CrossFiles | None:
        """Return the files of a target that is another machine than this one."""
        policy = self.context.run.options.platform_of(self.target).policy
        if not Machine.here().is_foreign(policy, self.target.arch):
            return None
        folder = self.context.work / f"cross-{self.target.identifier}{self.suffix}"
        return cross_files(self.target, policy, folder, roots=[self.folder])

    def base_venv(self) -> Venv:
        """Return the target's interpreter, outside of a virtual environment."""
        made = self.evaluated if self.evaluated is not None else assignments.as_written(self._assignments)
        passed = self.options.environment_pass
        caller = self.context.run.caller
        environment = self.setup.prepared.expand(made, self._given(passed))
        if not self.is_for_tests and not self.cross:  # tests run what was repaired, and must not find what it lacks
            environment = self.setup.tools.with_libraries(environment)
        return Venv(
            uv=self.context.uv,
            python=self.interpreter.path,
            followed=self._follower.follow(environment),
            overlooked=(*self.context.run.overlooked, *withheld(caller, passed)),
            log=self.log,
            user=self.user,
        )

    @property
    def _assignments(self) -> tuple[Assignment, ...]:
        return fill_values(self.options.environment, **self.places)

    def evaluate(self, cancellation: Cancellation) -> None:
        """Run the commands in `environment`, in the copy. Raises HookFailed, OSError and Cancelled."""
        seen = self.setup.prepared.seen(self._given(self.options.environment_pass))
        runner = Runner(
            option="environment", folder=self.project, scratch=self.folder / "variables", log=self.log,
            timeout=self.context.run.options.timeout, cancellation=cancellation, python=self.interpreter.path,
            user=self.user,
        )  # fmt: skip
        self.evaluated = runner.evaluate(self._assignments, seen)

    def default_environment(self) -> dict[str, str]:
        """Return the target's variables as if its options changed none. Raises OSError for unreadable constraints."""
        return self._follower.follow(self._given(())).environment

    def _given(self, passed: tuple[str, ...]) -> dict[str, str]:
        """Return the variables before `environment` changes them; `passed` are names of the caller's variables."""
        path = (*([self.cross.bin] if self.cross else []), self.setup.tools.bin_dir)
        scrubbed = build_environment(
            self.context.run.caller, path=path, private=self.folder, passed=passed, user=self.user
        )
        return scrubbed | self._own_variables()

    def _own_variables(self) -> dict[str, str]:
        own = {
            **self.setup.tools.environment,
            **(self.cross.environment if self.cross else {}),
            **self.context.jobserver.environment,
            # Another target or run must not read a cache that a build can write.
            "UV_CACHE_DIR": str((cache_dir() if self.user is None else self.folder) / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            **marks(self.target),
        }
        if self.context.compiler_cache and not self.is_for_tests:
            own[client.SOCKET] = str(self.context.compiler_cache.socket_of(self.target))
        if self.options.repair.by is Repairer.NONE:  # nothing would add the shared C++ library to the wheel
            own["MANYWHEELS_CXX_STATIC"] = "1"
        if self.user is not None:
            # If the image's compiler is zig, its cache keeps sources from standard input: keep users apart.
            own["ZIG_LOCAL_CACHE_DIR"] = str(self.folder / "zig")
        if self.user_and_fetcher:  # the fetcher owns the files, so the kernel refuses hard links
            own["UV_LINK_MODE"] = "symlink"
        return own

    @property
    def _follower(self) -> Follower:
        return Follower(locate=self._located, is_there=self._is_there, constraints=self._constraints_file())

    def _located(self, word: str) -> str:
        """Return a path of pip's variables, if it is one in the source, as that of the copy.

        A relative one is in the project or, if it is not there, in the package.
        """
        path = local_path(word)
        if path is None:
            return word
        if Path(path).is_absolute():
            inside = Path(path).relative_to(self.source_top) if Path(path).is_relative_to(self.source_top) else None
            return str(self.copy / inside) if inside and self._is_copied(inside) else word
        project, package = (folder / path for folder in (self.setup.snapshot.project, self.setup.snapshot.package))
        return str(self.copy / (project if self._is_copied(project) or not self._is_copied(package) else package))

    def _is_there(self, path: str) -> bool:
        if Path(path).is_relative_to(self.copy):
            return self._is_copied(Path(path).relative_to(self.copy))
        return Path(path).is_dir()

    def _is_copied(self, relative: Path) -> bool:
        """Whether the source has a path, or the copy, where `before-build` may have made it."""
        relative = Path(os.path.normpath(relative))
        if ".." in relative.parts:
            return False
        if os.path.lexists(self.setup.snapshot.root / relative):
            return True
        return self.copy.exists() and untrusted_files.is_there(self.copy, str(relative))

    def _constraints_file(self) -> str:
        """Return the file that makes every front end follow `dependency-versions`; empty if there is none."""
        if not self.constraints:
            return ""
        file = self.sealed / "constraints.txt"
        if not file.exists():
            untrusted_files.make_public_folder(self.sealed)
            untrusted_files.write_file(file, self.constraints.encode())
        return str(file)

    @cached_property
    def constraints(self) -> str:
        """The content of the constraints file, if any. Raises OSError."""
        constraints = self.options.constraints
        if not (constraints.file or constraints.packages):
            return ""
        return constraints.text(self.source, self.target.python)
