"""The schema for editors takes what the program takes, and marks what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from manywheels.cli.main import main
from manywheels.data import table
from manywheels.errors import ManywheelsError
from manywheels.plan import inputs
from manywheels.plan.option_types import FORMATS
from manywheels.plan.options import resolve
from manywheels.plan.schema import schema
from unit.helpers import project

VALIDATOR = Draft202012Validator(schema())
GOOD: list[dict[str, Any]] = [
    {},
    {"build": "cp312-* cp313-*", "skip": ["cp39-*"], "jobs": 4, "timeout": "2h", "verbose": True},
    {"jobs": "auto", "timeout": 90, "silence-limit": 1.5, "retention-days": 5},
    {"environment": {"CFLAGS": "-O3", "N": 1}, "config-settings": {"a": ["b", "c"], "flag": True}},
    {"environment": "A=1 B=2", "config-settings": ["a=b", "c=d"]},
    {"build-frontend": "pip; args: --no-cache-dir"},
    {"build-frontend": {"name": "build[uv]", "args": ["--no-isolation"]}, "build-verbosity": -1},
    {"dependency-versions": {"packages": ["cython==3.1"]}},
    {"test-command": ["pytest {project}/tests", "mypy"], "test-extras": ["test"], "test-skip": "cp314-*"},
    {"manylinux-x86_64-image": "manylinux2014", "musllinux-aarch64-image": "example.org/m:1"},
    {"verify": {"strict": True, "ignore": ["MW253", {"code": "MW254", "files": "a/*", "reason": "why"}]}},
    {"overrides": [{"select": "cp312-*", "before-build": "make", "inherit": {"before-build": "append"}}]},
    {"overrides": [{"select": ["cp312-*", "cp313-*"], "environment": {"A": "1"}, "inherit": "environment"}]},
]
BAD: list[dict[str, Any]] = [
    {"biuld": "cp312-*"},
    {"build": {"a": "b"}},
    {"build": ["cp312-*", 1]},
    {"jobs": 0},
    {"jobs": "many"},
    {"timeout": "soon"},
    {"verbose": "maybe"},
    {"build-verbosity": "loud"},
    {"build-frontend": "poetry"},
    {"build-frontend": {"name": "pip", "options": []}},
    {"dependency-versions": {"packages": ["a"], "file": "b"}},
    {"environment": {"A-B": "c"}},
    {"publish": "everywhere"},
    {"password": "secret"},
    {"manylinux-vax-image": "manylinux2014"},
    {"overrides": {"select": "cp312-*"}},
    {"overrides": [{"before-build": "make"}]},
    {"overrides": [{"select": "cp312-*", "jobs": 3}]},
    {"overrides": [{"select": "cp312-*", "before-build": "a", "inherit": {"before-build": "after"}}]},
]


def resolved(settings: dict[str, Any]) -> None:
    """Let the program read the settings, those of delivery and verification too."""
    from manywheels.plan.delivery_options import resolve_delivery
    from manywheels.plan.settings import read_settings
    from manywheels.verify.rules import verification_rules

    resolve({}, replace(project(), settings=settings), environment={})
    resolve_delivery(read_settings({}, settings, {}))
    verification_rules(settings)


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize("settings", GOOD, ids=str)
def test_what_the_program_takes_is_right(settings: dict[str, Any]) -> None:
    resolved(settings)
    assert [error.message for error in VALIDATOR.iter_errors(settings)] == []


@pytest.mark.parametrize("settings", BAD, ids=str)
def test_what_the_program_refuses_is_wrong(settings: dict[str, Any]) -> None:
    with pytest.raises(ManywheelsError):
        resolved(settings)
    assert not VALIDATOR.is_valid(settings)


def test_every_option_has_its_facts() -> None:
    facts = table("options")
    assert set(facts) == set(inputs.declared_inputs())
    assert {entry["type"] for entry in facts.values()} <= set(FORMATS)
    assert all(entry["example"] for entry in facts.values())


@pytest.mark.parametrize("name", [name for name in table("options") if name not in inputs.hidden()])
def test_every_example_and_default_is_right(name: str) -> None:
    known = schema()["properties"][name]
    assert known["description"]
    assert VALIDATOR.is_valid({name: table("options")[name]["example"]})
    assert not known["default"] or VALIDATOR.is_valid({name: known["default"]})


def test_the_command_line_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == schema()
