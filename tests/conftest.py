"""What all tests share: how those that need Docker, act or a browser find out whether it is there; the last line."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

from rings import pytest_sessionfinish

__all__ = ["pytest_sessionfinish"]  # pytest calls it: the last line

ROOT = Path(__file__).resolve().parent.parent
BASE_IMAGE = "quay.io/pypa/manylinux_2_28_x86_64:2026.08.15-1"

# The same examples each time: no run fails by chance. `--hypothesis-profile=search` looks for others.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("search", deadline=None, max_examples=2000)
settings.load_profile("same")


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


@cache
def _registry_problem() -> str | None:
    return _docker_problem() or (None if shutil.which("docker-registry") else "docker-registry is not installed")


_NEEDS = {
    "docker": _docker_problem,
    "act": _act_problem,
    "chromium": _chromium_problem,
    "gitlab": _gitlab_problem,
    "registry": _registry_problem,
}


_REQUIRED = "MANYWHEELS_REQUIRE"


def pytest_configure() -> None:
    """Refuse a requirement that nothing goes by."""
    if unknown := set(os.environ.get(_REQUIRED, "").split()) - set(_NEEDS):
        raise pytest.UsageError(f"{_REQUIRED} knows {', '.join(_NEEDS)}, not {', '.join(sorted(unknown))}")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Return a short id for a long text, which would be its own; None: leave it to pytest."""
    if not isinstance(val, str | bytes) or len(val) <= 100:
        return None
    start = ascii(val[:60]).removeprefix("b")[1:-1]
    return f"{start[:60]}... ({len(val)} long)"


def pytest_collection_finish() -> None:
    """Keep the thousands of collected tests out of the garbage collector's passes; they live to the end anyway."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what cannot run here, with the reason; fail it where MANYWHEELS_REQUIRE says that it must run.

    This is each test's own failure and no error of the collection, so that it is seen under pytest-xdist as well.
    """
    if _is_slow(item) and os.environ.get("CI") != "true" and not any("::" in asked for asked in item.config.args):
        pytest.skip("slow: `CI=true make test` runs it")
    required = os.environ.get(_REQUIRED, "").split()
    for need, problem_of in _NEEDS.items():
        if item.get_closest_marker(need) is None or (problem := problem_of()) is None:
            continue
        if need in required:
            pytest.fail(f"this must run here ({_REQUIRED} names {need}), but {problem}", pytrace=False)
        pytest.skip(problem)


def _is_slow(item: pytest.Item) -> bool:
    """Whether a test is marked as slow; the mark may name the parameters with which it is."""
    mark = item.get_closest_marker("slow")
    return mark is not None and (not mark.args or getattr(item, "callspec").id in mark.args)  # noqa: B009 - of functions


@pytest.fixture
def heeded() -> Iterator[None]:
    """Undo what nohup or a script has these tests ignore: the program would go on ignoring it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
