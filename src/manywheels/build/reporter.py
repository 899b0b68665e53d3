"""Reporters: they only read events and the manifest, and say them where the user looks."""

from __future__ import annotations

from typing import Protocol

from manywheels.plan.targets import Plan, Target
from manywheels.wheels.manifest import Manifest, TargetRecord


class Reporter(Protocol):
    """What the pipeline tells of itself. Events come from several threads at once."""

    def started(self, plan: Plan, title: str) -> None:
        """The plan is about to be executed; `title` says what, for which policy, with which compilers."""

    def entered(self, target: Target, stage: str) -> None:
        """A target entered a stage: `build`, `repair`, `verify`; `waiting` is between them."""

    def finished(self, record: TargetRecord) -> None:
        """A target ended, one way or the other."""

    def closed(self, manifest: Manifest) -> None:
        """All targets have ended."""

    def stop(self) -> None:
        """The run is over, whether all targets have ended or it was given up: leave the terminal as it was."""
