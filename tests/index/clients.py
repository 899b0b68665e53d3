"""Other programs that upload and download: twine, uv, pip, run with nothing of this machine's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A client that has ended."""

    status: int
    text: str


def run_client(home: Path, *argv: str | Path, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a program with `environment`, PATH and an empty home, and nothing else."""
    variables = {
        "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1", "UV_NO_CONFIG": "1", "UV_CACHE_DIR": str(home / "uv-cache"),
    }  # fmt: skip
    ended = subprocess.run(
        [str(word) for word in argv],
        env=variables | dict(environment or {}),
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    return Ran(status=ended.returncode, text=ended.stdout.decode("utf-8", "replace"))


def twine(home: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Ran:
    """Run `twine upload` without a terminal."""
    command = (sys.executable, "-m", "twine", "upload", "--non-interactive", "--disable-progress-bar")
    return run_client(home, *command, *arguments, environment=environment)


def uv(home: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Ran:
    """Run the uv of this environment."""
    return run_client(home, find_uv_bin(), *arguments, environment=environment)


def pip_download(home: Path, simple_url: str, requirement: str) -> Ran:
    """Download a wheel for CPython 3.12 into `home/downloads`."""
    target = ("--only-binary", ":all:", "--python-version", "3.12", "--platform", "manylinux2014_x86_64")
    folder = ("--dest", home / "downloads", "--no-deps", "--no-cache-dir", "--isolated")
    command = (sys.executable, "-m", "pip", "download", "--index-url", simple_url)
    return run_client(home, *command, *target, *folder, requirement)
