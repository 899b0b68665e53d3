"""Colours in what is printed, as users ask for them: NO_COLOR, FORCE_COLOR, CLICOLOR and CLICOLOR_FORCE.

See no-color.org, force-color.org and bixense.com/clicolors. GitHub's and GitLab's logs show colours, and are no
terminals.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final, TextIO

# From a line and a colour's name, "" for none, to the line as it is printed.
Paint = Callable[[str, str], str]

_CODES: Final = {"red": "31", "green": "32", "yellow": "33", "dim": "2"}
_CIS: Final = ("GITHUB_ACTIONS", "GITLAB_CI")


def wanted(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether to print colours."""
    if environment.get("NO_COLOR"):
        return False
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environment.get(name, "0") not in {"", "0", "false"}:
            return True
    if environment.get("CLICOLOR") == "0" or environment.get("FORCE_COLOR") in {"0", "false"}:
        return False
    if any(environment.get(name) == "true" for name in _CIS):
        return True
    return stream.isatty() and environment.get("TERM") != "dumb"


def paint_for(stream: TextIO) -> Paint:
    return painted if wanted(stream) else plain


def painted(line: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{line}\x1b[0m" if colour and line else line


def plain(line: str, _colour: str) -> str:
    return line
