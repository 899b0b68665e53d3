"""What lies in the folder of a finished set: its own files, and what other releases or targets have left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
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


def of_other_releases(manifest: Manifest | None, paths: Iterable[Path]) -> list[Path]:
    """Return the distributions of other releases than the manifest's.

    A file of the same release that the manifest lacks is none of them, but a mistake.
    """
    own = {release_of(file.name) for file in manifest.files} if manifest else set()
    return [path for path in paths if own and release_of(path.name) not in {None, *own}]


def unchanged(manifest: Manifest, folder: Path, cancellation: Cancellation) -> Iterator[Path]:
    """Yield the manifest's files that are in its folder as it seals them. Raises Cancelled."""
    for file in manifest.files:
        path = folder / file.name
        if is_regular(path) and digest_file(path, cancellation) == file.sha256:
            yield path


def remove(paths: Iterable[Path]) -> list[Path]:
    """Return what could not be removed."""
    left = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            left.append(path)
    return left
