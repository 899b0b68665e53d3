"""Remove what project code leaves outside its folders: files in public folders, shared memory, queues.

It fills disks, and the next target with the same user id would trust it. Owners are read through descriptors that
follow no link. Folders are moved into one of root's and emptied one at a time, so neither depth nor a path that another
user can change matters.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.runtime.untrusted_files import open_folder

if TYPE_CHECKING:
    from manywheels.core.cancellation import Cancellation

_PUBLIC_FOLDERS: Final = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")  # noqa: S108 - not for our files
_TIMEOUT: Final = 3.0  # seconds
_DEEPEST: Final = 8  # levels of other users' folders
_MOST_NAMED: Final = 10
_PREFIX: Final = ".manywheels-leftovers-"
_SYSTEM_V: Final = Path("/proc/sysvipc")
_IPC_RMID: Final = 0
_REMOVING: Final = {"shm": (_IPC_RMID, None), "sem": (0, _IPC_RMID, None), "msg": (_IPC_RMID, None)}
# The same on every architecture.
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CREATE: Final = 6  # FSCONFIG_CMD_CREATE
_CLOEXEC: Final = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC


def remove_leftovers(
    users: Iterable[int],
    cancellation: Cancellation | None = None,
    *,
    places: Iterable[str] = _PUBLIC_FOLDERS,
    seconds: float = _TIMEOUT,
) -> list[str]:
    """Remove what users without processes own in public folders; return what is left.

    It ends within `seconds`, and at once on cancellation.
    """
    sweep = _Sweep(frozenset(users), time.monotonic() + seconds, cancellation)
    for place in dict.fromkeys(map(os.path.realpath, places)):
        with suppress(FileNotFoundError, NotADirectoryError), open_folder(place) as folder:
            sweep.clear(folder, place)
    with _message_queues() as folder:
        if folder is not None:
            sweep.clear(folder, "message queue ")
    sweep.clear_system_v()
    return sweep.left[:_MOST_NAMED]


class _OutOfTime(Exception):
    """The time is over, or the run cancelled."""


class _Sweep:
    def __init__(self, users: frozenset[int], deadline: float, cancellation: Cancellation | None) -> None:
        self._users, self._deadline, self._cancellation = users, deadline, cancellation
        self.left: list[str] = []

    def clear(self, place: int, name: str) -> None:
        try:
            with ExitStack() as stack:
                moved = _MovedFolders(place, stack)
                self._collect(place, name, moved)
                for folder in moved.parents:
                    self._empty(folder, name)
        except _OutOfTime:
            self.left.append(f"{name}: there was more than could be removed in time")

    def _collect(self, place: int, name: str, moved: _MovedFolders) -> None:
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            with suppress(OSError), _below(place, parts) as folder:
                for entry in self._entries(folder):
                    with self._noted("/".join((name, *parts, entry.name))):
                        status = entry.stat(follow_symlinks=False)
                        is_folder = stat.S_ISDIR(status.st_mode)
                        if status.st_uid in self._users:
                            moved.take(folder, entry.name) if is_folder else os.unlink(entry.name, dir_fd=folder)
                        elif is_folder and not parts and _is_ours(entry.name, status):
                            moved.adopt(entry.name)
                        elif is_folder and self._is_open(status) and len(parts) < _DEEPEST:
                            waiting.append((*parts, entry.name))

    def _empty(self, folder: int, name: str) -> None:
        """Remove the users' folders in one of root's; their subfolders are moved there first."""
        stuck: set[str] = set()
        while names := [entry.name for entry in self._entries(folder) if entry.name not in stuck]:
            for below in names:
                stuck.add(below)
                with self._noted(f"{name}/{_PREFIX}*/{below}"), _below(folder, (below,)) as emptied:
                    for entry in self._entries(emptied):
                        with self._noted(f"{name}/{_PREFIX}*/{below}/{entry.name}"):
                            if entry.is_dir(follow_symlinks=False):
                                os.rename(entry.name, _new(), src_dir_fd=emptied, dst_dir_fd=folder)
                            else:
                                os.unlink(entry.name, dir_fd=emptied)
                    os.rmdir(below, dir_fd=folder)

    def _entries(self, folder: int) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if time.monotonic() > self._deadline or (self._cancellation and self._cancellation.requested):
                    raise _OutOfTime
                yield entry

    @contextmanager
    def _noted(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # another run has removed it
        except OSError as error:
            self.left.append(f"{path}: {error.strerror}")

    def _is_open(self, status: os.stat_result) -> bool:
        theirs = status.st_gid in self._users and status.st_mode & stat.S_IWGRP
        return bool(theirs or status.st_mode & stat.S_IWOTH)

    def clear_system_v(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for kind, arguments in _REMOVING.items():
            for number, owners in _system_v(kind):
                if owners & self._users and getattr(libc, f"{kind}ctl")(number, *arguments) != 0:
                    self.left.append(f"{kind} {number}: {os.strerror(ctypes.get_errno())}")


class _MovedFolders:
    """Root's folders to move users' folders into: this run's, and those of killed runs."""

    def __init__(self, place: int, stack: ExitStack) -> None:
        self._place, self._stack = place, stack
        self.parents: list[int] = []
        self._own: int | None = None

    def take(self, folder: int, name: str) -> None:
        if self._own is None:
            own = f"{_PREFIX}{secrets.token_hex(8)}"
            os.mkdir(own, 0o700, dir_fd=self._place)
            self._own = self.adopt(own)
        os.rename(name, _new(), src_dir_fd=folder, dst_dir_fd=self._own)

    def adopt(self, name: str) -> int:
        descriptor = self._stack.enter_context(open_folder(name, self._place))
        self.parents.append(descriptor)
        self._stack.callback(self._remove, name)
        return descriptor

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # not empty, noted already
            os.rmdir(name, dir_fd=self._place)


def _new() -> str:
    return secrets.token_hex(8)


def _is_ours(name: str, status: os.stat_result) -> bool:
    return name.startswith(_PREFIX) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


@contextmanager
def _below(place: int, parts: tuple[str, ...]) -> Iterator[int]:
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder(".", place))
        for part in parts:
            folder = stack.enter_context(open_folder(part, folder))
        yield folder


def _system_v(kind: str) -> Iterator[tuple[int, set[int]]]:
    """Yield each object's id, owner and maker (proc_sysvipc(5))."""
    try:
        header, *rows = (_SYSTEM_V / kind).read_text("ascii").splitlines()
    except (OSError, ValueError):
        return
    names = header.split()
    for row in rows:
        values = dict(zip(names, row.split(), strict=False))
        yield int(values.get(f"{kind}id") or values["msqid"]), {int(values["uid"]), int(values["cuid"])}


@contextmanager
def _message_queues() -> Iterator[int | None]:
    """Open the folder of POSIX queues (mq_overview(7)), mounted or not; None if root may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    with ExitStack() as stack:
        kind = libc.syscall(_FSOPEN, b"mqueue", _CLOEXEC)
        if kind < 0:
            yield None
            return
        stack.callback(os.close, kind)
        libc.syscall(_FSCONFIG, kind, _CREATE, None, None, 0)
        mount = libc.syscall(_FSMOUNT, kind, _CLOEXEC, 0)
        if mount < 0:
            yield None
            return
        stack.callback(os.close, mount)
        yield stack.enter_context(open_folder(".", mount))
