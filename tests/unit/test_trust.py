"""Trust: what the project's own files may ask for in a CI job, and what only the workflow may. Each test is an attack."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from manywheels.errors import IsolationError
from manywheels.options import resolve
from manywheels.trust import credentials_in, grants_in, require_trusted
from unit.helpers import given, project


@pytest.mark.parametrize(
    "name", ["ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "PYPI_ID_TOKEN", "SIGSTORE_ID_TOKEN"]
)
def test_grants(name: str) -> None:
    assert grants_in({name: "value", "ACTIONS_RUNTIME_TOKEN": "value"}) == [name]
    assert grants_in({name: ""}) == []


GRANT = {"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "eyJ"}
IMAGE_KEY = f"manylinux-{os.uname().machine}-image"
OVERRIDE = {"overrides": [{"select": "cp313-*", "before-all": "make it"}]}


@pytest.mark.parametrize(
    ("table", "settings", "name"),
    [
        *(
            (table, settings, name)
            for table in ("manywheels", "cibuildwheel")
            for settings, name in (
                ({"before-all": "make it"}, "before-all"), (OVERRIDE, "before-all"), ({IMAGE_KEY: "evil/x"}, "image"),
            )
        ),
        ("manywheels", {"image": "evil/x"}, "image"),
        ("manywheels", {"test-in": "evil/x"}, "test-in"),
    ],
)  # fmt: skip
def test_beside_a_grant_the_project_cannot_reach_beyond_isolation(
    table: str, settings: dict[str, object], name: str
) -> None:
    own, theirs = (settings, None) if table == "manywheels" else ({}, settings)
    options = resolve({}, replace(project(), settings=own, cibuildwheel=theirs), environment={})
    require_trusted(options, {})
    with pytest.raises(IsolationError) as raised:
        require_trusted(options, GRANT)
    assert raised.value.code == "MW009"
    assert f"[tool.{table}" in raised.value.message
    assert f"`{name}`" in raised.value.message
    assert f"`{name}` as the workflow's input" in raised.value.remedy


def test_the_workflow_may_ask_for_all_of_it() -> None:
    asked = {name: given("evil/x", f"input `{name}`") for name in ("before-all", "image", "test-in")}
    settings: dict[str, object] = {"before-all": "make it", "image": "mine", IMAGE_KEY: "mine", "test-in": "mine"}
    require_trusted(resolve(asked, replace(project(), settings=settings), environment={}), GRANT)
    variables = {"MANYWHEELS_BEFORE_ALL": "make it", "MANYWHEELS_TEST_IN": "x"}
    require_trusted(resolve({}, project(jobs=2), environment=variables), GRANT)


def test_a_policys_name_is_no_image() -> None:
    require_trusted(resolve({}, replace(project(), cibuildwheel={IMAGE_KEY: "manylinux2014"}), environment={}), GRANT)


@pytest.mark.parametrize(
    "name",
    ["ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "INPUT_PASSWORD", "PYPI_ID_TOKEN", "CI_JOB_TOKEN",
     "CI_REPOSITORY_URL", "MANYWHEELS_PASSWORD", "TWINE_PASSWORD"],
)  # fmt: skip
def test_the_project_cannot_ask_for_what_authorises_the_job(name: str) -> None:
    environment = {name: "secret", "FLAVOUR": "sweet"}
    for passed in (f"FLAVOUR {name}", f"FLAVOUR '{name}'"):
        options = resolve({}, project(environment_pass=passed), environment={})
        with pytest.raises(IsolationError) as raised:
            require_trusted(options, environment)
        assert f"[tool.manywheels] environment-pass: {name} authorises the job" in raised.value.message
        assert "secret" not in str(raised.value)
        require_trusted(options, {"FLAVOUR": "sweet"})  # on a machine of one's own there is nothing to pass
    asked = {"environment-pass": given(name, "input `environment-pass`")}
    require_trusted(resolve(asked, project(), environment={}), environment)  # it is withheld when it is isolated
    assert credentials_in(environment, environment) == [name]
