"""`clean`: remove what builds have left: the finished set, the caches, the container engine's images and volumes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.cli.request import KINDS, Request, read_wheel_settings
from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir, digest_file
from manywheels.core.printing import say
from manywheels.core.regular_files import is_regular
from manywheels.errors import EXIT_DELIVERY, EXIT_OK, EngineError, WheelFileError
from manywheels.plan import inputs
from manywheels.wheels.manifest import read_manifest
from manywheels.wheels.output import BEFORE_ALL, LEDGER, LOGS, MANIFEST, REPORT

# Other files in the folder that MANYWHEELS_CACHE names are not ours.
_CACHES: Final = ("work", "uv", "prefetched", "objects", "zig", "c++", "images", "manifests", "users")


@dataclass(frozen=True, kw_only=True)
class _Item:
    """`remove` returns why it is still there, without a full stop; empty if it was removed. `size` in bytes, or -1."""

    name: str
    size: int
    remove: Callable[[], str]


def execute(request: Request, cancellation: Cancellation) -> int:
    """Return 4 if something could not be removed. Raises ManywheelsError."""
    kinds = request.kinds or KINDS
    left, freed = 0, 0
    for item in _items(request, kinds, cancellation):
        cancellation.stop_if_requested("Cleaning")
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
    say(f"{text.size(freed)} {'would be freed; nothing was removed (dry run)' if request.dry_run else 'freed'}")
    return EXIT_DELIVERY if left else EXIT_OK


def _items(request: Request, kinds: Iterable[str], cancellation: Cancellation) -> Iterator[_Item]:
    if "output" in kinds:
        yield from _output(request, cancellation)
    if "cache" in kinds:
        yield from _cache(cancellation)
    if {"volumes", "images"} & {*kinds}:
        yield from _of_engine({kind.removesuffix("s") for kind in kinds})


# --- the output folder ------------------------------------------------------------------------------------------------


def _output(request: Request, cancellation: Cancellation) -> Iterator[_Item]:
    """Yield the files that a manifest seals, and those that are written beside it; a changed file is not ours."""
    folder = Path(read_wheel_settings(request).parsed("output-dir", inputs.parse_path))
    try:
        manifest = read_manifest(folder)
    except WheelFileError:
        return
    for file in manifest.files:
        path = folder / file.name
        if is_regular(path) and digest_file(path, cancellation) == file.sha256:
            yield _file(path)
    logs = {record.log for record in manifest.targets}
    logs |= {record.tests.log for record in manifest.targets if record.tests}
    logs |= {f"{LOGS}/{path.name}" for path in (folder / LOGS).glob(f"{BEFORE_ALL}*.log")}
    for name in (*sorted(filter(None, logs)), f"{LOGS}/sdist.log", REPORT, LEDGER, MANIFEST):
        if is_regular(folder / name):
            yield _file(folder / name)
    for empty in (folder / LOGS, folder):
        with suppress(OSError):
            if not request.dry_run:
                empty.rmdir()


def _file(path: Path) -> _Item:
    return _Item(name=str(path), size=path.lstat().st_size, remove=lambda: _unlinked(path))


def _unlinked(path: Path) -> str:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return str(error.strerror)
    return ""


# --- the caches -------------------------------------------------------------------------------------------------------


def _cache(cancellation: Cancellation) -> Iterator[_Item]:
    from manywheels.runtime.workspace import public_folder

    for parent in (cache_dir(), *([public_folder()] if os.geteuid() == 0 else ())):
        for name in _CACHES:
            if (folder := parent / name).is_dir() and not folder.is_symlink():
                yield _folder(folder, parent / "work", cancellation)


def _folder(folder: Path, work: Path, cancellation: Cancellation) -> _Item:
    def remove() -> str:
        from manywheels.runtime.copying import remove_tree

        if _is_in_use(work):
            return "a run is under way"
        remove_tree(folder, cancellation)
        return "not all of it can be removed" if folder.exists() else ""

    return _Item(name=str(folder), size=_size(folder, cancellation), remove=remove)


def _is_in_use(work: Path) -> bool:
    """Whether a run holds the lock of its folder in `work`."""
    for lock in work.glob("run-*/.lock"):
        with suppress(OSError), lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def _size(folder: Path, cancellation: Cancellation) -> int:
    """Return what a tree takes on the disk, in bytes: files with several names count once."""
    seen: set[tuple[int, int]] = set()
    total = 0
    for place, folders, files in os.walk(folder):
        cancellation.stop_if_requested("Cleaning")
        for name in (*folders, *files):
            with suppress(OSError):
                status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - many files
                if (key := (status.st_dev, status.st_ino)) not in seen:
                    seen.add(key)
                    total += status.st_blocks * 512
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
