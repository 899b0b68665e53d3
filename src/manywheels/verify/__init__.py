"""Verification: small independent checks of each wheel's bytes, and of all wheels together.

To add a check, write a function in the module of its topic, and enter it in that module's `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from manywheels.core.regular_files import files_in
from manywheels.errors import WheelFileError
from manywheels.verify.checks import CHECKS, WHEEL_CHECKS, Report, check_wheel
from manywheels.verify.model import Check, Finding, Severity, Wheel

__all__ = [
    "CHECKS",
    "WHEEL_CHECKS",
    "Check",
    "Finding",
    "Report",
    "Severity",
    "Wheel",
    "check_wheel",
    "collect",
    "what_else",
]

SDIST: Final = ".tar.gz"
_SDISTS: Final = (".tgz", ".tar.bz2", ".tar.xz", ".zip")
_NAME_WHEELS: Final = "Name wheels (*.whl) and sdists (*.tar.gz), or folders with them."


def collect(paths: Iterable[Path]) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the wheels in `paths`, and the sdists: files themselves, and those in folders.

    Other files are passed over, as `dist/*` names them too. Raises WheelFileError for a missing path, a folder without
    wheels and sdists, a link that root does not follow, and where there are none at all; OSError for an unreadable
    folder.
    """
    paths = tuple(paths)
    found: list[Path] = []
    for path in paths:
        files = files_in(path, ".whl", SDIST) if path.is_dir() else [path]
        if not files or not (path.is_dir() or path.is_file()):
            problem = f"The folder `{path}` has no wheel." if path.is_dir() else f"There is no wheel `{path}`."
            raise WheelFileError(problem, remedy=_NAME_WHEELS)
        found += [] if what_else(path) else files
    if not found:
        raise WheelFileError(f"`{paths[0]}` is {what_else(paths[0])}.", remedy=_NAME_WHEELS)
    distinct = dict.fromkeys(found)
    sdists = tuple(path for path in distinct if path.name.endswith(SDIST))
    return tuple(path for path in distinct if path not in sdists), sdists


def what_else(path: Path) -> str | None:
    """Return what a file is that is neither a wheel nor an sdist by its name; None for these, and for folders."""
    if path.name.endswith((".whl", SDIST)) or path.is_dir():
        return None
    return "an sdist of another format than .tar.gz" if path.name.endswith(_SDISTS) else "no wheel"
