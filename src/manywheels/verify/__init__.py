"""Verification: small independent checks of each wheel's bytes, and of all wheels together.

To add a check, write a function in the module of its topic, and enter it in that module's `CHECKS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from manywheels.core.regular_files import files_in
from manywheels.errors import WheelFileError
from manywheels.verify.checks import CHECKS, WHEEL_CHECKS, Report, check_wheel
from manywheels.verify.model import Check, Finding, Severity, Wheel

__all__ = ["CHECKS", "WHEEL_CHECKS", "Check", "Finding", "Report", "Severity", "Wheel", "check_wheel", "collect_wheels"]


def collect_wheels(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the wheels in `paths`: wheels themselves, and those in folders.

    Raises WheelFileError for a missing path, a folder without wheels, and a link that root does not follow; OSError for
    an unreadable folder.
    """
    found: list[Path] = []
    for path in paths:
        wheels = files_in(path, ".whl") if path.is_dir() else [path]
        if not wheels or not (path.is_dir() or path.is_file()):
            problem = f"The folder `{path}` has no wheel." if path.is_dir() else f"There is no wheel `{path}`."
            raise WheelFileError(problem, remedy="Name wheels (*.whl), or folders with wheels.")
        found += wheels
    return tuple(dict.fromkeys(found))
