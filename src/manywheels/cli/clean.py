"""`clean`: remove what builds have left: the finished set, the caches, the container engine's images and volumes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.cli.request import KINDS, Request, read_wheel_settings
from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.core.printing import say
from manywheels.core.regular_files import is_regular
from manywheels.errors import EXIT_DELIVERY, EXIT_OK, EngineError, WheelFileError
from manywheels.plan import inputs
from manywheels.runtime.cache_folder import CACHES, PUBLIC, is_marked, without_runs
from manywheels.wheels.leftovers import unchanged
from manywheels.wheels.manifest import read_manifest
from manywheels.wheels.output import LEDGER, LOGS, MANIFEST, REPORT, RUN_LOGS

if TYPE_CHECKING:
    from manywheels.runtime.trees import Walk


@dataclass(frozen=True, kw_only=True)
class _Item:
    """`remove` returns why it is still there, without a full stop; empty if it was removed. `size` in bytes, or -1."""

    name: str
    size: int
    remove: Callable[[], str]


def execute(request: Request, cancellation: Cancellation) -> int:
    """Return 4 if something could not be removed. Raises ManywheelsError."""
    kinds = request.kinds or KINDS
    left, freed, found = 0, 0, False
    for item in _items(request, kinds, cancellation):
        cancellation.stop_if_requested("Cleaning")
        found = True
        size = text.size(item.size) if item.size >= 0 else "size unknown"
        if request.dry_run:
            say(f"would remove {item.name} ({size})")
        elif problem := item.remove():
            left += 1
            say(f"not removed: {item.name} ({size}): {problem}")
            continue
        else:
            say(f"removed {item.name} ({size})")
        freed += max(0, item.size)
    if not found:
        say("there is nothing to remove")
        return EXIT_OK
    say(f"{text.size(freed)} {'would be freed; nothing was removed (dry run)' if request.dry_run else 'freed'}")
    return EXIT_DELIVERY if left else EXIT_OK


def _items(request: Request, kinds: Iterable[str], cancellation: Cancellation) -> Iterator[_Item]:
    if "cache" in kinds:
        yield from _cache(cancellation)
    if {"volumes", "images"} & {*kinds}:
        yield from _of_engine({kind.removesuffix("s") for kind in kinds})
    if "output" in kinds:  # at last, as it can be refused
        yield from _output(request, cancellation)


# --- the output folder ------------------------------------------------------------------------------------------------


def _output(request: Request, cancellation: Cancellation) -> Iterator[_Item]:
    """Yield the files that a manifest seals, and those that are written beside it; a changed file is not ours.

    `build` writes through no link, so nothing is removed through one. Raises WheelFileError.
    """
    folder = Path(read_wheel_settings(request).parsed("output-dir", inputs.parse_path))
    logs = folder / LOGS
    places = (at for at in (logs, *logs.absolute().parents) if at.is_relative_to(Path.cwd()) or at in {folder, logs})
    if link := next((path for path in places if path.is_symlink()), None):
        raise WheelFileError(
            f"`{link}` is a symbolic link, which `clean` does not follow.", remedy="Remove it yourself."
        )
    try:
        manifest = read_manifest(folder)
    except WheelFileError:
        why = "the manifest cannot be read" if os.path.lexists(folder / MANIFEST) else "there is no manifest"
        _say_left(folder, dict.fromkeys(_distributions(folder), why), request)
        return
    own = set[str]()
    for path in unchanged(manifest, folder, cancellation):
        own.add(path.name)
        yield _file(path)
    names = {record.log for record in manifest.targets}
    names |= {record.tests.log for record in manifest.targets if record.tests}
    names |= {f"{LOGS}/{path.name}" for pattern in RUN_LOGS for path in logs.glob(pattern)}
    for name in (*sorted(filter(None, names)), REPORT, LEDGER, MANIFEST):
        if is_regular(folder / name):
            yield _file(folder / name)
    sealed = {file.name for file in manifest.files}
    reasons = {
        name: "changed since it was built" if name in sealed else "not in the manifest"
        for name in _distributions(folder) - own
    }
    _say_left(folder, reasons, request)
    if reasons:
        say(f"note: without its manifest, `publish` takes what lies in `{folder}`: remove what is not to be published")
    for empty in (logs, folder):
        with suppress(OSError):
            if not request.dry_run:
                empty.rmdir()


def _distributions(folder: Path) -> set[str]:
    """Return the names of what `publish` takes from a folder without a manifest."""
    from manywheels.verify.distributions import SUFFIXES

    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return {name for name in names if name.endswith(SUFFIXES) and not name.startswith(".")}


def _say_left(folder: Path, reasons: Mapping[str, str], request: Request) -> None:
    """Say which distributions stay, and why, by name."""
    for name, why in sorted(reasons.items()):
        say(f"{'would leave' if request.dry_run else 'left'} {folder / name}: {why}")


def _file(path: Path, *, is_free: bool = True) -> _Item:
    """Return a file; one of the caches' is not removed while a run is under way, which may have it open."""
    return _Item(
        name=str(path), size=path.lstat().st_size, remove=lambda: _unlinked(path) if is_free else "a run is under way"
    )


def _unlinked(path: Path) -> str:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return str(error.strerror)
    return ""


# --- the caches -------------------------------------------------------------------------------------------------------


def _cache(cancellation: Cancellation) -> Iterator[_Item]:
    """Yield the caches; none of them is removed while a run is under way. Raises OSError."""
    own = cache_dir()
    if not own.is_dir():
        return
    if not is_marked(own):
        say(f"note: `{own}` is left: it has no CACHEDIR.TAG of manywheels, so what is in it may be another program's")
        return
    with without_runs(cancellation) as is_free:
        for parent in (own, *([PUBLIC] if os.geteuid() == 0 else ())):
            for name in CACHES:
                if (path := parent / name).is_dir() and not path.is_symlink():
                    yield _folder(path, cancellation, is_free=is_free)
                elif is_regular(path):
                    yield _file(path, is_free=is_free)


def _folder(folder: Path, cancellation: Cancellation, *, is_free: bool) -> _Item:
    from manywheels.runtime.copying import remove_tree

    def remove() -> str:
        if not is_free:
            return "a run is under way"
        remove_tree(folder, cancellation)
        return "not all of it can be removed" if folder.exists() else ""

    return _Item(name=str(folder), size=_size(folder, cancellation) if is_free else -1, remove=remove)


def _size(folder: Path, cancellation: Cancellation) -> int:
    """Return what a tree takes on the disk, in bytes: files with several names count once."""
    from manywheels.runtime.trees import walk

    seen: set[tuple[int, int]] = set()
    total = 0

    def visit(at: Walk) -> list[str]:
        nonlocal total
        cancellation.stop_if_requested("Cleaning")
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                if (key := (status.st_dev, status.st_ino)) not in seen:
                    seen.add(key)
                    total += status.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
        return below

    with suppress(OSError):
        walk(folder, visit)
    return total


# --- the container engine ---------------------------------------------------------------------------------------------


def _of_engine(kinds: set[str]) -> Iterator[_Item]:
    from manywheels.runtime.containers.engine import connect, has_engine
    from manywheels.runtime.containers.removal import Leftover, leftovers, remove

    if not has_engine():
        return
    try:
        client = connect()
    except EngineError as error:
        say(f"note: the container engine was not asked: {error.message}")
        return

    def item(leftover: Leftover) -> _Item:
        return _Item(
            name=f"the {leftover.kind} {leftover.name}", size=leftover.size, remove=lambda: remove(client, leftover)
        )

    with closing(client):
        yield from (item(leftover) for leftover in leftovers(client) if leftover.kind in kinds)
