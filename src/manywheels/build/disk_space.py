"""Room on disks: looked at before anything is built, so that a full disk is said at once, not in a compiler's words."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.errors import DiskError
from manywheels.runtime.trees import Walk, walk

_FOR_A_BUILD: Final = 32 << 20  # bytes for what a target needs besides its copy of the source: tools and objects
_FOR_THE_OUTPUT: Final = 4 << 20  # bytes for the manifest, logs and small wheels


def require_for(source: Path, work: Path, cancellation: Cancellation, *, copies: int, output: Path) -> None:
    """Raise DiskError unless `work` has room for `copies` of `source` with a build in each, and `output` for wheels.

    What a build really needs, nobody knows before; this is what no build can do without. Raises Cancelled.
    """
    needed = copies * (_size_of(source, cancellation) + _FOR_A_BUILD)
    _require(
        work, needed, f"{copies} copies of the source and a build in each", "MANYWHEELS_CACHE names another place."
    )
    _require(output, _FOR_THE_OUTPUT, "wheels and logs", "Name another folder with `output-dir`.")


def _require(folder: Path, needed: int, purpose: str, remedy: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"The disk of `{folder}` has {_megabytes(free)} left; {purpose} need at least {_megabytes(needed)}.",
            remedy=f"Make room. {remedy}",
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _size_of(folder: Path, cancellation: Cancellation) -> int:
    """Return what the files of a folder occupy, in bytes; a repository's objects are not copied, and not counted."""
    total = 0

    def count(at: Walk) -> list[str]:
        nonlocal total
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                cancellation.stop_if_requested("Looking for room")
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    total += entry.stat(follow_symlinks=False).st_size  # holes too: they are read like anything else
        return [name for name in below if (at.name, name) != (".git", "objects")]

    walk(folder, count)
    return total
