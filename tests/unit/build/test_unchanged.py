"""What a wheel was made from: what counts, what does not, and how a change is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manywheels.build.ingredients import recipe_of
from manywheels.build.unchanged import Kept, _changed
from manywheels.plan.options import Options, resolve
from manywheels.verify.rules import Ignored, Rules
from unit.helpers import given, project


def options(**values: str) -> Options:
    entries = {"platform": "manylinux_2_28", "build": "cp312", **values}
    return resolve({name.replace("_", "-"): given(value) for name, value in entries.items()}, project(), environment={})


def recipe(chosen: Options, rules: Rules | None = None, **caller: str) -> str:
    return recipe_of(chosen.selected[0], chosen, rules or Rules(), caller)


@pytest.mark.parametrize(
    "values",
    [
        {"config_settings": "a=b"}, {"environment": "A=b"}, {"build_frontend": "pip"}, {"before_build": "make"},
        {"before_all": "make"}, {"repair_strip": "true"}, {"test_command": "pytest"}, {"platform": "manylinux2014"},
        {"dependency_versions": "packages: a==1"}, {"repair_exclude": "liba.so"}, {"audit_command": "true"},
    ],
)  # fmt: skip
def test_options_that_a_wheel_depends_on_are_in_its_recipe(values: dict[str, str]) -> None:
    assert recipe(options(**values)) != recipe(options())


@pytest.mark.parametrize(
    "values", [{"jobs": "1"}, {"timeout": "5m"}, {"verbose": "true"}, {"output_dir": "x"}, {"build": "cp311 cp312"}]
)
def test_options_of_the_run_are_not(values: dict[str, str]) -> None:
    chosen = options(**values)
    (target,) = (one for one in chosen.selected if one.tag == "cp312")
    assert recipe_of(target, chosen, Rules(), {}) == recipe(options())


def test_the_rules_of_verification_are_in_it() -> None:
    assert recipe(options(), Rules(ignored=(Ignored(code="MW201"),))) != recipe(options())


def test_variables_count_that_builds_see_without_the_jobs_credentials() -> None:
    passing = options(environment_pass="MINE CI_JOB_TOKEN")
    assert recipe(passing, MINE="1") != recipe(passing, MINE="2")
    assert recipe(passing, SOURCE_DATE_EPOCH="1") != recipe(passing)
    assert recipe(passing, OTHER="1") == recipe(passing)
    assert recipe(passing, CI_JOB_TOKEN="1") == recipe(passing, CI_JOB_TOKEN="2")
    index = "https://me:{}@index.example/simple"
    assert recipe(passing, UV_DEFAULT_INDEX=index.format("a")) == recipe(passing, UV_DEFAULT_INDEX=index.format("b"))


def test_a_recipe_is_the_same_in_each_process() -> None:
    """Python gives texts another hash in each."""
    made = "recipe(options(before_all='make', environment='A=b'))"
    code = f"from unit.build.test_unchanged import options, recipe; print({made})"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    printed = {
        subprocess.run(
            [sys.executable, "-c", code], env={**environment, "PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_requirements_that_changed_are_named() -> None:
    before, now = ("Cython==3.1.2", "wheel==1.0"), ("cython==3.1.3", "packaging==26.0", "wheel==1.0")
    assert _changed(before, now) == "have changed: cython 3.1.2 → 3.1.3, packaging none → 26.0"
    many = tuple(f"p{number}==1" for number in range(5))
    assert _changed(many, ()) == "have changed: p0 1 → none, p1 1 → none, p2 1 → none and 2 more"
    assert _changed(None, now) == "were not known"


def test_targets_with_one_reason_are_told_in_one_line() -> None:
    kept = Kept(reasons={"a": "the source has changed", "b": "its wheel was changed", "c": "the source has changed"})
    assert kept.described() == ["built again: a c: the source has changed", "built again: b: its wheel was changed"]
