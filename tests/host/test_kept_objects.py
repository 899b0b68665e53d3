"""Objects that are kept in the Actions cache of a repository, by builds that see an empty machine each time."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from host.test_shared_builds import counts, modules
from host.test_toolchain import needs_gcc
from unit.cacheservice import DENIED, FakeCache
from unit.resultsservice import always, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from host.conftest import Finished, Program

pytestmark = needs_gcc
TAGS = "cp310 cp312"


@pytest.fixture
def fake() -> Iterator[FakeCache]:
    with serving(FakeCache()) as service:
        yield service


class Jobs:
    """Jobs of a workflow, each on a machine of its own."""

    def __init__(self, program: Program, fake: FakeCache) -> None:
        self._program, self._fake, self._count = program, fake, 0
        self.source = program.copy("bundled")

    def build(self, *options: str, **variables: str) -> Finished:
        self._count += 1
        machine = self._program.new_folder("machine")
        own = {"MANYWHEELS_CACHE": str(machine), "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": str(self._count)}
        finished = self._program.build(
            self.source, "--toolchain", "system", "--compiler-cache", "keep", *options, tags=TAGS,
            caller={**self._fake.environment, **own, **variables},
        )  # fmt: skip
        assert finished.status == 0, finished.text
        return finished


@pytest.fixture
def jobs(program: Program, fake: FakeCache) -> Jobs:
    return Jobs(program, fake)


def test_a_later_job_gets_the_objects_of_an_earlier_one(jobs: Jobs, fake: FakeCache) -> None:
    first, second = jobs.build(), jobs.build()
    assert counts(first)[0] > 0
    assert counts(second)[0] == 0
    assert modules(first.wheels) == modules(second.wheels)
    assert "compiled objects: saved " in first.stderr
    assert "compiled objects: restored " in second.stderr
    assert "saved" not in second.stderr, "nothing is new"
    assert len(fake.calls("CreateCacheEntry")) == 1


def test_what_is_new_is_saved_with_what_was_there(jobs: Jobs, fake: FakeCache) -> None:
    jobs.build()
    unit = jobs.source / "lib/two.c"
    unit.write_text(unit.read_text() + "int added(void) { return 1; }\n")
    changed, last = jobs.build(), jobs.build()
    assert counts(changed)[0] == 1
    assert counts(last)[0] == 0
    assert len(fake.calls("CreateCacheEntry")) == 2


def test_the_runs_own_objects_stay_with_it(jobs: Jobs, fake: FakeCache) -> None:
    jobs.build("--compiler-cache", "run")
    assert fake.asked == []


def test_a_job_that_may_not_write_builds(jobs: Jobs, fake: FakeCache) -> None:
    fake.scripts["CreateCacheEntry"] = always(DENIED)
    finished = jobs.build()
    assert "compiled objects are not saved: " in finished.stderr


@pytest.mark.parametrize("content", [b"not a database", os.urandom(5000)], ids=["text", "noise"])
def test_an_entry_that_is_no_store_is_begun_anew(jobs: Jobs, fake: FakeCache, content: bytes) -> None:
    jobs.build()
    fake.entries[:] = [replace(entry, content=content) for entry in fake.entries]
    finished = jobs.build()
    assert counts(finished)[0] > 0
    assert len(finished.wheels) == len(TAGS.split())
