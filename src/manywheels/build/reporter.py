"""The interface of reporters, which show a run to the user."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from manywheels.plan.targets import Plan, Target
from manywheels.wheels.manifest import Manifest, TargetRecord


class Reporter(Protocol):
    """Receives a run's events, from several threads at once."""

    def prepared(self, name: str, log: Path, seconds: float) -> None:
        """A command for the whole run (`before-all`) ended, before `started`."""

    def started(self, plan: Plan, title: str) -> None:
        """`title` names the project, the policy and the compilers."""

    def entered(self, target: Target, stage: str) -> None:
        """A target entered a stage, such as `build`, `repair` or `waiting` (for other targets)."""

    def finished(self, record: TargetRecord) -> None:
        """A target ended, with or without a wheel."""

    def closed(self, manifest: Manifest) -> None:
        """All targets have ended."""

    def stop(self) -> None:
        """Restore the terminal, also in the middle of a run."""
