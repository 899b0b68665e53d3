"""Folders of the user's that outlive a run."""

from __future__ import annotations

import os
import threading
from functools import cache
from pathlib import Path


def cache_dir() -> Path:
    """Return where things are kept between runs: $MANYWHEELS_CACHE, else `manywheels` in the user's cache folder.

    The user's cache folder is $XDG_CACHE_HOME where that is an absolute path (XDG Base Directory Specification), else
    ~/.cache. The folder need not exist yet.
    """
    own = os.environ.get("MANYWHEELS_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (shared if shared.is_absolute() else Path.home() / ".cache") / "manywheels"


_ONE_AT_A_TIME = threading.Lock()


def uv_program() -> str:
    """Return the path of the uv that came with this package. May be called from several threads."""
    with _ONE_AT_A_TIME:  # uv asks sysconfig, which in Python 3.11 must not be asked for the first time by two threads
        return _find_uv()


@cache
def _find_uv() -> str:
    from uv import find_uv_bin

    return find_uv_bin()
