"""Make the folders that project code works in, and open the files that it leaves there. No other module does.

Root must not open a path that a target's user can change: a link could lead anywhere (docs/rules-for-code.md, part 1).
The program writes only into folders of its own. It never enters a user's by path; it opens files there through
descriptors that follow no link, when no process of that user is left.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from manywheels.core.cancellation import Cancellation

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # do not wait for a FIFO
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOG: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LOCK: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITABLE_BY_OTHERS: Final = 0o022
_LARGEST: Final = 4 << 30  # bytes, as in a zip archive without zip64
_BLOCK: Final = 1 << 20
_NOTHING: Final[Mapping[str, bytes]] = {}


class Suspicious(Exception):
    """A file that honest code would not leave; the text says why, without a full stop."""


class NotOne(Exception):
    """The text says what the folder has: "no wheel", "2 sdists (…)"."""


# --- making ---------------------------------------------------------------------------------------------------------


def make_place(path: Path, user: int | None) -> Path:
    """Make a folder of the program's own for one user's folders, closed to others.

    Raises OSError as `make_folder` does.
    """
    return _make(path, owner=(-1, user), mode=0o710) if user is not None else _make(path, mode=0o700)


def make_folder(path: Path, user: int | None, content: Mapping[str, bytes] = _NOTHING) -> Path:
    """Make a folder for `user` (an id; None: the program's own), closed to others; `content` are its first files.

    Raises OSError if it exists, or if its parent is not the program's own: a link could be in its place.
    """
    return _make(path, owner=(user, user) if user is not None else None, mode=0o700, content=content)


def make_public_folder(path: Path) -> Path:
    """Make a folder of the program's own that all can read, with missing parents."""
    if not path.parent.exists():
        with suppress(FileExistsError):  # another target's thread has just made it
            make_public_folder(path.parent)
    return _make(path, mode=0o755)


def keep_folder(path: Path, user: int | None, mode: int) -> Path:
    """Make a folder that outlives the run, or use an existing one.

    Raises OSError if that belongs to another user.
    """
    owner = os.geteuid() if user is None else user
    try:
        return _make(path, owner=(owner, owner) if user is not None else None, mode=mode)
    except FileExistsError:
        with _own(path.parent) as parent, open_folder(path.name, parent) as folder:
            if os.fstat(folder).st_uid != owner:
                raise PermissionError(errno.EPERM, "It belongs to another user", str(path)) from None
            os.fchmod(folder, mode)
        return path


def write_file(path: Path, content: bytes, user: int | None = None) -> Path:
    """Write a new file into a folder of the program's own, and give it to `user`. Raises OSError."""
    with _own(path.parent) as parent:
        _write_new(parent, path.name, content, (user, user) if user is not None else None)
    return path


def open_log(path: Path, user: int | None = None) -> BinaryIO:
    """Open a log for appending, made if missing; `user` is the one whose output it takes.

    Raises OSError for anything but a regular file, and for a log in that user's folder.
    """
    if user is not None and path.parent.lstat().st_uid == user:
        raise PermissionError(errno.EPERM, "Its folder belongs to the user whose output it takes", str(path))
    file = os.fdopen(os.open(path, _LOG, 0o644), "ab")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "It is not a regular file", str(path))
    return file


def open_lock(path: Path) -> BinaryIO:
    """Open a file for flock(2), made if missing; only its owner can open it, and so lock it."""
    file = os.fdopen(os.open(path, _LOCK, 0o600), "r+b")
    os.fchmod(file.fileno(), 0o600)
    return file


def _make(
    path: Path, *, mode: int, owner: tuple[int, int] | None = None, content: Mapping[str, bytes] = _NOTHING
) -> Path:
    with _own(path.parent) as parent:
        os.mkdir(path.name, 0o700, dir_fd=parent)
        with open_folder(path.name, parent) as folder:
            for name, data in content.items():
                _write_new(folder, name, data, owner)
            if owner:
                os.fchown(folder, *owner)
            os.fchmod(folder, mode)
    return path


def _write_new(folder: int, name: str, content: bytes, owner: tuple[int, int] | None) -> None:
    with os.fdopen(os.open(name, _NEW, 0o644, dir_fd=folder), "wb") as file:
        file.write(content)
        if owner:
            os.fchown(file.fileno(), *owner)


@contextmanager
def _own(folder: Path) -> Iterator[int]:
    """Raises OSError for a folder that others can write."""
    with open_folder(str(folder)) as descriptor:
        status = os.fstat(descriptor)
        is_shared = os.geteuid() == 0 and status.st_mode & _WRITABLE_BY_OTHERS
        if status.st_uid != os.geteuid() or is_shared:
            raise PermissionError(errno.EPERM, "Others can write in this folder", str(folder))
        yield descriptor


@contextmanager
def open_folder(name: str, parent: int | None = None) -> Iterator[int]:
    """Open a folder, in the folder `parent` if given, without following a link. Raises OSError."""
    descriptor = os.open(name, _FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# --- reading --------------------------------------------------------------------------------------------------------


def names_in(folder: Path, suffix: str) -> list[str]:
    """The names are sorted. Raises Suspicious if `folder` is not a folder."""
    with _theirs(folder) as descriptor:
        return sorted(name for name in os.listdir(descriptor) if name.endswith(suffix))  # noqa: PTH208


def only_wheel_in(folder: Path) -> str:
    """Raises Suspicious and NotOne."""
    return only_one_in(folder, ".whl", "wheel")


def only_one_in(folder: Path, suffix: str, kind: str) -> str:
    """Return the name of the one file with this suffix; `kind` is what it is called. Raises Suspicious and NotOne."""
    names = names_in(folder, suffix)
    if len(names) != 1:
        raise NotOne(f"{len(names)} {kind}s ({', '.join(names)})" if names else f"no {kind}")
    return names[0]


def take_over(folder: Path, name: str, target: Path, cancellation: Cancellation, *, owner: int | None = None) -> Path:
    """`target` is a folder of the program's own; `owner` (an id; None: the program's own) must own the file.

    Raises Cancelled, and Suspicious, also for more than 4 GiB: a sparse file costs its maker no disk space.
    """
    with open_file(folder, name, owner=owner) as read, _own(target) as parent:
        size = os.fstat(read.fileno()).st_size
        if size > _LARGEST:
            raise Suspicious(f"`{name}` has {size} bytes; no more than {_LARGEST} are taken")
        with os.fdopen(os.open(name, _NEW, 0o644, dir_fd=parent), "wb") as write:
            while block := read.read(_BLOCK):
                cancellation.stop_if_requested("Taking over what was built")
                write.write(block)
    return target / name


@contextmanager
def open_file(folder: Path, name: str, *, owner: int | None = None) -> Iterator[BinaryIO]:
    """The parent of `folder` is the program's own; `owner` (an id; None: the program's own) must own the file.

    Raises Suspicious.
    """
    with _theirs(folder) as descriptor:
        try:
            file = os.open(name, _FILE, dir_fd=descriptor)
        except OSError as error:
            raise Suspicious(f"`{name}` cannot be opened ({error.strerror})") from None
    try:
        _require_honest(name, os.fstat(file), os.geteuid() if owner is None else owner)
    except Suspicious:
        os.close(file)
        raise
    with open(file, "rb") as stream:  # noqa: PTH123 - a descriptor, no path
        yield stream


def is_there(folder: Path, relative: str) -> bool:
    """Whether a path exists below a user's folder; one behind a link counts."""
    *folders, name = Path(relative.lstrip("/")).parts or (".",)
    with ExitStack() as stack:
        at = stack.enter_context(_theirs(folder))
        try:
            for part in folders:
                at = stack.enter_context(open_folder(part, at))
            os.stat(name, dir_fd=at, follow_symlinks=False)
        except OSError as error:
            return error.errno != errno.ENOENT
    return True


def written_since(folder: Path, relative: str, prefix: str, since: float) -> bool:
    """Whether a file whose name begins with `prefix` was changed since a time (seconds since the epoch).

    It is looked for in a folder below a user's folder; behind a link counts as missing.
    """
    with ExitStack() as stack:
        try:
            at = stack.enter_context(_theirs(folder))
            for part in Path(relative).parts:
                at = stack.enter_context(open_folder(part, at))
            names = [name for name in os.listdir(at) if name.startswith(prefix)]  # noqa: PTH208
            return any(os.stat(name, dir_fd=at, follow_symlinks=False).st_mtime >= since for name in names)
        except (OSError, Suspicious):
            return False


def _require_honest(name: str, status: os.stat_result, owner: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise Suspicious(f"`{name}` is not a regular file")
    if status.st_uid != owner:  # such as a hard link to another user's file
        raise Suspicious(f"`{name}` belongs to another user")


@contextmanager
def _theirs(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, _FOLDER)
    except OSError as error:
        raise Suspicious(f"the folder `{folder.name}` cannot be opened ({error.strerror})") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
