"""How long a run is likely to take, from what its targets took in the run before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from manywheels.report import wording
from manywheels.wheels.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """`seconds`: what each target took before, by identifier, of those that were built; `at_once`: how many were."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    at_once: float = 1.0

    def left(self, elapsed: Mapping[str, float]) -> float | None:
        """Return the seconds that are left for targets that have not ended, by how long each has been at it.

        None if one of them was not built before.
        """
        if not elapsed or any(identifier not in self.seconds for identifier in elapsed):
            return None
        each = [max(0.0, self.seconds[identifier] - spent) for identifier, spent in elapsed.items()]
        return max(sum(each) / self.at_once, *each)


def estimate(before: Manifest | None) -> Estimate:
    """Take what an earlier run says of the targets that it built itself."""
    built = [record for record in before.targets if record.seconds and not record.kept] if before else []
    spent = {record.identifier: wording.total(record) for record in built}
    if before is None or not (in_all := sum(spent.values())):
        return Estimate()
    return Estimate(seconds=spent, at_once=max(1.0, in_all / max(before.seconds, 0.1)))
