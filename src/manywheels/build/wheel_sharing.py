"""One wheel for several targets: abi3, abi3t and py3-none-platform wheels are built once and reused on their platform.

Only the first built wheel shows whether a project makes such wheels; later targets that can install it are then
stopped, also one that has a wheel of its own already. The earliest target in the plan wins, as in cibuildwheel, which
builds in that order: nothing is delivered, and no failure reported, before every earlier target has announced its
wheel or that it has none. So the set of wheels does not depend on which build is faster.
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
        self._made: dict[Target, WheelName] = {}
        self._ended: set[Target] = set()
        self._condition = threading.Condition()
        self.served: dict[Target, Target] = {}

    def cancellation(self, target: Target) -> Cancellation:
        return self._cancellations[target]

    def must_wait(self, target: Target, made: WheelName) -> bool:
        """Whether `announce` would wait for other targets."""
        with self._condition:
            return made.is_stable_abi and not self._is_clear(target, self._earlier_there(target))

    def announce(self, target: Target, made: WheelName) -> None:
        """Raises ServedByOther if an earlier target's wheel serves this one.

        A stable-ABI wheel waits for the earlier targets of its platform, one of which may serve it, before it serves
        any. Others go on meanwhile.
        """
        with self._condition:
            self._made[target] = made
            if made.is_stable_abi:
                self._wait_for(target, self._earlier_there(target))
                if target not in self.served:
                    self._serve_later_ones(target, made)
            self._decide(target)
            if target in self.served:
                raise ServedByOther

    def is_settled(self, target: Target) -> bool:
        """Whether no earlier target is left that could still serve this one."""
        with self._condition:
            return self._earlier(target) <= self._decided

    def settle(self, target: Target) -> None:
        """Wait until every earlier target has a wheel or none. Raises ServedByOther.

        A target that has not announced a wheel has none from then on.
        """
        with self._condition:
            self._decide(target)
            self._wait_for(target, self._earlier(target))
            if target in self.served:
                raise ServedByOther

    def first_version(self) -> str:
        """Return the version of the earliest target's wheel; final for settled targets that have one."""
        with self._condition:
            return next(self._made[one].version for one in self._order if one in self._made)

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

    def _earlier(self, target: Target) -> set[Target]:
        return set(self._order[: self._order.index(target)])

    def _earlier_there(self, target: Target) -> set[Target]:
        return {other for other in self._earlier(target) if other.is_on_the_platform_of(target)}

    def _wait_for(self, target: Target, earlier: set[Target]) -> None:
        self._condition.wait_for(lambda: self._is_clear(target, earlier))

    def _is_clear(self, target: Target, earlier: set[Target]) -> bool:
        return target in self.served or earlier <= self._decided

    def _decide(self, target: Target) -> None:
        self._decided.add(target)
        self._condition.notify_all()

    def _serve_later_ones(self, target: Target, made: WheelName) -> None:
        index = self._order.index
        for later in self._order[index(target) + 1 :]:
            if not later.is_on_the_platform_of(target) or not later.installs(made.tags):
                continue
            if later not in self.served:
                self.served[later] = target
                self._cancellations[later].request()
