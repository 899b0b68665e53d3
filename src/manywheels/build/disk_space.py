"""Check the disk space before building, rather than let a compiler find the disk full."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.errors import DiskError
from manywheels.runtime.trees import Walk, walk

_FOR_A_BUILD: Final = 32 << 20  # bytes for a target's tools and objects
_FOR_THE_OUTPUT: Final = 4 << 20  # bytes for the manifest, logs and small wheels


def require_for(source: Path, work: Path, cancellation: Cancellation, *, copies: int, output: Path) -> None:
    """Raise DiskError if `work` lacks space for `copies` of `source` with builds, or `output` for wheels.

    Checks only the least that a build needs. Raises Cancelled.
    """
    needed = copies * (_size_of(source, cancellation) + _FOR_A_BUILD)
    _require(
        work, needed, f"{copies} copies of the source and a build in each", "Set MANYWHEELS_CACHE to another folder."
    )
    _require(output, _FOR_THE_OUTPUT, "wheels and logs", "Set `output-dir` to another folder.")


def _require(folder: Path, needed: int, purpose: str, remedy: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskError(
            f"The disk of `{folder}` has {_megabytes(free)} left; {purpose} need at least {_megabytes(needed)}.",
            remedy=f"Free disk space. {remedy}",
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _size_of(folder: Path, cancellation: Cancellation) -> int:
    """Return the size in bytes, without a repository's objects, which are not copied."""
    total = 0

    def count(at: Walk) -> list[str]:
        nonlocal total
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                cancellation.stop_if_requested("Checking the disk space")
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                else:
                    total += entry.stat(follow_symlinks=False).st_size  # with holes, which are read like data
        return [name for name in below if (at.name, name) != (".git", "objects")]

    walk(folder, count)
    return total
