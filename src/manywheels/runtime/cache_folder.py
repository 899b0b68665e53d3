"""The cache folder as a whole: a mark that it is manywheels' own, and whether runs use it."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.runtime.untrusted_files import open_lock

LOCK: Final = "work.lock"  # held while a run makes its folder
PUBLIC: Final = Path("/var/lib/manywheels")  # root's, where others must reach what its cache would close to them
OBJECTS: Final = ("objects", "objects-wal", "objects-shm")  # a database, and what it leaves where a run was killed
# What runs make in it; other files are not ours.
CACHES: Final = ("work", "uv", "prefetched", *OBJECTS, "zig", "c++", "images", "manifests")
_USERS: Final = "users"  # locks of users' numbers: they stay, as a run may hold one before it has a folder
_INTERVAL: Final = 0.05  # seconds
_TAG: Final = "CACHEDIR.TAG"
_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55\n"  # bford.info/cachedir
_OURS: Final = _SIGNATURE + b"# This folder is a cache of manywheels, which `manywheels clean` removes.\n"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def mark(folder: Path) -> None:
    """Mark a folder as a cache of manywheels if nothing else is in it; backup programs know the mark, too."""
    with suppress(OSError):
        if {path.name for path in folder.iterdir()} - {*CACHES, _USERS, LOCK}:
            return
        descriptor = os.open(folder / _TAG, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_OURS)


def is_marked(folder: Path) -> bool:
    with suppress(OSError):
        descriptor = os.open(folder / _TAG, _READ)
        with os.fdopen(descriptor, "rb") as file:
            return file.read(len(_OURS) + 1) == _OURS
    return False


def blank_fallback() -> Path:
    """Return where runs work if the cache's path has a blank; it may not exist."""
    return Path(tempfile.gettempdir(), f"manywheels-{os.geteuid()}")


@contextmanager
def without_runs(cancellation: Cancellation) -> Iterator[bool]:
    """Let no run begin meanwhile; yield whether none is under way. Raises OSError and Cancelled."""
    with open_lock(cache_dir() / LOCK) as lock:
        wait_for(lock, "Cleaning", cancellation)
        locks = [held for parent in _work_folders() for held in parent.glob("run-*/.lock")]
        locks += (cache_dir() / _USERS).glob("*")
        yield not any(_is_held(held, cancellation) for held in locks)


def wait_for(lock: BinaryIO, what: str, cancellation: Cancellation | None) -> None:
    """Take a lock, when it is free; `what` waits for it. Raises Cancelled."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if cancellation:
                cancellation.stop_if_requested(what)
            time.sleep(_INTERVAL)
        else:
            return


def _work_folders() -> Iterator[Path]:
    """Yield where this user's runs have their folders."""
    yield cache_dir() / "work"
    if os.geteuid() == 0:
        yield PUBLIC / "work"
    with suppress(OSError):
        if blank_fallback().lstat().st_uid == os.geteuid():
            yield blank_fallback() / "work"


def _is_held(path: Path, cancellation: Cancellation) -> bool:
    """Whether somebody holds a lock; one that cannot be asked counts as held."""
    cancellation.stop_if_requested("Cleaning")
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
