"""Check before a build that a user for project code cannot reach what it must not.

Run by path with `python -I -S`, as that user; prints a JSON list of problems.

    isolation_probe.py '{"supervisor": <pid>, "closed": [...], "sockets": [...], "needed": [...]}'
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator


def problems(supervisor: int, closed: list[str], sockets: list[str], needed: list[str]) -> Iterator[str]:
    """Yield each gap as a sentence without a full stop."""
    for name in ("environ", "mem", "maps"):
        if _can_read(f"/proc/{supervisor}/{name}"):
            yield f"another user can read /proc/{supervisor}/{name}"
    for folder in closed:
        if os.access(folder, os.R_OK) or os.access(folder, os.X_OK):
            yield f"another user can look into `{folder}`"
    for address in sockets:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2)
            if client.connect_ex(address) == 0:
                yield f"another user can talk to `{address}`"
    for path in needed:
        if not os.access(path, os.X_OK):
            yield f"another user cannot reach `{path}`, which the build needs"


def _can_read(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError:
        return False
    return True


if __name__ == "__main__":
    print(json.dumps(list(problems(**json.loads(sys.argv[1])))))
