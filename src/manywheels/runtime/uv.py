"""uv, which comes with this package: where it is, and the reasons that it gives."""

from __future__ import annotations

import re
import threading
from functools import cache

_ONE_AT_A_TIME = threading.Lock()


def uv_program() -> str:
    """Return the path of the uv that came with this package. May be called from several threads."""
    with _ONE_AT_A_TIME:  # uv asks sysconfig, which in Python 3.11 must not be asked for the first time by two threads
        return _find_uv()


@cache
def _find_uv() -> str:
    from uv import find_uv_bin

    return find_uv_bin()


def why_uv_refused(output: str) -> str:
    """Return uv's reason in one line; of a resolution that failed, only the fact that it began with."""
    text = " ".join(output.split())
    if because := re.search(r"cause: Because (.+?)(?: and only | and you require |, we can conclude)", text):
        below = re.findall(r"Caused by: (.+?)(?= Caused by: |$)", text)
        return "; ".join([because[1], *below])
    start = text.find("error: ")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return text[start:].removeprefix("error: ") if start >= 0 else (lines or ["uv gave no reason"])[-1]
