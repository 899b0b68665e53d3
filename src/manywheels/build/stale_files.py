"""Files of an earlier build in the source, which a build may take for its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from manywheels.build import source_files
from manywheels.core.cancellation import Cancellation

_NAMED: Final = 3
# Libraries without an interpreter's tag may be the project's own.
_STALE: Final = re.compile(r".+\.(?:cpython-\w+-[\w-]+|abi3t?|pypy\d+-\w+-[\w-]+)\.so|.+\.(?:o|pyd)|CMakeCache\.txt")


def hint(folder: Path, cancellation: Cancellation) -> str:
    """Return what a user needs to know of such files in a folder; "" if there are none. Raises Cancelled."""
    found, _ = source_files.find(folder, _STALE, cancellation)
    if not found:
        return ""
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return (
        f"The source has files of an earlier build ({', '.join(sorted(found)[:_NAMED])}{more}), which this build may "
        "have used: remove them, or build in a clean checkout."
    )
