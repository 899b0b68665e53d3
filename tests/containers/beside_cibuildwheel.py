"""cibuildwheel and manywheels on the same project, by the project's own `[tool.cibuildwheel]`, upon the same image.

Both get the same variables: `CIBW_BUILD`, the architecture and the image; nothing else is said to either.
benchmarks/compare_cibuildwheel.py prints what comes of projects of the index.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import parse_wheel_filename

from conftest import BASE_IMAGE

PYTHONS = ("cp312", "cp313")
CIBUILDWHEEL = (sys.executable, "-m", "cibuildwheel", "--platform", "linux")
MANYWHEELS = (sys.executable, "-m", "manywheels", "build", "--engine", "container")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one tool's run ended: its exit status, the tags of each wheel, its seconds, and what it wrote."""

    status: int
    wheels: frozenset[frozenset[Tag]]
    seconds: float
    output: Path
    said: str

    @property
    def passed(self) -> bool:
        """Whether the tool was content: with the builds, the repairs and the tests."""
        return self.status == 0


def run(
    tool: Sequence[str], project: Path, output: Path, *, image: str = BASE_IMAGE, pythons: Sequence[str] = PYTHONS,
    variables: Mapping[str, str] | None = None,
) -> Outcome:  # fmt: skip
    """Run a tool in a project's folder as its users do."""
    output.mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CIBW_")}
    environment |= {
        "CIBW_BUILD": " ".join(f"{python}-manylinux_x86_64" for python in pythons),
        "CIBW_ARCHS": "x86_64",
        "CIBW_MANYLINUX_X86_64_IMAGE": image,
        **(variables or {}),
    }
    started = time.monotonic()
    done = subprocess.run(
        [*tool, ".", "--output-dir", output], cwd=project, env=environment, text=True, errors="replace", check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800,
    )  # fmt: skip
    return Outcome(
        status=done.returncode,
        wheels=frozenset(parse_wheel_filename(wheel.name)[3] for wheel in output.glob("*.whl")),
        seconds=time.monotonic() - started,
        output=output,
        said=done.stdout,
    )
