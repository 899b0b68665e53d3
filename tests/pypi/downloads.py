"""Wheels of the index for any platform, by pip."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

NOTHING_FITS = "No matching distribution found"
NEWEST_GLIBC, NEWEST_MUSL = 45, 6  # minor versions that are asked for; above those of today
LEGACY = {"manylinux2014": "manylinux_2_17", "manylinux2010": "manylinux_2_12", "manylinux1": "manylinux_2_5"}


def platform_tags(place: str) -> list[str]:
    """Return every platform tag of a place, as `manylinux x86_64`, the most demanding first; or the tag itself."""
    libc, _, arch = place.partition(" ")
    if libc == "musllinux":
        return [f"musllinux_1_{minor}_{arch}" for minor in range(NEWEST_MUSL, 0, -1)]
    if libc == "manylinux":
        modern = [f"manylinux_2_{minor}_{arch}" for minor in range(NEWEST_GLIBC, 4, -1)]
        return modern + [f"{old}_{arch}" for old in LEGACY]
    return [place]


def download(
    requirements: Sequence[str],
    place: str,
    folder: Path,
    *,
    python: str,
    abis: Sequence[str],
    implementation: str = "cp",
) -> bool:
    """Download the wheels for a Python on a place; return whether there are all."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "--python-version", python, "--implementation", implementation,
         *(word for abi in abis for word in ("--abi", abi)),
         *(word for tag in platform_tags(place) for word in ("--platform", tag)),
         "--dest", folder, *requirements],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or NOTHING_FITS in done.stderr, done.stderr
    return done.returncode == 0
