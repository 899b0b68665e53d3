"""Files of an earlier build in the source, which a build may take for its own."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.trees import Walk, walk

_MOST: Final = 100_000  # entries looked at
_NAMED: Final = 3
# Libraries without an interpreter's tag may be the project's own.
_STALE: Final = re.compile(r".+\.(?:cpython-\w+-[\w-]+|abi3t?|pypy\d+-\w+-[\w-]+)\.so|.+\.(?:o|pyd)|CMakeCache\.txt")
_NOT_ENTERED: Final = frozenset({".git", "node_modules", "site-packages"})


def hint(folder: Path, cancellation: Cancellation) -> str:
    """Return what a user needs to know of such files in a folder; "" if there are none. Raises Cancelled."""
    found = _stale_files(folder, cancellation)
    if not found:
        return ""
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"The source has files of an earlier build ({', '.join(sorted(found)[:_NAMED])}{more}), which this build may "
        "have used: remove them, or build in a clean checkout."
    )


def _stale_files(folder: Path, cancellation: Cancellation) -> list[str]:
    found: list[str] = []
    left = _MOST

    def visit(at: Walk) -> list[str]:
        nonlocal left
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                cancellation.stop_if_requested("Looking for compiled files")
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                elif _STALE.fullmatch(entry.name):
                    found.append("/".join((*at.below_top, entry.name)))
        return [name for name in below if name not in _NOT_ENTERED] if left > 0 else []

    with suppress(OSError):
        walk(folder, visit)
    return found
