"""Targets that were planned and have no wheel, because their interpreter was missing where the rest was built.

A release without them looks whole to whoever publishes it; users of these Pythons would build from source. So every
command that passes on a set refuses it, unless its own `allow-missing` accepts that. The manifest cannot accept it for
later commands: a pull request can change what a building job is told, and publishing must not follow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from manywheels.wheels.manifest import Manifest, TargetState

ALLOW: Final = "allow-missing"
_MOST_NAMED: Final = 200  # a hostile manifest can have any number
WAYS_OUT: Final = (
    "Build again with these Pythons (`uv python install` installs them; `--engine container` has them in its image), "
    f"leave them out with `skip` or a narrower `build`, or accept it with `{ALLOW}`."
)


def missing_targets(manifests: Iterable[Manifest]) -> tuple[str, ...]:
    """Return the identifiers of the targets without interpreter, in the manifests' order."""
    return tuple(
        record.identifier
        for manifest in manifests
        for record in manifest.targets
        if record.state is TargetState.NO_INTERPRETER
    )


def describe_missing(identifiers: Iterable[str]) -> str:
    """Return one sentence without its full stop, which names them."""
    names = list(identifiers)
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"planned, but not built because their Pythons were missing: {' '.join(names[:_MOST_NAMED])}{more}"
