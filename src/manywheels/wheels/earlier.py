"""An earlier run, whose wheels a build may keep.

A folder of wheels may have come with a checkout, manifest and all. So only a manifest that this program wrote counts:
its sha256 is noted in the cache, which is the caller's and not the project's.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.files import cache_dir
from manywheels.errors import WheelFileError
from manywheels.wheels.manifest import Manifest, read_manifest, read_sealed

_MOST: Final = 1000  # manifests noted; the oldest are forgotten


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A manifest that can be trusted, and the folder that should have its wheels, which may have changed."""

    manifest: Manifest
    folder: Path

    def is_of_the_job_of(self, manifest: Manifest) -> bool:
        """Whether both runs built the same plan of the same source in the same way, as two attempts of one job do."""
        before = self.manifest
        if (before.project, before.checkout) != (manifest.project, manifest.checkout):
            return False
        if (before.planned, before.shard) != (manifest.planned, manifest.shard):
            return False
        recipes = {one.identifier: one.made_from.recipe for one in before.targets if one.made_from}
        made = ((one.identifier, one.made_from.recipe) for one in manifest.targets if one.made_from)
        return all(recipes.get(identifier, recipe) == recipe for identifier, recipe in made)


def earlier_in(folder: Path) -> Earlier | None:
    """Return the run that has filled an output folder; None if this program did not note it."""
    try:
        manifest, digest = read_sealed(folder)
    except WheelFileError:
        return None
    return Earlier(manifest=manifest, folder=folder) if (_noted() / digest).is_file() else None


def unconfirmed_in(folder: Path) -> Manifest | None:
    """Return the manifest in an output folder, whoever wrote it: good for an estimate, not to keep wheels of."""
    try:
        return read_manifest(folder)
    except WheelFileError:
        return None


def note_written(manifest: Manifest) -> None:
    """Note that this program wrote a manifest. If the cache cannot be written, the next run builds all."""
    with suppress(OSError):
        folder = _noted()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / manifest.digest).touch()
        for old in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime)[:-_MOST]:
            old.unlink(missing_ok=True)


def _noted() -> Path:
    return cache_dir() / "manifests"
