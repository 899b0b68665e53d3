"""Opening files that somebody else may have put where they are: regular files only, of bounded size, without waiting.

A folder of wheels is filled by jobs, repositories and archives that nobody vouches for. A FIFO there would make its
reader wait for ever, opening a device can do something, and a sparse file may have any size without using any disk.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.errors import WheelFileError

_LOOK: Final = os.O_PATH | os.O_CLOEXEC  # opens nothing yet: not even a device notices
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: Path, *, largest: int | None = None, links: bool = True) -> BinaryIO:
    """Open a regular file for reading; without `links`, a symbolic link is none.

    Raises OSError: with EINVAL for any other kind of file, with EFBIG for one of more than `largest` bytes.
    """
    found = os.open(path, _LOOK | (0 if links else os.O_NOFOLLOW))
    try:
        _require(path, os.fstat(found), largest)
        # By the descriptor, not by the name: it is the file that was looked at, whatever has the name by now.
        return open(os.open(f"/proc/self/fd/{found}", _READ), "rb")  # noqa: PTH123 - the caller closes it
    finally:
        os.close(found)


def _require(path: Path, status: os.stat_result, largest: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if largest is not None and status.st_size > largest:
        said = f"it has {status.st_size:,} bytes, and no more than {largest:,} are read"
        raise OSError(errno.EFBIG, said, str(path))


def is_regular(path: Path) -> bool:
    """Whether there is a regular file, and no symbolic link: one that a repository brings along may lead anywhere."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Return what lies in a folder and has a name that ends with one of the suffixes, sorted.

    Raises WheelFileError where root would follow a symbolic link that leads out of the folder: whoever made the link
    would choose what root reads; OSError where the folder cannot be read.
    """
    found = sorted(path for path in folder.iterdir() if path.name.endswith(suffixes))
    own = os.path.realpath(folder)
    for file in found if os.geteuid() == 0 else ():
        if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(own):
            raise WheelFileError(
                f"`{file}` is a symbolic link that leads out of its folder, which root does not follow.",
                remedy="Put the file itself there, or remove the link.",
            )
    return found
