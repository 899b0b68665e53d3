"""The wheels that `make` fetched once, from which the tests' projects are built: no index is asked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

WHEELS = Path(sys.prefix) / "wheels"


def no_index() -> dict[str, str]:
    """Return the variables with which uv and pip find these wheels and nothing else."""
    assert WHEELS.is_dir(), f"{WHEELS} is absent: `make {WHEELS.parent.name}/wheels/.ready` fetches it"
    return {
        "UV_OFFLINE": "1",
        "UV_FIND_LINKS": str(WHEELS),
        "PIP_FIND_LINKS": str(WHEELS),
        "PIP_INDEX_URL": (WHEELS / "no-index").as_uri(),
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_CONFIG_FILE": os.devnull,
    }
