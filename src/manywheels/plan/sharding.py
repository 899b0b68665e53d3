"""Sharding: several machines make the same plan, and each builds its shard.

A shard's manifest names the whole plan, so that `gather` knows what is missing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.targets import Plan
from manywheels.wheels.manifest import MOST_SHARDS, Shard

T = TypeVar("T")


def part(items: Sequence[T], shard: Shard) -> tuple[T, ...]:
    """Take every `count`-th item, to spread old and new Pythons over all machines.

    Parts are disjoint and complete; with more shards than items, some are empty.
    """
    return tuple(items[shard.index - 1 :: shard.count])


def take_part(plan: Plan, shard: Shard | None) -> Plan:
    """Return a job's part of a plan, the whole plan without a shard."""
    if shard is None:
        return plan
    own = part(plan.targets, shard)
    siblings = tuple(planned.target for planned in plan.targets if planned not in own)
    return replace(plan, targets=own, shard=shard, siblings=siblings)


def shards_for(count: int, per_job: int) -> tuple[Shard, ...]:
    """Return the fewest shards with at most `per_job` of `count` targets."""
    jobs = -(-count // per_job)
    return tuple(Shard(index=index, count=jobs) for index in range(1, jobs + 1))


def parse_shard(value: Value, name: str, environment: Mapping[str, str] = os.environ) -> Shard | None:
    """Return the shard that `2/5` stands for, None for the whole plan. Raises InputError.

    `auto` is a GitLab `parallel` job's number (CI_NODE_INDEX, CI_NODE_TOTAL), else the whole plan.
    """
    text = value.value.strip()
    if text == "auto":
        index, count = environment.get("CI_NODE_INDEX", ""), environment.get("CI_NODE_TOTAL", "")
        if "GITLAB_CI" not in environment or not index:
            return None
        text = f"{index}/{count}"
        value = Value(value=text, origin=Origin(OriginKind.VARIABLE, "CI_NODE_INDEX/CI_NODE_TOTAL"))
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MOST_SHARDS:
        raise inputs.refuse(replace(value, value=text), name, "`auto`, or a shard of the plan as `2/5`")
    return Shard(index=int(match[1]), count=int(match[2])) if int(match[2]) > 1 else None
