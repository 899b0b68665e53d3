"""A re-run of a failed job of a GitHub workflow: it takes the wheels that the attempt before has uploaded."""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host.test_unchanged import TAGS, failing_for_312, kept, reasons
from unit.artifactservice import FakeService
from unit.resultsservice import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from host.conftest import Finished, Program

ENTRYPOINT = Path(__file__).parents[2] / "entrypoint.py"


@dataclass
class Job:
    """A job of one workflow run; each attempt has a machine and a checkout of its own."""

    program: Program
    service: FakeService
    repaired: Path
    attempts: int = 0
    inputs: dict[str, str] = field(default_factory=dict)

    def attempt(self, *, status: int, **variables: str) -> Finished:
        """Run the action."""
        self.attempts += 1
        checkout, machine = self.program.copy("c_setuptools"), self.program.new_folder("machine")
        inputs = {"BUILD": TAGS, "BEFORE-BUILD": failing_for_312(self.repaired), **self.inputs}
        caller = {
            **self.program.pyenv_of(TAGS.split()), **self.service.environment,
            **{f"INPUT_{name}": value for name, value in inputs.items()},
            "GITHUB_ACTIONS": "true", "GITHUB_RUN_ATTEMPT": str(self.attempts), "MANYWHEELS_CACHE": str(machine),
            "GITHUB_OUTPUT": str(machine / "output"), "GITHUB_STEP_SUMMARY": str(machine / "summary"), **variables,
        }  # fmt: skip
        process = self.program.start(caller=caller, cwd=checkout, program=(str(ENTRYPOINT),))
        finished = self.program.end_of(process, time.monotonic(), checkout / "dist")
        assert finished.status == status, finished.text
        return finished

    def forge(self, change: Callable[[bytes], bytes], **digests: str) -> str:
        """Replace the artifact by one with its only wheel changed; return the wheel's name.

        The manifest has the new wheel's size and sha256, or the `digests` that are given.
        """
        packed = io.BytesIO()
        with self.artifact as old, zipfile.ZipFile(packed, "w") as new:
            manifest = json.loads(old.read("manywheels.json"))
            (record,) = [target["wheel"] for target in manifest["targets"] if target["wheel"]]
            wheel = change(old.read(record["name"]))
            record |= {"size": len(wheel), "sha256": hashlib.sha256(wheel).hexdigest(), **digests}
            new.writestr(record["name"], wheel)
            new.writestr("manywheels.json", json.dumps(manifest))
        digest = hashlib.sha256(packed.getvalue()).hexdigest()
        self.service.finished["wheels"] = (packed.getvalue(), f"sha256:{digest}")
        return str(record["name"])

    @property
    def artifact(self) -> zipfile.ZipFile:
        return zipfile.ZipFile(io.BytesIO(self.service.finished["wheels"][0]))


@pytest.fixture
def job(program: Program, tmp_path: Path) -> Iterator[Job]:
    with serving(FakeService()) as service:
        yield Job(program, service, tmp_path / "repaired")


def test_only_what_is_missing_is_built_and_the_artifact_has_all(job: Job) -> None:
    first = job.attempt(status=1)
    assert first.states == {"cp310": "built", "cp312": "failed"}
    job.repaired.touch()
    second = job.attempt(status=0)
    assert second.states == {"cp310": "built", "cp312": "built"}
    assert kept(second) == ["cp310"]
    assert "1 of them up to date" in second.stdout
    assert second.targets["cp310"]["wheel"] == first.targets["cp310"]["wheel"]
    with job.artifact as archive:
        assert {wheel.name for wheel in second.wheels} < set(archive.namelist())
        assert json.loads(archive.read("manywheels.json")) == second.manifest


def test_a_wheel_that_is_not_the_manifests_is_built_again(job: Job) -> None:
    job.attempt(status=1)
    job.repaired.touch()
    job.forge(lambda wheel: wheel, sha256="0" * 64)
    second = job.attempt(status=0)
    assert kept(second) == []
    assert reasons(second) == [f"cp310-manylinux_{os.uname().machine}: its wheel was changed"]


def test_a_forged_set_that_does_not_pass_verification_is_built_again(job: Job) -> None:
    """Its manifest has the digests of the forged wheel, as another job of the run could write it."""
    job.attempt(status=1)
    job.repaired.touch()
    forged = job.forge(_with_a_file_more)
    second = job.attempt(status=0)
    assert kept(second) == []
    assert f"note: {forged} of the earlier attempt does not pass verification, and is not taken" in second.text
    with zipfile.ZipFile(second.output / forged) as wheel:
        assert "c_setuptools/more.py" not in wheel.namelist()


def _with_a_file_more(wheel: bytes) -> bytes:
    """Return a wheel with a file that its RECORD does not have."""
    content = io.BytesIO(wheel)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("c_setuptools/more.py", "print('more')")
    return content.getvalue()
