"""The record of one target: its stages, findings and result."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from manywheels.build.stages.hooks import note
from manywheels.build.target.testing import why_not_tested
from manywheels.build.target.workspace import TargetWorkspace
from manywheels.build.trace import Kind
from manywheels.errors import ManywheelsError, TargetError
from manywheels.wheels.manifest import Failure, TargetRecord, TargetState, WheelRecord


@dataclass
class TargetProgress:
    """A target's current stage, each stage's start and duration (seconds), and the findings.

    Without `is_shown`, reporters and traces are not told of stages.
    """

    workspace: TargetWorkspace
    is_shown: bool = True
    stage: str = "prepare"
    began: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    checks: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @contextmanager
    def enter(self, stage: str) -> Iterator[None]:
        context = self.workspace.context
        self.stage = stage
        if self.is_shown:
            context.reporter.entered(self.workspace.target, stage)
        started = time.monotonic()
        self.began[stage] = round(started - context.started, 3)
        try:
            with self._span(stage):
                yield
        finally:
            self.seconds[stage] = round(time.monotonic() - started, 3)

    def _span(self, stage: str) -> AbstractContextManager[None]:
        trace, lane = self.workspace.context.run.trace, self.workspace.target.identifier
        return trace.span(Kind.TARGET, stage, lane=lane) if self.is_shown else nullcontext()

    def record(
        self, state: TargetState, *, wheel: WheelRecord | None = None, failure: Failure | None = None
    ) -> TargetRecord:
        workspace, context = self.workspace, self.workspace.context
        tested = context.test_outcomes.get(workspace.target)
        return TargetRecord(
            identifier=workspace.target.identifier,
            state=state,
            python=workspace.interpreter.version,
            wheel=wheel,
            began=dict(self.began),
            seconds=dict(self.seconds),
            checks=self.checks,
            log=str(workspace.log.relative_to(context.run.output.path)),
            tests=tested.test_run if tested else None,
            tests_not_run="" if failure else why_not_tested(workspace),
            failure=failure,
            warnings=tuple(self.warnings),
        )

    def fail(self, error: TargetError, state: TargetState = TargetState.FAILED) -> TargetRecord:
        return self.record(state, failure=failure_of(error, self.stage))


def failure_of(error: TargetError, stage: str) -> Failure:
    return Failure(
        code=error.code,
        stage=stage,
        problem=error.message,
        remedy=error.remedy,
        excerpt=error.excerpt,
        file=error.file,
        line=error.line,
    )


def target_error(error: Exception, log: Path) -> TargetError:
    """Return what users are told of an error that ended a build; a fault in this program goes to the log, too."""
    if isinstance(error, TargetError):
        return error
    if isinstance(error, ManywheelsError):
        return TargetError(error.message, remedy=error.remedy)
    if isinstance(error, OSError):
        place = f" ({error.filename})" if error.filename else ""
        return TargetError(f"{error.strerror or error}{place}.", remedy="Check the machine's disks and permissions.")
    with suppress(OSError):
        note(log, "".join(traceback.format_exception(error)))
    return TargetError(f"A fault in manywheels: {error!r}.", remedy=f"Please report it, with {log}.")
