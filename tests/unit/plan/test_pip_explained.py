"""What the plan says that uv will be told."""

from __future__ import annotations

from collections.abc import Mapping

from manywheels.plan.installer_files import Caller
from manywheels.plan.options import resolve
from manywheels.plan.pip_explained import Explanation, Told, explain_pip
from unit.helpers import given, project, target

A, SECRET = "https://a.example/simple", "https://user:hunter2@a.example/simple"


def explained(caller_sets: Mapping[str, str], origins: Mapping[str, str] | None = None, **options: str) -> Explanation:
    resolved = resolve({name.replace("_", "-"): given(value) for name, value in options.items()}, project())
    caller = Caller(environment=dict(caller_sets), origins=origins or {}, notes=("a note on pip.conf",))
    return explain_pip(resolved, [target("cp312"), target("cp313")], caller)


def test_each_variable_has_its_value_its_origin_and_uv_s_names() -> None:
    found = explained(
        {"PIP_INDEX_URL": A, "PIP_EXTRA_INDEX_URL": A, "PIP_PRE": "0"}, {"PIP_INDEX_URL": "/etc/pip.conf"},
        environment="PIP_CONSTRAINT={project}/pins.txt",
    )  # fmt: skip
    assert found.told == (
        Told(pip="PIP_INDEX_URL", value=A, origin="/etc/pip.conf", uv=("UV_DEFAULT_INDEX",)),
        Told(
            pip="PIP_EXTRA_INDEX_URL", value=A, origin="the caller's environment", uv=("UV_INDEX", "UV_INDEX_STRATEGY")
        ),
        Told(
            pip="PIP_CONSTRAINT", value="{project}/pins.txt", origin=str(given("").origin),
            uv=("UV_BUILD_CONSTRAINT", "UV_CONSTRAINT"),
        ),
    )  # fmt: skip
    assert found.notes == ("a note on pip.conf",)


def test_no_credentials_are_shown() -> None:
    withheld = explained({"PIP_INDEX_URL": SECRET})
    assert withheld.told == ()
    assert "PIP_INDEX_URL holds credentials" in withheld.notes[1]
    passed = explained({"PIP_INDEX_URL": SECRET}, environment_pass="PIP_INDEX_URL")
    assert [one.value for one in passed.told] == ["(with credentials)"]
    assert len(passed.notes) == 1
    assert "hunter2" not in f"{withheld}{passed}"


def test_pips_own_rule_for_build_requirements_is_named_where_pip_builds() -> None:
    def notes(environment: str, build_frontend: str) -> tuple[str, ...]:
        return explained({}, environment=environment, build_frontend=build_frontend).notes[1:]

    (note,) = notes(environment="PIP_CONSTRAINT=c.txt", build_frontend="pip")
    assert "set PIP_BUILD_CONSTRAINT" in note
    assert notes(environment="PIP_CONSTRAINT=c.txt", build_frontend="build") == ()
    assert notes(environment="PIP_CONSTRAINT=c.txt PIP_BUILD_CONSTRAINT=c.txt", build_frontend="pip") == ()
    assert notes(environment="X=1", build_frontend="pip") == ()


def test_notes_are_given_once_for_all_targets() -> None:
    found = explained({}, environment="PIP_CONFIG_FILE=pip.conf PIP_INDEX_URL=https://a.example UV_INDEX_URL=x")
    assert [note.split(",")[0].split(":")[0] for note in found.notes[1:]] == [
        "uv does not follow PIP_CONFIG_FILE", "uv does not follow PIP_INDEX_URL",
    ]  # fmt: skip
