"""PyPI's rules for projects, checked before the upload.

Taken from its server's source (pypi/warehouse, forklift/legacy.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from packaging.utils import canonicalize_name

from manywheels.data import table
from manywheels.deliver.index.simple_api import Listing
from manywheels.verify.distributions import Distribution
from manywheels.verify.model import Problem
from manywheels.verify.rules import Rules

ARCHIVED: Final = "archived"
QUARANTINED: Final = "quarantined"
_SIZE: Final = "MW263"


def project_problems(
    project: str, state: str | None, listing: Listing, files: Sequence[Distribution], rules: Rules
) -> Iterator[Problem]:
    """`state` is PEP 792's, None for a project that the index does not have; `files` are those to be sent."""
    if not files:
        return
    if state == ARCHIVED:
        yield Problem(
            message=f"the project `{project}` is archived: the index accepts no files for it",
            remedy="Unarchive it in the project's settings on the index.",
        )
    if state is None and project in _standard_modules():
        yield Problem(
            message=f"no new project may be called `{project}`, as a module of Python's standard library",
            remedy="Choose another name.",
        )
    stored, sent = sum(file.size or 0 for file in listing.values()), sum(file.size for file in files)
    limit = table("index")["max_project_size"]
    if stored <= limit < stored + sent and not rules.ignores(_SIZE):  # above it, the project has a higher limit
        yield Problem(
            message=f"the project `{project}` would have {stored + sent:,} bytes, the index accepts {limit:,}",
            remedy="Delete old files on the index, or ask it for a higher limit for the project; "
            f'once granted: `ignore = ["{_SIZE}"]` below [tool.manywheels.verify].',
        )


@cache
def _standard_modules() -> frozenset[str]:
    own = (canonicalize_name(name.strip("_")) for name in sys.stdlib_module_names)
    return frozenset({*own, *table("index")["other_modules"]})
