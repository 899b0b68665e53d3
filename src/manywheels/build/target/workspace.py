"""Where one target is built or tested: its user, folders, and processes' variables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from manywheels.build.context import RunContext
from manywheels.build.stages.hooks import marks
from manywheels.build.stages.venv import Venv
from manywheels.core.files import cache_dir
from manywheels.plan.target_options import Repairer, fill_values
from manywheels.plan.targets import PlannedTarget
from manywheels.runtime import untrusted_files
from manywheels.runtime.environment import build_environment

# Where pip and uv, and the builds that they start, look for constraints.
_CONSTRAINTS: Final = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")


@dataclass
class TargetWorkspace:
    """`project` is the copy of the source; `suffix` ends the names of folders and log.

    This process's user owns `sealed`, readable for all, and `folder`, which contains the folders of the target's user,
    closed to others. Tests have a workspace of their own.
    """

    context: RunContext
    planned: PlannedTarget
    suffix: str = ""

    def __post_init__(self) -> None:
        assert self.planned.interpreter is not None  # noqa: S101 - targets without one are not built
        self.interpreter = self.planned.interpreter
        self.target = self.planned.target
        self.options = self.context.run.options.for_target(self.target)
        self.user = self.context.users[self.target]
        name = f"{self.target.identifier}{self.suffix}"
        self.folder = self.context.work / name
        self.project = self.folder / "source"
        self.sealed = self.context.work / "sealed" / name
        self.log = self.context.run.output.log(name)

    @property
    def places(self) -> dict[str, Path]:
        """The values of `{project}` and `{package}`."""
        return {"project": self.project, "package": self.project / self.context.snapshot.package}

    @property
    def source(self) -> Path:
        """The package's folder in the snapshot, which project code cannot write."""
        return self.context.snapshot.root / self.context.snapshot.package

    @property
    def user_and_fetcher(self) -> tuple[int, int] | None:
        """The user ids of the target and its fetcher; None if nothing is prefetched."""
        if self.user is None or self.context.fetcher is None or self.suffix:
            return None
        return self.user, self.context.fetcher

    def make_folder(self) -> None:
        """Raises OSError."""
        untrusted_files.make_place(self.folder, self.user)
        for cache in ("uv", "zig") if self.user is not None else ():  # not shared with other users
            untrusted_files.make_folder(self.folder / cache, self.user)

    def base_venv(self) -> Venv:
        """Return the target's interpreter, outside of a virtual environment."""
        return Venv(
            uv=self.context.uv,
            python=self.interpreter.path,
            environment=self._environment(),
            log=self.log,
            user=self.user,
        )

    def _environment(self) -> dict[str, str]:
        assignments = fill_values(self.options.environment, **self.places)
        expanded = self.context.prepared.expand(assignments, self.default_environment(self.options.environment_pass))
        # Tests run what was repaired, and must not find what it lacks.
        return expanded if self.suffix else self.context.tools.with_libraries(expanded)

    def default_environment(self, passed: tuple[str, ...] = ()) -> dict[str, str]:
        """Return the target's variables before `environment` changes them.

        `passed` are names of the caller's variables. Raises OSError for unreadable constraints.
        """
        path = (self.context.tools.bin_dir,)
        scrubbed = build_environment(
            self.context.run.caller, path=path, private=self.folder, passed=passed, user=self.user
        )
        return scrubbed | self._own_variables() | self._constraint_variables()

    def _own_variables(self) -> dict[str, str]:
        own = {
            **self.context.tools.environment,
            **self.context.jobserver.environment,
            # Another target or run must not read a cache that a build can write.
            "UV_CACHE_DIR": str((cache_dir() if self.user is None else self.folder) / "uv"),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            **marks(self.target),
        }
        if self.options.repair.by is Repairer.NONE:  # nothing would add the shared C++ library to the wheel
            own["MANYWHEELS_CXX_STATIC"] = "1"
        if self.user is not None:
            # If the image's compiler is zig, its cache keeps sources from standard input: keep users apart.
            own["ZIG_LOCAL_CACHE_DIR"] = str(self.folder / "zig")
        if self.user_and_fetcher:  # the fetcher owns the files, so the kernel refuses hard links
            own["UV_LINK_MODE"] = "symlink"
        return own

    def _constraint_variables(self) -> dict[str, str]:
        """Return the variables that make every front end follow `dependency-versions`."""
        if not self.constraints:
            return {}
        file = self.sealed / "constraints.txt"
        if not file.exists():
            untrusted_files.make_public_folder(self.sealed)
            untrusted_files.write_file(file, self.constraints.encode())
        return dict.fromkeys(_CONSTRAINTS, str(file))

    @cached_property
    def constraints(self) -> str:
        """The content of the constraints file, if any. Raises OSError."""
        constraints = self.options.constraints
        if not (constraints.file or constraints.packages):
            return ""
        return constraints.text(self.source, self.target.python)
