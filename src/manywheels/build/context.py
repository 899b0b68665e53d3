"""What is asked for in a run, and what its targets have in common while they are built side by side."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from manywheels.build.jobserver import Jobserver
from manywheels.build.reporter import Reporter
from manywheels.build.stages.before_all import Prepared
from manywheels.build.stages.test_run import TestOutcome
from manywheels.build.toolchain import Toolchain
from manywheels.build.wheel_sharing import WheelSharing
from manywheels.core.cancellation import Cancellation
from manywheels.errors import WrongWheel
from manywheels.plan.options import Options
from manywheels.plan.project import Project
from manywheels.plan.targets import Plan, PlannedTarget, Target
from manywheels.runtime.uv import uv_program
from manywheels.runtime.workspace import Snapshot
from manywheels.verify.rules import Rules
from manywheels.verify.run import check_set
from manywheels.verify.sets import WheelFacts
from manywheels.wheels import wheelfile
from manywheels.wheels.output import OutputFolder


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is asked for: the project, the plan, the options, which findings count, where wheels go, and
    the caller's environment."""

    project: Project
    plan: Plan
    options: Options
    rules: Rules
    output: OutputFolder
    caller: dict[str, str]


@dataclass(kw_only=True)
class RunContext:
    """What the targets of one run have in common."""

    run: Run
    snapshot: Snapshot
    prepared: Prepared
    tools: Toolchain
    jobserver: Jobserver
    work: Path
    reporter: Reporter
    board: WheelSharing
    users: dict[Target, int | None]
    fetcher: int | None
    started: float

    def __post_init__(self) -> None:
        self.version: str | None = None
        self.facts: list[WheelFacts] = []
        self.tried: dict[Target, TestOutcome] = {}
        self.front_end = uv_program()  # once, here: sysconfig, which it asks, is not safe in threads
        self._delivery = threading.Lock()
        jobs = self.run.options.jobs
        self._places = threading.Semaphore(jobs) if jobs else nullcontext()

    def served_by(self, target: Target) -> list[PlannedTarget]:
        """Return the targets that this one's wheel serves; known for good when its wheel has been announced."""
        return [planned for planned in self.run.plan.targets if self.board.served.get(planned.target) == target]

    @contextmanager
    def place(self, cancellation: Cancellation) -> Iterator[None]:
        """Hold one of the `--jobs` places and one of the jobserver's tokens; nobody waits for others in here."""
        with self._places, self.jobserver.slot(cancellation):
            yield

    def set_warnings(self) -> tuple[str, ...]:
        """Return what the finished wheels show only side by side."""
        findings = self.run.rules.judge(check_set(self.facts, None))
        return tuple(f"{finding.wheel} {finding}".lstrip() for finding in findings)

    def deliver(self, wheel: Path, sha256: str) -> Path:
        """Move a verified wheel into the output folder; every wheel of a run is of one version.

        `sha256` (hex) is that of the bytes that were verified.
        """
        version = wheelfile.parse_name(wheel.name).version
        with self._delivery:
            if self.version not in {None, version}:
                raise WrongWheel(
                    f"{wheel.name} is version {version}, the other wheels are {self.version}.",
                    remedy="The project's version must not depend on the interpreter, the time or the folder.",
                )
            self.version = version
            return self.run.output.deliver(wheel, sha256=sha256)
