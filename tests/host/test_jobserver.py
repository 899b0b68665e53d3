"""Real build tools draw from the pool: ninja from 1.13 on, and cargo; as many jobs at once as there are tokens."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from uv import find_uv_bin

from manywheels.build.jobserver import Jobserver
from manywheels.core.cancellation import Cancellation

JOBS = 5
# Notes when a job begins and ends; appending a line is atomic.
JOB = "echo + >>{log}; sleep 0.2; echo - >>{log}"


def most_at_once(log: Path) -> int:
    """Return how many jobs ran side by side; all must have run."""
    running = most = ended = 0
    for line in log.read_text().split():
        running += {"+": 1, "-": -1}[line]
        ended += line == "-"
        most = max(most, running)
    assert (running, ended) == (0, JOBS)
    return most


@contextmanager
def environment(folder: Path, tokens: int) -> Iterator[dict[str, str]]:
    """Yield the environment of a build that holds one token itself."""
    server = Jobserver(folder / "jobserver", tokens)
    try:
        with server.slot(Cancellation()):
            yield {**os.environ, **server.environment}
    finally:
        server.close()


@pytest.mark.parametrize("tokens", [1, 3])
def test_ninja(tmp_path: Path, tokens: int) -> None:
    log = tmp_path / "log"
    jobs = "".join(f"build {number}: job\n" for number in range(JOBS))
    (tmp_path / "build.ninja").write_text(f"rule job\n  command = {JOB.format(log=log)}\n{jobs}")
    ninja = [find_uv_bin(), "tool", "run", "--from", "ninja>=1.13", "ninja"]
    with environment(tmp_path, tokens) as variables:
        subprocess.run(ninja, check=True, capture_output=True, cwd=tmp_path, env=variables, timeout=120)
    assert most_at_once(log) == tokens


@pytest.mark.parametrize("tokens", [1, 2])
def test_cargo(tmp_path: Path, tokens: int) -> None:
    """Crates that do not need each other; a wrapper of the compiler notes when it works on one of them."""
    if shutil.which("cargo") is None:
        pytest.skip("there is no cargo on this machine")
    log, wrapper = tmp_path / "log", tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\ncase "$*" in *"--crate-name crate"*) {JOB.format(log=log)} ;; esac\nexec "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "Cargo.toml").write_text('[workspace]\nmembers = ["crate*"]\nresolver = "2"\n')
    for number in range(JOBS):
        source = tmp_path / f"crate{number}" / "src" / "lib.rs"
        source.parent.mkdir(parents=True)
        source.touch()
        (source.parent.parent / "Cargo.toml").write_text(f'[package]\nname = "crate{number}"\nversion = "1.0.0"\n')
    with environment(tmp_path, tokens) as variables:
        variables |= {"RUSTC_WRAPPER": str(wrapper), "CARGO_BUILD_JOBS": "4"}
        argv = ["cargo", "build", "--offline", "--quiet"]
        subprocess.run(argv, check=True, capture_output=True, cwd=tmp_path, env=variables, timeout=120)
    assert most_at_once(log) == tokens
