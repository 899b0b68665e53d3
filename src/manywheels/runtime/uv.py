"""Find the uv that this package depends on, and read its errors."""

from __future__ import annotations

import re
import threading
from functools import cache

_LOCK = threading.Lock()


def uv_program() -> str:
    """Return the path of uv; thread-safe."""
    with _LOCK:  # uv calls sysconfig, whose first call in Python 3.11 is not thread-safe
        return _find_uv()


@cache
def _find_uv() -> str:
    from uv import find_uv_bin

    return find_uv_bin()


def why_uv_refused(output: str) -> str:
    """Return the reason in one line; of a failed resolution, only the first cause."""
    text = " ".join(output.split())
    if because := re.search(r"cause: Because (.+?)(?: and only | and you require |, we can conclude)", text):
        below = re.findall(r"Caused by: (.+?)(?= Caused by: |$)", text)
        return "; ".join([because[1], *below])
    start = text.find("error: ")
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return text[start:].removeprefix("error: ") if start >= 0 else (lines or ["uv gave no reason"])[-1]
