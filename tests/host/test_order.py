"""A built wheel is repaired, verified, tested and delivered before another build takes its place."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from host.conftest import Finished, Program

ROUNDING = 0.002  # seconds; the manifest has milliseconds
TESTS = ("--test-command", "python -c 'import tested; assert tested.answer() == 42'")
# From 3.10 on, the wheel is for the stable ABI. `BEGUN` is there once 3.12 has begun; 3.9 waits for it.
STABLE = """
import os
import pathlib
import sys
import sysconfig
import time
import healthy

BEGUN = pathlib.Path({begun!r})


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if sys.version_info[:2] == (3, 12):
        BEGUN.touch()
    if sys.version_info < (3, 10):
        while not BEGUN.exists():
            time.sleep(0.02)
    else:
        sysconfig.get_config_vars()["EXT_SUFFIX"] = ".abi3.so"
        platform = sysconfig.get_platform().replace("-", "_")
        healthy.tag = lambda suffix: f"cp310-abi3-{{platform}}"
        os.environ["CFLAGS"] = os.environ.get("CFLAGS", "") + " -DPy_LIMITED_API=0x030A0000"
    return healthy.build_wheel(wheel_directory)
"""


def stable(program: Program) -> Path:
    """Return the project `tested` with wheels for the stable ABI."""
    project = program.copy("tested")
    (project / "backend.py").rename(project / "healthy.py")
    (project / "backend.py").write_text(STABLE.format(begun=str(program.folder / "begun")))
    return project


def span(target: dict[str, Any]) -> tuple[float, float]:
    """Return when a target's first stage began and its delivery ended, in seconds since the run's beginning."""
    return target["began"]["prepare"], target["began"]["deliver"] + target["seconds"]["deliver"]


def assert_one_after_another(finished: Finished) -> None:
    """The targets that have a wheel of their own were done one after the other, each to its delivery."""
    spans = sorted(span(target) for target in finished.manifest["targets"] if target["state"] == "built")
    for (_, delivered), (begun, _) in pairwise(spans):
        assert delivered <= begun + ROUNDING, spans


def test_a_wheel_is_delivered_before_the_next_build_begins(program: Program) -> None:
    tags = ["cp310", "cp311", "cp312"]
    finished = program.build("tested", "--jobs", "1", *TESTS, tags=" ".join(tags))

    assert finished.status == 0, finished.text
    assert finished.states == dict.fromkeys(tags, "built")
    assert_one_after_another(finished)


def test_tests_with_other_pythons_get_their_turn(program: Program) -> None:
    """The target that built the wheel does not keep the only place from them."""
    finished = program.build(stable(program), "--jobs", "1", *TESTS, tags="cp310 cp311 cp312")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp310": "built", "cp311": "reused", "cp312": "reused"}
    assert all(target["tests"]["passed"] for target in finished.targets.values())


def test_who_waits_for_an_earlier_target_lets_others_work(program: Program) -> None:
    """3.10 has a wheel that serves 3.12, unless one of 3.9 serves both: it waits, and 3.12 takes its place."""
    finished = program.build(stable(program), "--jobs", "2", tags="cp39 cp310 cp312")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp39": "built", "cp310": "built", "cp312": "reused"}
    assert (program.folder / "begun").exists()
