"""What is said of wheels and sdists that lie beside a set: the release before is easily taken for this one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.text import some

if TYPE_CHECKING:
    from manywheels.wheels.leftovers import Beside
    from manywheels.wheels.manifest import Manifest

_SHOWN: Final = 2  # names in a note: those of wheels are long


def look_at_others(manifest: Manifest, folder: Path, *, clear: bool) -> list[str]:
    """Return notes about what else of the project is in a run's folder; with `clear`, remove it before."""
    from manywheels.wheels.leftovers import beside, of_targets_without_wheel, remove

    found = beside(manifest, folder)
    if not clear:
        older = of_targets_without_wheel(manifest, found.refused)
        return [*_of_failed_targets(folder, older), *_others(manifest, folder, found, older)]
    if not found.all:
        return []
    left = remove(found.all)
    notes = [f"removed from `{folder}`: {names_of([path for path in found.all if path not in left])}"]
    return notes + ([f"cannot be removed: {names_of(left)}"] if left else [])


def names_of(paths: Sequence[Path]) -> str:
    """Return the first names, and how many more there are."""
    return some([path.name for path in paths], _SHOWN)


def _of_failed_targets(folder: Path, older: Sequence[Path]) -> Iterator[str]:
    if older:
        what = "older wheels of failed targets" if len(older) > 1 else "an older wheel of a failed target"
        them = "them" if len(older) > 1 else "it"
        yield f"`{folder}` has {what}: {names_of(older)}. Remove {them}, or correct the build and run it again"


def _others(manifest: Manifest, folder: Path, found: Beside, older: Sequence[Path]) -> Iterator[str]:
    """Yield a note for each thing that `publish` does with files that are not among the `older` wheels."""
    refused = [path for path in found.refused if path not in older]
    what = "files of this version that are not in the set" if manifest.files else "a set without a wheel"
    clears = not manifest.failures and not manifest.sdist_failure
    for paths, told in (
        (refused, f"`publish` refuses {what}"),
        (found.sent, "`publish` sends an sdist of this version with the set"),
        (found.left, "`publish` leaves files of other versions"),
    ):
        if paths:
            them = "it" if len(paths) == 1 else "them"
            cure = f" (`--clear` removes {them})" if clears else ""
            yield f"not of this run, but in `{folder}`: {names_of(paths)}; {told}{cure}"
