"""What all tests share: how a test that needs Docker, act or compilers finds out whether they are there."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE_IMAGE = "quay.io/pypa/manylinux_2_28_x86_64:2026.08.15-1"


@cache
def _docker_problem() -> str | None:
    if shutil.which("docker") is None:
        return "docker is not installed"
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "no Docker engine answers"
    if subprocess.run(["docker", "image", "inspect", BASE_IMAGE], capture_output=True, check=False).returncode != 0:
        return f"the image {BASE_IMAGE} is not here"
    return None


@cache
def _act_problem() -> str | None:
    return _docker_problem() or (None if shutil.which("act") else "act is not installed")


@cache
def _gitlab_problem() -> str | None:
    return _docker_problem() or (None if shutil.which("gitlab-ci-local") else "gitlab-ci-local is not installed")


@cache
def _chromium_problem() -> str | None:
    absent = [name for name in ("chromium", "npm") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


_NEEDS = {"docker": _docker_problem, "act": _act_problem, "chromium": _chromium_problem, "gitlab": _gitlab_problem}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, with the reason; fail it where MANYWHEELS_REQUIRE says that it must run."""
    required = os.environ.get("MANYWHEELS_REQUIRE", "").split()
    for item in items:
        for need, problem_of in _NEEDS.items():
            if item.get_closest_marker(need) is None:
                continue
            problem = problem_of()
            if problem and need in required:
                raise pytest.UsageError(f"{item.nodeid} must run here, but {problem}")
            if problem:
                item.add_marker(pytest.mark.skip(reason=problem))
