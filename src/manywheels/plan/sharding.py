"""Sharding: several machines make the same plan, and each builds its shard.

A shard may be of one architecture's targets, so that a machine of this architecture builds it.
A shard's manifest names the whole plan, so that `gather` knows what is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from manywheels.errors import SelectionError
from manywheels.plan import inputs
from manywheels.plan.architectures import canonical
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.targets import Plan, Target
from manywheels.wheels.manifest import MOST_SHARDS, Shard

T = TypeVar("T")


def part(items: Sequence[T], shard: Shard) -> tuple[T, ...]:
    """Take every `count`-th item, to spread old and new Pythons over all machines.

    Parts are disjoint and complete; with more shards than items, some are empty.
    """
    return tuple(items[shard.index - 1 :: shard.count])


def take_part(plan: Plan, shard: Shard | None) -> Plan:
    """Return a job's part of a plan, the whole plan without a shard.

    Raises SelectionError if the plan has no target for the shard's architecture.
    """
    if shard is None:
        return plan
    candidates = [planned for planned in plan.targets if shard.arch in {"", planned.target.arch}]
    if not candidates:
        raise SelectionError(
            f"`shard`: the plan has no target for {shard.arch}, which {shard} is a part of.",
            remedy="Give all jobs the same `archs`, with this architecture among them.",
        )
    own = part(candidates, shard)
    siblings = tuple(planned.target for planned in plan.targets if planned not in own)
    return replace(plan, targets=own, shard=shard, siblings=siblings, leads=plan.targets[0] in own)


def shards_for(count: int, per_job: int, arch: str = "") -> tuple[Shard, ...]:
    """Return the fewest shards with at most `per_job` of `count` targets."""
    jobs = -(-count // per_job)
    return tuple(Shard(index=index, count=jobs, arch=arch) for index in range(1, jobs + 1))


@dataclass(frozen=True, kw_only=True)
class Job:
    """A CI job: its shard of the plan, with its targets, all for `arch`."""

    shard: Shard
    arch: str
    targets: tuple[Target, ...]


def jobs_for(plan: Plan, per_job: int) -> tuple[Job, ...]:
    """Return the jobs that build a plan, at most `per_job` targets each; none mixes architectures."""
    by_arch: dict[str, list[Target]] = {}
    for planned in plan.targets:
        by_arch.setdefault(planned.target.arch, []).append(planned.target)
    return tuple(
        Job(shard=shard, arch=arch, targets=part(own, shard))
        for arch, own in by_arch.items()
        for shard in shards_for(len(own), per_job, arch if len(by_arch) > 1 else "")
    )


def parse_shard(value: Value, name: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Return the shard that `2/5` stands for, None for the whole plan. Raises InputError.

    `aarch64:2/5` is a part of the targets for this architecture, `aarch64` all of them.
    `auto` is a GitLab `parallel` job's number (CI_NODE_INDEX, CI_NODE_TOTAL), else the whole plan.
    """
    text = value.value.strip()
    if text == "auto":
        index, count = environment.get("CI_NODE_INDEX", ""), environment.get("CI_NODE_TOTAL", "")
        if "GITLAB_CI" not in environment or not index:
            return None
        text = f"{index}/{count}"
        value = Value(value=text, origin=Origin(OriginKind.VARIABLE, "CI_NODE_INDEX/CI_NODE_TOTAL"))
    arch, colon, numbers = text.rpartition(":")
    if not colon and re.fullmatch("[A-Za-z]\\w*", text):
        arch, numbers = text, "1/1"
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", numbers)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS or (colon and not arch):
        raise inputs.refuse(
            replace(value, value=text),
            name,
            "`auto`, or a shard of the plan as `2/5`, of an architecture as `aarch64:2/5`",
        )
    arch = canonical(arch, value.origin) if arch else ""
    return Shard(index=int(match[1]), count=int(match[2]), arch=arch) if arch or int(match[2]) > 1 else None
