"""Sharding: the parts of a plan, how a job learns which is its own, and the matrices that start the jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
import yaml
from hypothesis import given as examples
from hypothesis import strategies as st

from manywheels.cli import build
from manywheels.cli.container_build import container_build
from manywheels.cli.request import Request
from manywheels.errors import InputError, SelectionError
from manywheels.plan.options import resolve
from manywheels.plan.sharding import jobs_for, parse_shard, part, shards_for, take_part
from manywheels.plan.targets import Plan, Target
from manywheels.report.plan import github_matrix, gitlab_matrix
from manywheels.wheels.manifest import Shard
from unit.helpers import given, planned, project, write_project

TAGS = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314")
PLAN = Plan(targets=tuple(planned(*TAGS)), excluded=())
ON_ARM = tuple(replace(entry, target=replace(entry.target, arch="aarch64")) for entry in PLAN.targets)
BOTH = Plan(targets=(*PLAN.targets, *ON_ARM), excluded=())
GITLAB = {"GITLAB_CI": "true", "CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3"}


def tags(plan: Plan) -> list[str]:
    return [entry.target.tag for entry in plan.targets]


@examples(items=st.lists(st.integers(), max_size=40, unique=True), count=st.integers(min_value=1, max_value=50))
def test_parts_are_disjoint_and_together_all(items: list[int], count: int) -> None:
    parts = [part(items, Shard(index=index, count=count)) for index in range(1, count + 1)]
    assert sorted(chain(*parts)) == sorted(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@examples(count=st.integers(min_value=1, max_value=60), per_job=st.integers(min_value=1, max_value=70))
def test_no_job_has_more_than_it_shall_and_none_is_empty(count: int, per_job: int) -> None:
    parts = [part(range(count), shard) for shard in shards_for(count, per_job)]
    assert all(1 <= len(own) <= per_job for own in parts)
    assert sorted(chain(*parts)) == list(range(count))


def test_a_part_knows_the_whole_plan() -> None:
    taken = take_part(PLAN, Shard(index=2, count=3))
    assert tags(taken) == ["cp310", "cp313"]
    assert sorted(taken.identifiers) == sorted(PLAN.identifiers)
    assert str(taken.shard) == "2/3"
    assert take_part(PLAN, None) is PLAN


def test_more_jobs_than_targets_leave_some_without_work() -> None:
    assert tags(take_part(PLAN, Shard(index=7, count=8))) == []


@pytest.mark.parametrize(
    ("value", "environment", "expected"),
    [
        ("2/5", {}, "2/5"),
        (" 2/5 ", GITLAB, "2/5"),
        ("auto", GITLAB, "2/3"),
        ("auto", {}, "None"),
        ("auto", {"GITLAB_CI": "true"}, "None"),
        ("auto", {"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3"}, "None"),
        ("1/1", GITLAB, "None"),
        ("aarch64:2/5", {}, "aarch64:2/5"),
        ("arm64", GITLAB, "aarch64:1/1"),
        ("auto", GITLAB | {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "1"}, "None"),
    ],
)
def test_which_part_is_this_jobs(value: str, environment: dict[str, str], expected: str) -> None:
    assert str(parse_shard(given(value), "shard", environment)) == expected


@pytest.mark.parametrize(
    "value", ["0/3", "4/3", "3", "a/b", "1/2/3", "-1/3", "1/1001", "", "1/0", "٢/٣", ":1/2", "arm64:3"]
)
def test_what_is_no_part_is_refused_with_its_origin(value: str) -> None:
    with pytest.raises(InputError, match="--option") as caught:
        parse_shard(given(value), "shard", {})
    assert "2/5" in caught.value.remedy


def test_numbers_of_gitlab_that_make_no_sense_are_named() -> None:
    with pytest.raises(InputError, match="CI_NODE_INDEX/CI_NODE_TOTAL: `5/3`"):
        parse_shard(given("auto"), "shard", GITLAB | {"CI_NODE_INDEX": "5"})


def test_githubs_matrix_is_one_line_with_a_job_for_each_shard() -> None:
    text = github_matrix(PLAN, 2)
    assert "\n" not in text
    jobs = json.loads(text)["include"]
    assert [job["shard"] for job in jobs] == ["1/3", "2/3", "3/3"]
    assert jobs[1]["targets"] == "cp310-manylinux_x86_64 cp313-manylinux_x86_64"
    assert {(job["arch"], job["runner"]) for job in jobs} == {("x86_64", "ubuntu-24.04")}


def test_each_architecture_has_jobs_of_its_own_on_its_own_runner() -> None:
    jobs = json.loads(github_matrix(BOTH, 4))["include"]
    assert [(job["shard"], job["runner"]) for job in jobs] == [
        ("x86_64:1/2", "ubuntu-24.04"), ("x86_64:2/2", "ubuntu-24.04"),
        ("aarch64:1/2", "ubuntu-24.04-arm"), ("aarch64:2/2", "ubuntu-24.04-arm"),
    ]  # fmt: skip
    assert all(identifier.endswith(f"_{job['arch']}") for job in jobs for identifier in job["targets"].split())
    jobs = yaml.safe_load(gitlab_matrix(BOTH, 6))[".manywheels-matrix"]["parallel"]["matrix"]
    assert [(job["MANYWHEELS_INPUT_SHARD"], job["RUNNER"]) for job in jobs] == [
        ("x86_64:1/1", "saas-linux-small-amd64"), ("aarch64:1/1", "saas-linux-small-arm64"),
    ]  # fmt: skip


def test_the_printed_jobs_are_the_parts_that_they_take() -> None:
    """Each names the whole plan, of which `gather` then knows what is missing."""
    for plan in (PLAN, BOTH):
        taken: list[Target] = []
        for job in jobs_for(plan, 4):
            own = take_part(plan, parse_shard(given(str(job.shard)), "shard", {}))
            assert tuple(entry.target for entry in own.targets) == job.targets
            assert sorted(own.identifiers) == sorted(plan.identifiers)
            taken += job.targets
        assert sorted(target.identifier for target in taken) == sorted(plan.identifiers)


def test_an_architecture_that_the_plan_lacks_is_named() -> None:
    with pytest.raises(SelectionError, match="no target for riscv64") as caught:
        take_part(BOTH, parse_shard(given("riscv64"), "shard", {}))
    assert "`archs`" in caught.value.remedy


def test_gitlabs_matrix_gives_each_job_the_variable_that_the_templates_read() -> None:
    jobs = yaml.safe_load(gitlab_matrix(PLAN, 1))[".manywheels-matrix"]["parallel"]["matrix"]
    assert [job["MANYWHEELS_INPUT_SHARD"] for job in jobs] == [f"{index}/6" for index in range(1, 7)]
    assert [job["TARGETS"] for job in jobs] == list(TAGS)


def test_gitlab_takes_the_names_of_the_matrixs_jobs_however_many_targets_they_have() -> None:
    plan = Plan(targets=PLAN.targets * 20, excluded=())
    for per_job in range(1, 121):
        jobs = yaml.safe_load(gitlab_matrix(plan, per_job))[".manywheels-matrix"]["parallel"]["matrix"]
        names = [f"arm-build-wheels: [{', '.join(job.values())}]" for job in jobs]
        assert max(map(len, names)) <= 128
    assert names == ["arm-build-wheels: [1/1, saas-linux-small-amd64, cp39 … cp314]"]


def test_one_job_is_enough_for_few_targets() -> None:
    assert [job["shard"] for job in json.loads(github_matrix(PLAN, 100))["include"]] == ["1/1"]


def test_a_container_is_told_the_targets_of_the_part_and_takes_no_part_of_them() -> None:
    asked = Request(command="build", given={"jobs": given("2"), "shard": given("2/3"), "archs": given("x86_64")})
    options = resolve(asked.given, project(), environment=GITLAB)
    part_of_it = [entry.target for entry in take_part(PLAN, options.shard).targets]
    arguments = container_build(asked, project(), options, options.platforms[0], part_of_it, leads=True).arguments
    identifiers = "cp310-manylinux_x86_64 cp313-manylinux_x86_64"
    assert set(arguments) == {
        "--jobs=2", "--archs=x86_64", f"--part={identifiers}", "--compiler-cache=run",
        "--report=", "--trace=", "--toolchain=auto",
    }  # fmt: skip
    inside = options.of_part(tuple(identifiers.split()))
    assert inside.shard is None
    assert inside.known_targets == inside.selected == tuple(part_of_it)


def test_a_shard_is_not_published_by_the_job_that_builds_it(tmp_path: Path) -> None:
    """It is said before anything is built."""
    write_project(tmp_path)
    asked = {"shard": given("1/2"), "publish": given("pypi", "--publish")}
    with pytest.raises(InputError, match=r"--publish: this job builds only shard 1/2") as caught:
        build.prepare_build(Request(command="build", paths=(tmp_path,), given=asked))
    assert "`artifact-pattern`" in caught.value.remedy
