"""A run, and what its targets share while they are built side by side."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from manywheels.build.compiler_cache.server import CompilerCache
from manywheels.build.compilers.toolchain import Toolchain
from manywheels.build.jobserver import Jobserver
from manywheels.build.reporter import Reporter
from manywheels.build.stages.before_all import Prepared
from manywheels.build.stages.test_run import TestOutcome
from manywheels.build.trace import NO_TRACE, Trace
from manywheels.build.wheel_sharing import WheelSharing
from manywheels.errors import PureWheel, WrongWheel
from manywheels.plan.options import Options
from manywheels.plan.platforms import Platform
from manywheels.plan.project import Project
from manywheels.plan.target_options import TargetOptions
from manywheels.plan.targets import Plan, PlannedTarget, Target
from manywheels.runtime.uv import uv_program
from manywheels.runtime.workspace import Snapshot
from manywheels.verify.rules import Rules
from manywheels.verify.run import check_set
from manywheels.verify.sets import WheelFacts
from manywheels.wheels import wheelfile
from manywheels.wheels.earlier import Earlier
from manywheels.wheels.output import OutputFolder


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run is asked to do. `rules` decide which findings count; `caller` is the caller's environment.

    `reports` are files that the run writes beside the output folder: no part of the source, if they are in its folder.
    `earlier` is a run whose wheels are kept where they would come out the same. A part of a run may have the path of a
    `jobserver` that it shares with other parts. `overlooked` name what the
    caller's settings say of indexes and versions, and builds are not told.
    """

    project: Project
    plan: Plan
    options: Options
    rules: Rules
    output: OutputFolder
    caller: dict[str, str]
    overlooked: tuple[str, ...] = ()
    reports: tuple[Path, ...] = ()
    is_part: bool = False
    jobserver: Path | None = None
    trace: Trace = NO_TRACE
    earlier: Earlier | None = None

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms of the plan's targets."""
        return self.options.platforms_of(planned.target for planned in self.plan.targets)

    @property
    def makes_sdist(self) -> bool:
        """Whether this run delivers the sdist, and not another part of the plan."""
        return self.options.sdist and self.plan.leads


@dataclass(frozen=True, kw_only=True)
class PlatformSetup:
    """What the targets of one platform share: the compilers, and the source as `before-all` left it."""

    tools: Toolchain
    snapshot: Snapshot
    prepared: Prepared


@dataclass(kw_only=True)
class RunContext:
    """What a run's targets share. `users` and `fetcher`, who prefetches, are user ids.

    `work` is the run's temporary folder, `started` a monotonic time in seconds. `kept_version` is that of an earlier
    run's wheels, if any are kept; `sdist_version` that of the sdist, if one is built. `checkout` is the project's
    source if wheels are built from the sdist, which lacks files that options name.
    """

    run: Run
    setups: Mapping[Platform, PlatformSetup]
    jobserver: Jobserver
    work: Path
    reporter: Reporter
    sharing: WheelSharing
    users: dict[Target, int | None]
    fetcher: int | None
    started: float
    compiler_cache: CompilerCache | None = None
    kept_version: str | None = None
    sdist_version: str | None = None
    checkout: Snapshot | None = None

    def __post_init__(self) -> None:
        self.version: str | None = None
        self.pure: tuple[TargetOptions, PureWheel] | None = None  # a target that has shown that nothing is compiled
        self.facts: list[WheelFacts] = []
        self.test_outcomes: dict[Target, TestOutcome] = {}
        self.uv = uv_program()  # once, here: it uses sysconfig, which is not thread-safe
        self._delivery = threading.Lock()

    def setup_of(self, target: Target) -> PlatformSetup:
        return self.setups[self.run.options.platform_of(target)]

    def served_by(self, target: Target) -> list[PlannedTarget]:
        """Return the targets that reuse this one's wheel; final once that has been announced."""
        return [planned for planned in self.run.plan.targets if self.sharing.served.get(planned.target) == target]

    def set_warnings(self) -> tuple[str, ...]:
        findings = self.run.rules.judge(check_set(self.facts, None))
        return tuple(f"{finding.wheel} {finding}".lstrip() for finding in findings)

    def deliver(self, wheel: Path, sha256: str) -> Path:
        """`sha256` (hex) is that of the verified bytes.

        Raises WrongWheel if the earliest target's wheel has another version.
        """
        version = wheelfile.parse_name(wheel.name).version
        if self.kept_version not in {None, version}:
            raise WrongWheel(
                f"{wheel.name} is version {version}, but wheels of an earlier run, which had the same source, are "
                f"{self.kept_version}.",
                remedy="Build all of them with `--fresh`. The project's version depends on more than its source.",
            )
        if self.sdist_version not in {None, version}:
            raise WrongWheel(
                f"{wheel.name} is version {version}, the sdist is {self.sdist_version}.",
                remedy="The project's version must not depend on what is built, the time or the folder.",
            )
        with self._delivery:
            if version != (first := self.sharing.first_version()):
                raise WrongWheel(
                    f"{wheel.name} is version {version}, the earliest target's wheel is {first}.",
                    remedy="The project's version must not depend on the interpreter, the time or the folder.",
                )
            self.version = version
            return self.run.output.deliver(wheel, sha256=sha256)
