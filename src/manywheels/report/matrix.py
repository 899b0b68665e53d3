"""The plan as a matrix of jobs, for GitHub's and GitLab's own ways to start many of them.

Each job is told its shard, not its targets: so its manifest names the whole plan, and gathering finds what is missing.
"""

from __future__ import annotations

import json
from typing import Final

from manywheels.inputs import GITLAB_PREFIX
from manywheels.manifest import Shard
from manywheels.sharding import part, shards_for
from manywheels.targets import Plan

_LONGEST: Final = (
    90  # GitLab takes names of 255 characters, where `needs` has them of 128; the job's own name is in there
)


def github(plan: Plan, per_job: int) -> str:
    """Return one line of JSON for `matrix: ${{ fromJSON(…) }}`; a job has `matrix.shard` and `matrix.targets`."""
    jobs = [{"shard": str(shard), "targets": _names(plan, shard)} for shard in _shards(plan, per_job)]
    return json.dumps({"include": jobs})


def gitlab(plan: Plan, per_job: int) -> str:
    """Return a hidden job with `parallel:matrix`, to which the building job of a child pipeline refers.

    A job finds its shard in the variable that the templates' jobs read; TARGETS is there for its name, and so short.
    """
    lines = [".manywheels-matrix:", "  parallel:", "    matrix:"]
    for shard in _shards(plan, per_job):
        lines.append(f'      - {GITLAB_PREFIX}SHARD: "{shard}"')
        lines.append(f'        TARGETS: "{_short_names(plan, shard)}"')
    return "\n".join(lines)


def _shards(plan: Plan, per_job: int) -> tuple[Shard, ...]:
    return shards_for(len(plan.targets), per_job)


def _names(plan: Plan, shard: Shard) -> str:
    return " ".join(planned.target.identifier for planned in part(plan.targets, shard))


def _short_names(plan: Plan, shard: Shard) -> str:
    tags = [planned.target.tag for planned in part(plan.targets, shard)]
    names = " ".join(tags)
    return names if len(names) <= _LONGEST else f"{tags[0]} … {tags[-1]}"
