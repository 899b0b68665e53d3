"""Opening untrusted files: regular files only, of bounded size.

Reading a FIFO blocks for ever, opening a device can have effects, and a sparse file can have any size.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Final

from manywheels.errors import WheelFileError

_LOOK: Final = os.O_PATH | os.O_CLOEXEC  # does not open devices
_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def open_regular(path: Path, *, largest: int | None = None, links: bool = True) -> BinaryIO:
    """Without `links`, do not open through a symbolic link.

    Raises OSError: EINVAL for another kind of file, EFBIG for more than `largest` bytes.
    """
    found = os.open(path, _LOOK | (0 if links else os.O_NOFOLLOW))
    try:
        _require(path, os.fstat(found), largest)
        # By the descriptor: the name may be another file's by now.
        return open(os.open(f"/proc/self/fd/{found}", _READ), "rb")  # noqa: PTH123 - the caller closes it
    finally:
        os.close(found)


def _require(path: Path, status: os.stat_result, largest: int | None) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if largest is not None and status.st_size > largest:
        reason = f"it has {status.st_size:,} bytes, and no more than {largest:,} are read"
        raise OSError(errno.EFBIG, reason, str(path))


def is_regular(path: Path) -> bool:
    """A symbolic link, which may lead anywhere, is not regular."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Return a folder's entries with one of the suffixes, sorted.

    Raises OSError, and as root WheelFileError for a link out of the folder, to what only root may read.
    """
    found = sorted(path for path in folder.iterdir() if path.name.endswith(suffixes))
    real_folder = os.path.realpath(folder)
    for file in found if os.geteuid() == 0 else ():
        if file.is_symlink() and not Path(os.path.realpath(file)).is_relative_to(real_folder):
            raise WheelFileError(
                f"`{file}` is a symbolic link that leads out of its folder, which is not followed as root.",
                remedy="Put the file itself there, or remove the link.",
            )
    return found
