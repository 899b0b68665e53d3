"""The scrubbed environment of project code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from manywheels.core.credentials import without_credentials
from manywheels.data import table
from manywheels.runtime import untrusted_files

_USER_NAME: Final = "manywheels"


def build_environment(
    caller: Mapping[str, str],
    *,
    path: tuple[Path, ...],
    private: Path,
    passed: tuple[str, ...] = (),
    user: int | None = None,
) -> dict[str, str]:
    """Return the caller's variables with allowed names, and `path` before its PATH.

    HOME and TMPDIR are made below `private`, a folder of the program's own. `passed` are further names. The program's
    virtual environment is removed from PATH, and index addresses with credentials unless passed. With a `user`, the
    folders are that user's, without the caller's caches: project code must not write what others trust.
    """
    for folder in (private / "home", private / "tmp"):
        if not folder.exists():
            untrusted_files.make_folder(folder, user)
    facts = table("environment")
    allowed = without_credentials({name: caller[name] for name in facts["pass"] if name in caller})
    allowed |= _home_toolchains(caller) | allowed  # the caller's own come first
    if user is not None:
        allowed = {name: value for name, value in allowed.items() if name not in facts["written"]}
        allowed |= {"USER": _USER_NAME, "LOGNAME": _USER_NAME}  # the user has no entry in /etc/passwd
    own = Path(sys.prefix) / "bin" if sys.prefix != sys.base_prefix else None
    folders = [folder for folder in caller.get("PATH", os.defpath).split(os.pathsep) if folder and Path(folder) != own]
    return allowed | {
        **{name: caller[name] for name in passed if name in caller},
        "PATH": os.pathsep.join([*map(str, path), *folders]),
        "HOME": str(private / "home"),
        "TMPDIR": str(private / "tmp"),
        "PYTHONUNBUFFERED": "1",
    }


def _home_toolchains(caller: Mapping[str, str]) -> dict[str, str]:
    home = Path(caller.get("HOME", "/nonexistent"))
    folders = {"CARGO_HOME": home / ".cargo", "RUSTUP_HOME": home / ".rustup"}
    return {name: str(folder) for name, folder in folders.items() if folder.is_dir()}
