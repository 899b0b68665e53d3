"""The sources of a gathering: folders that `build` has filled, and folders with files that were built elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.errors import WheelFileError
from manywheels.wheels.leftovers import of_other_releases
from manywheels.wheels.manifest import Manifest, read_sealed
from manywheels.wheels.output import MANIFEST

SDIST: Final = ".tar.gz"


@dataclass(frozen=True, kw_only=True)
class SetSource:
    """A folder with a set, and its name in messages. A `foreign` one has what was built elsewhere, and no manifest."""

    folder: Path
    name: str
    foreign: bool = False


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """A source's content. `digest` is the sha256 (hex) of the manifest's file.

    Beside a manifest, files of other releases than its own do not count: they are left where they are.
    """

    source: SetSource
    manifest: Manifest | None
    digest: str
    wheels: tuple[Path, ...]
    sdists: tuple[Path, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Its wheels and sdists."""
        return (*self.wheels, *self.sdists)

    def __str__(self) -> str:
        return f"`{self.source.name}`"


class Hashes:
    """Each file's sha256 (hex), as of its first reading."""

    def __init__(self, cancellation: Cancellation | None) -> None:
        self._cancellation = cancellation
        self._known: dict[Path, str] = {}

    def of(self, file: Path) -> str:
        """Raises Cancelled and OSError."""
        if file not in self._known:
            self._known[file] = digest_file(file, self._cancellation)
        return self._known[file]


def open_set(source: SetSource) -> OpenSet:
    """Raises WheelFileError without the folder, or for an unreadable manifest."""
    if not source.folder.is_dir():
        is_file = os.path.lexists(source.folder)
        raise WheelFileError(
            f"`{source.name}` is no folder." if is_file else f"There is no folder `{source.name}`.",
            remedy="`foreign` takes folders: name the one that has the wheels of others."
            if source.foreign
            else "Name folders that `build` wrote into.",
        )
    there = os.path.lexists(source.folder / MANIFEST)
    manifest, digest = read_sealed(source.folder) if there else (None, "")

    def found(pattern: str) -> tuple[Path, ...]:
        there = sorted(source.folder.glob(pattern))
        others = of_other_releases(manifest, there)
        return tuple(path for path in there if path not in others)

    return OpenSet(
        source=source, manifest=manifest, digest=digest, wheels=found("*.whl"), sdists=found(f"*{SDIST}")
    )  # fmt: skip
