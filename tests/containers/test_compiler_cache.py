"""A project that tries to give other targets an object of its own, in the container action."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT
from runner import Finished, Runner

pytestmark = [pytest.mark.docker, pytest.mark.network, pytest.mark.xdist_group("isolation")]
PROJECT = ROOT / "tests/projects/poisoner"
SAY = "python -c 'import poisoner; print(\"the answer is\", poisoner.answer())'"


def built(folder: Path, image: str, **inputs: str) -> Finished:
    runner = Runner.prepare(folder, image)
    shutil.copytree(PROJECT, runner.workspace, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    runner.give()
    wanted = {"build": "cp312 cp313", "jobs": "1", "publish": "none", "verbose": "true", "test-command": SAY}
    finished = runner.run(wanted | inputs)
    assert finished.status == 0, finished.output + finished.logs
    return finished


def answers(finished: Finished) -> list[int]:
    return [int(found) for found in re.findall(r"^the answer is (\d+)$", finished.logs, re.MULTILINE)]


def attempts(finished: Finished) -> dict[str, Any]:
    (said,) = re.findall(r"^poisoner (\{.*\})$", finished.logs, re.MULTILINE)
    found: dict[str, Any] = json.loads(said)
    return found


def test_a_target_cannot_change_what_another_gets(image: str, tmp_path: Path) -> None:
    finished = built(tmp_path, image)
    assert {name: got for name, got in attempts(finished).items() if got} == {}
    assert answers(finished) == [42, 42]
    assert finished.manifest["compilations"]["shared"] >= 1


def test_it_could_if_targets_wrote_the_store(image: str, tmp_path: Path) -> None:
    """So that the test above can fail: the same attempt, with the store of a compiler cache of the builds' own."""
    finished = built(tmp_path, image, environment="NAIVE_STORE=/tmp/naive-store", **{"compiler-cache": "off"})
    assert sorted(answers(finished)) == [13, 42]
