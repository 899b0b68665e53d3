"""Runs of tests: the last line says what was not run, and what must run and cannot is a failure that is seen."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rings import TESTS, left_out

ROOT = TESTS.parent
NEEDS_DOCKER = """
import pytest

@pytest.mark.docker
def test_that_needs_docker():
    pass
"""
SLOW = """
import pytest

@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.slow("large")
def test_of_two_sizes(size):
    pass
"""
# Only what the settings and the workers need: the plugins that are installed take longer to load than all the tests.
PLUGINS = ("xdist.plugin", "pytest_timeout")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with tests in each of two rings, one of them slow, and what all tests share."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name in ("unit", "containers"):
        (tmp_path / "tests" / name).mkdir(parents=True)
    for name in ("conftest.py", "rings.py"):
        shutil.copy(TESTS / name, tmp_path / "tests")
    (tmp_path / "tests/unit/test_slow.py").write_text(SLOW)
    (tmp_path / "tests/containers/test_other.py").write_text(NEEDS_DOCKER)
    return tmp_path


def run(checkout: Path, *arguments: str, required: str = "", ci: str = "") -> tuple[int, list[str]]:
    """Run pytest where there is no Docker; return its exit status and its lines."""
    environment = {"PATH": "/nonexistent", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": ci}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *(f"-p{name}" for name in PLUGINS), *arguments],
        cwd=checkout, env={**environment, "MANYWHEELS_REQUIRE": required}, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines()


with_and_without_workers = pytest.mark.parametrize(
    "workers", [(), ("-n", "1", "--dist", "loadgroup")], ids=["one process", "xdist"]
)


@with_and_without_workers
def test_the_last_line_says_what_was_not_run(checkout: Path, workers: tuple[str, ...]) -> None:
    status, lines = run(checkout, *workers, "tests/unit", "tests/containers")
    assert status == 0, lines
    assert lines[-1] == (
        "Not run: tests/publish tests/host (`make test`; needs compilers and CPythons); "
        "tests/pypi (`make test-index`; needs the package index); 2 skipped, for the reasons above."
    )
    assert "1 passed, 2 skipped" in lines[-2]
    for reason in ("docker is not installed", "slow: `CI=true make test` runs it"):
        assert any("SKIPPED [1]" in line and reason in line for line in lines)


@with_and_without_workers
def test_what_must_run_and_cannot_is_a_failure(checkout: Path, workers: tuple[str, ...]) -> None:
    status, lines = run(checkout, *workers, "tests/unit", "tests/containers", required="act docker", ci="true")
    assert status == 1, lines
    assert "2 passed, 1 error" in lines[-2], "in CI, what is slow runs as well"
    reason = "this must run here (MANYWHEELS_REQUIRE names docker), but docker is not installed"
    assert any(reason in line for line in lines)


@with_and_without_workers
def test_a_requirement_that_nothing_goes_by_is_refused(checkout: Path, workers: tuple[str, ...]) -> None:
    status, lines = run(checkout, *workers, "tests/unit", required="dokcer")
    assert status == 4
    assert any("MANYWHEELS_REQUIRE knows docker, act, chromium, gitlab, registry, not dokcer" in line for line in lines)


@with_and_without_workers
def test_what_is_slow_is_run_where_it_is_named(checkout: Path, workers: tuple[str, ...]) -> None:
    status, lines = run(checkout, *workers, "tests/unit/test_slow.py::test_of_two_sizes[large]")
    assert (status, "1 passed" in lines[-2]) == (0, True), lines


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        ([], ["unit", "publish", "host", "containers", "pypi"]),
        (["tests"], []),
        (["tests/unit", "tests/host", "tests/publish"], ["containers", "pypi"]),
        (["tests/unit/test_rings.py::test_one"], ["publish", "host", "containers", "pypi"]),
    ],
)
def test_what_is_left_out_is_known_by_the_folders(arguments: list[str], absent: list[str]) -> None:
    told = " ".join(left_out(arguments, ROOT))
    assert [name for name in ("unit", "publish", "host", "containers", "pypi") if f"tests/{name}" in told] == absent


def test_every_folder_with_tests_is_of_a_ring() -> None:
    assert {path.parent.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py")} - {"projects"} == {
        "unit", "publish", "host", "containers", "pypi"
    }  # fmt: skip


@pytest.mark.parametrize("text", ["x" * 1_000_000, b"\0" * 1000, "\u6c49" * 1000])
def test_long_texts_have_short_ids(request: pytest.FixtureRequest, text: str | bytes) -> None:
    assert f"({len(text)} long)" in request.node.name
    assert len(request.node.name) < 150
