"""The folder of a build's own user, with caches that no other user reads or fills."""

from __future__ import annotations

from pathlib import Path

from manywheels.core.files import cache_dir
from manywheels.runtime import untrusted_files

_CACHES = ("uv", "zig")


def make_private_folder(folder: Path, user: int | None) -> None:
    """Make `folder`; that of another user than the program's, with the caches. Raises OSError."""
    untrusted_files.make_place(folder, user)
    for cache in _CACHES if user is not None else ():
        untrusted_files.make_folder(folder / cache, user)


def tool_variables(folder: Path, user: int | None) -> dict[str, str]:
    """Return the variables for uv and zig: the program's own user has the caches of the machine."""
    uv = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    if user is None:
        return uv | {"UV_CACHE_DIR": str(cache_dir() / "uv")}
    # Another build must not read a cache that this one can write. zig's keeps sources from standard input.
    return uv | {"UV_CACHE_DIR": str(folder / "uv"), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
