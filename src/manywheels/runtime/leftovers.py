"""What project code leaves on a machine outside of its own folders: files where all can write, shared memory, queues.

It outlives a run, fills disks, and belongs to a user whose number a later run gives to another target: that one would
find `/tmp/ccache` to be its own. So it is removed before a user is given to a target, and when the run is over.

Only the kernel is asked who owns what, through descriptors that follow no link. Folders are emptied one at a time,
each moved into a folder of root's first: so no depth of them matters, and no path that another user can change.
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

_PLACES: Final = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/run/lock")  # noqa: S108 - not for files of ours
_SECONDS: Final = 3.0  # for all of it
_DEEPEST: Final = 8  # folders of others, below one another, that are looked into
_MOST_NAMED: Final = 10
_OURS: Final = ".manywheels-leftovers-"
_SYSTEM_V: Final = Path("/proc/sysvipc")
_IPC_RMID: Final = 0
_REMOVING: Final = {"shm": (_IPC_RMID, None), "sem": (0, _IPC_RMID, None), "msg": (_IPC_RMID, None)}
# The same numbers on every architecture: fsopen(2), fsconfig(2), fsmount(2).
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CREATE: Final = 6  # FSCONFIG_CMD_CREATE
_CLOEXEC: Final = 1  # FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC


def remove_of(
    users: Iterable[int],
    cancellation: Cancellation | None = None,
    *,
    places: Iterable[str] = _PLACES,
    seconds: float = _SECONDS,
) -> list[str]:
    """Remove what these users own where every user can write, and return what is left, if anything.

    Nothing may run as one of them meanwhile. A folder of theirs goes with everything in it. It ends within `seconds`,
    and at once when the switch is thrown.
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


class _Over(Exception):
    """The time is over, or the run is stopped."""


class _Sweep:
    def __init__(self, users: frozenset[int], deadline: float, cancellation: Cancellation | None) -> None:
        self._users, self._deadline, self._cancellation = users, deadline, cancellation
        self.left: list[str] = []

    def clear(self, place: int, name: str) -> None:
        """Remove everything of the users' in a folder where all can write, and in those of others below it."""
        try:
            with ExitStack() as stack:
                held = _Held(place, stack)
                self._gather(place, name, held)
                for folder in held.folders:
                    self._empty(folder, name)
        except _Over:
            self.left.append(f"{name}: there was more than could be removed in time")

    def _gather(self, place: int, name: str, held: _Held) -> None:
        """Remove the users' files, and move their folders to where they can be emptied."""
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            with suppress(OSError), _below(place, parts) as folder:
                for entry in self._entries(folder):
                    with self._noted("/".join((name, *parts, entry.name))):
                        status = entry.stat(follow_symlinks=False)
                        is_folder = stat.S_ISDIR(status.st_mode)
                        if status.st_uid in self._users:
                            held.take(folder, entry.name) if is_folder else os.unlink(entry.name, dir_fd=folder)
                        elif is_folder and not parts and _is_ours(entry.name, status):
                            held.adopt(entry.name)
                        elif is_folder and self._is_open(status) and len(parts) < _DEEPEST:
                            waiting.append((*parts, entry.name))

    def _empty(self, folder: int, name: str) -> None:
        """Remove everything in a folder of root's, where the users' folders are; what they hold comes there too."""
        stuck: set[str] = set()
        while names := [entry.name for entry in self._entries(folder) if entry.name not in stuck]:
            for below in names:
                stuck.add(below)
                with self._noted(f"{name}/{_OURS}*/{below}"), _below(folder, (below,)) as emptied:
                    for entry in self._entries(emptied):
                        with self._noted(f"{name}/{_OURS}*/{below}/{entry.name}"):
                            if entry.is_dir(follow_symlinks=False):
                                os.rename(entry.name, _new(), src_dir_fd=emptied, dst_dir_fd=folder)
                            else:
                                os.unlink(entry.name, dir_fd=emptied)
                    os.rmdir(below, dir_fd=folder)

    def _entries(self, folder: int) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                if time.monotonic() > self._deadline or (self._cancellation and self._cancellation.requested):
                    raise _Over
                yield entry

    @contextmanager
    def _noted(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # another run was quicker
        except OSError as error:
            self.left.append(f"{path}: {error.strerror}")

    def _is_open(self, status: os.stat_result) -> bool:
        """Whether the users can write into a folder of somebody else's."""
        theirs = status.st_gid in self._users and status.st_mode & stat.S_IWGRP
        return bool(theirs or status.st_mode & stat.S_IWOTH)

    def clear_system_v(self) -> None:
        """Remove shared memory, semaphores and message queues (sysvipc(7)), whoever they were given to."""
        libc = ctypes.CDLL(None, use_errno=True)
        for kind, arguments in _REMOVING.items():
            for number, owners in _system_v(kind):
                if owners & self._users and getattr(libc, f"{kind}ctl")(number, *arguments) != 0:
                    self.left.append(f"{kind} {number}: {os.strerror(ctypes.get_errno())}")


class _Held:
    """Folders of root's at one place, made when they are needed; killed runs' ones are taken on."""

    def __init__(self, place: int, stack: ExitStack) -> None:
        self._place, self._stack = place, stack
        self.folders: list[int] = []
        self._own: int | None = None

    def take(self, folder: int, name: str) -> None:
        if self._own is None:
            own = f"{_OURS}{secrets.token_hex(8)}"
            os.mkdir(own, 0o700, dir_fd=self._place)
            self._own = self.adopt(own)
        os.rename(name, _new(), src_dir_fd=folder, dst_dir_fd=self._own)

    def adopt(self, name: str) -> int:
        descriptor = self._stack.enter_context(open_folder(name, self._place))
        self.folders.append(descriptor)
        self._stack.callback(self._remove, name)
        return descriptor

    def _remove(self, name: str) -> None:
        with suppress(OSError):  # something is left in it, which is noted
            os.rmdir(name, dir_fd=self._place)


def _new() -> str:
    return secrets.token_hex(8)


def _is_ours(name: str, status: os.stat_result) -> bool:
    return name.startswith(_OURS) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


@contextmanager
def _below(place: int, parts: tuple[str, ...]) -> Iterator[int]:
    """Open a folder below another one, no link being followed on the way."""
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder(".", place))
        for part in parts:
            folder = stack.enter_context(open_folder(part, folder))
        yield folder


def _system_v(kind: str) -> Iterator[tuple[int, set[int]]]:
    """Yield the number of each object of a kind, and the users that own it or have made it (proc_sysvipc(5))."""
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
    """Open the folder of POSIX message queues (mq_overview(7)), wherever that is mounted; None where root may not."""
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
