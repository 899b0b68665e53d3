"""GitLab's collapsible sections of a job's log.

A marker is `section_start:<unix seconds>:<name>[collapsed=true]`, then a carriage return and the sequence that clears
the line; GitLab shows the seconds between the two markers as the section's duration. Text that project code wrote keeps
neither carriage returns nor escape sequences (`report.text`), so it cannot hold one.
"""

from __future__ import annotations

import re
import time

_CLEAR = "\x1b[0K"


def section(name: str, head: str, seconds: float) -> tuple[str, str]:
    """Return the markers around a section, `head` its title, that has just ended and took this many seconds."""
    ended = int(time.time())
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    before = f"{_CLEAR}section_start:{ended - round(seconds)}:{name}[collapsed=true]\r{_CLEAR}{head}"
    return before, f"{_CLEAR}section_end:{ended}:{name}\r{_CLEAR}"
