"""Distributions of a project that lie beside a finished set: of an earlier version, or of targets that are no more."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from manywheels.core.regular_files import is_regular
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.wheelfile import release_of


def others_beside(manifest: Manifest, folder: Path) -> tuple[Path, ...]:
    """Return the wheels and sdists of the manifest's project in its folder that it does not have, sorted."""
    projects = {release[0] for file in manifest.files if (release := release_of(file.name))}
    sealed = {file.name for file in manifest.files}
    found = (path for suffix in (".whl", ".tar.gz") for path in folder.glob(f"*{suffix}"))
    return tuple(
        sorted(
            path
            for path in found
            if path.name not in sealed and is_regular(path) and (release_of(path.name) or ("",))[0] in projects
        )
    )


def remove(paths: Iterable[Path]) -> list[Path]:
    """Return what could not be removed."""
    left = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            left.append(path)
    return left
