"""The packages from npm that the tests use, installed once from their lock."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from pathlib import Path

import pytest

NODE = Path(__file__).parent / "node"


def npm_packages() -> Path:
    """Install what tests/containers/node/package-lock.json names, unless that is done; return the folder."""
    wanted = hashlib.sha256((NODE / "package-lock.json").read_bytes()).hexdigest()
    mark = NODE / "node_modules" / ".installed"
    with (NODE / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists() or mark.read_text("ascii") != wanted:
            argv = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            done = subprocess.run(argv, cwd=NODE, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.fail(f"npm ci: {done.stderr}")
            mark.write_text(wanted, encoding="ascii")
    return NODE
