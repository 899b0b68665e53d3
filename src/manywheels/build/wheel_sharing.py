"""One wheel for several targets: abi3 and py3-none-platform wheels are built once and reused.

Only the first built wheel shows whether a project makes such wheels; later targets that can install it are then
stopped. The earliest target in the plan wins, whichever build is fastest: a stable-ABI wheel waits until every earlier
target has announced its wheel or ended. Only a later target's wheel of another kind is kept if it was built first.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from manywheels.core.cancellation import Cancellation
from manywheels.plan.targets import PlannedTarget, Target
from manywheels.wheels.wheelfile import WheelName


class ServedByOther(Exception):
    """An earlier target's wheel serves this one."""


class WheelSharing:
    """Targets announce their wheels here; `served` maps each target that reuses a wheel to the target that built it."""

    def __init__(self, planned: Sequence[PlannedTarget], cancellation: Cancellation) -> None:
        self._order = [entry.target for entry in planned]
        self._cancellations = {target: cancellation.child() for target in self._order}
        self._decided: set[Target] = set()
        self._ended: set[Target] = set()
        self._condition = threading.Condition()
        self.served: dict[Target, Target] = {}

    def cancellation(self, target: Target) -> Cancellation:
        return self._cancellations[target]

    def announce(self, target: Target, made: WheelName) -> None:
        """Raises ServedByOther if an earlier target's wheel serves this one."""
        with self._condition:
            if made.is_stable_abi and target not in self.served:
                self._serve_later_ones(target, made)
            self._decide(target)
            if made.is_stable_abi:
                earlier = set(self._order[: self._order.index(target)])
                self._condition.wait_for(lambda: earlier <= self._decided)
            if target in self.served:
                raise ServedByOther

    def leave(self, target: Target) -> None:
        """Announce a target's end, with or without a wheel."""
        with self._condition:
            self._ended.add(target)
            self._decide(target)

    def wait_for_end(self, target: Target) -> None:
        """Wait until a target has ended, with none of its processes left."""
        with self._condition:
            self._condition.wait_for(lambda: target in self._ended)

    def is_served(self, target: Target) -> bool:
        with self._condition:
            return target in self.served

    def _decide(self, target: Target) -> None:
        self._decided.add(target)
        self._condition.notify_all()

    def _serve_later_ones(self, target: Target, made: WheelName) -> None:
        index = self._order.index
        for later in self._order[index(target) + 1 :]:
            if not later.installs(made.tags):
                continue
            if later not in self.served or index(self.served[later]) > index(target):
                self.served[later] = target
                self._cancellations[later].request()
