"""How much of what is large a run tries: all of it where the environment says CI, a tenth elsewhere."""

from __future__ import annotations

import os

WHOLE = os.environ.get("CI") == "true"


def scaled(whole: int, least: int = 1) -> int:
    """Return that number in CI, a tenth of it elsewhere, but not less than `least`."""
    return whole if WHOLE else max(least, whole // 10)
