"""Trust: what the project's own files may ask for in a CI job, and what only the workflow may. Most are attacks."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.build.stages import before_all
from manywheels.build.stages.before_all import Preparation
from manywheels.cli import commands
from manywheels.cli import request as cli_request
from manywheels.core.cancellation import Cancellation
from manywheels.errors import InputError, IsolationError, OutputFolderError
from manywheels.plan import assignments
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.options import Options, resolve
from manywheels.plan.trust import compiler_cache, credentials_in, grants_in, in_ci, may_allow_missing, require_trusted
from manywheels.runtime.environment import build_environment
from unit.helpers import given, project, target, write_project

CI = {"GITHUB_ACTIONS": "true"}
DATA = Path(__file__).parents[2] / "data/cibuildwheel"


def resolved(
    table: str, settings: Mapping[str, Any], variables: Mapping[str, str] | None = None, /, **asked: str
) -> Options:
    """Return the options of a project with a table; `asked` are inputs of the workflow, `_` in names stands for `-`."""
    own, theirs = (settings, None) if table == "manywheels" else ({}, settings)
    inputs = {
        name.replace("_", "-"): given(value, f"input `{name}`", OriginKind.WORKFLOW) for name, value in asked.items()
    }
    return resolve(inputs, replace(project(), settings=own, cibuildwheel=theirs), environment=variables or {})


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


# --- variables that it asks for ---------------------------------------------------------------------------------------

SECRETS = [
    "GITHUB_TOKEN", "GH_TOKEN", "UV_PUBLISH_TOKEN", "UV_PUBLISH_PASSWORD", "TWINE_PASSWORD", "PYPI_TOKEN",
    "CARGO_REGISTRY_TOKEN", "CARGO_REGISTRIES_OURS_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "NPM_AUTH",
    "SIGNING_KEY", "CODECOV", "DATABASE_URL", "SSH_AUTH_SOCK", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_EVENT_PATH",
    "CI_JOB_TOKEN", "CI_REGISTRY_USER", "MANYWHEELS_USER", "CIBW_ENVIRONMENT", "HOME", "github_token", "CMAKE_TOKEN",
    "HF_PAT", "CODESIGN_PASSPHRASE", "MY_API_KEY_VERSION",
]  # fmt: skip
WAYS: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "manywheels": ("manywheels", {"environment-pass": ["FLAVOUR_VERSION", "NAME"]}, {}),
    "manywheels, as text": ("manywheels", {"environment-pass": "'NAME'"}, {}),
    "manywheels, an override": ("manywheels", {"overrides": [{"select": "cp313-*", "environment-pass": "NAME"}]}, {}),
    "manywheels, joined": (
        "manywheels",
        {"overrides": [
            {"select": "cp313-*", "environment-pass": "NAME", "inherit": {"environment-pass": "prepend"}}
        ]},
        {"MANYWHEELS_ENVIRONMENT_PASS": "FLAVOUR"},
    ),
    "cibuildwheel": ("cibuildwheel", {"environment-pass": ["NAME"]}, {}),
    "cibuildwheel, linux": ("cibuildwheel", {"linux": {"environment-pass": "NAME"}}, {}),
    "cibuildwheel, an override": ("cibuildwheel", {"overrides": [{"select": "*", "environment-pass": ["NAME"]}]}, {}),
    "cibuildwheel, joined with a variable": (
        "cibuildwheel", {"environment-pass": ["NAME"]},
        {"CIBW_ENVIRONMENT_PASS": "FLAVOUR", "CIBW_INHERIT": "environment-pass: append"},
    ),
}  # fmt: skip


def with_name(settings: object, name: str) -> Any:
    """Return the settings with a variable's name in the place of NAME."""
    match settings:
        case dict():
            return {key: with_name(value, name) for key, value in settings.items()}
        case list():
            return [with_name(value, name) for value in settings]
    return str(settings).replace("NAME", name)


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("way", WAYS)
def test_in_ci_the_project_cannot_ask_for_secrets(way: str, name: str) -> None:
    table, settings, variables = WAYS[way]
    options = resolved(table, with_name(settings, name), variables)
    for ci in ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD"):
        with pytest.raises(IsolationError) as raised:
            require_trusted(options, {ci: "true", name: "hush", **variables})
        assert raised.value.code == "MW009"
        assert name in raised.value.message
        assert f"tool.{table}" in raised.value.message
        assert "hush" not in f"{raised.value} {raised.value.remedy}"


def test_the_message_says_what_to_do() -> None:
    options = resolved("manywheels", {"environment-pass": ["CFLAGS", "GITHUB_TOKEN", "MINE"]})
    with pytest.raises(IsolationError) as raised:
        require_trusted(options, CI | {"GITHUB_TOKEN": "ghs_1", "CFLAGS": "-O3"})
    assert raised.value.message == (
        "[tool.manywheels] environment-pass: in a CI job, only the workflow can let builds see GITHUB_TOKEN: a pull "
        "request can change the project's own files."
    )
    assert "give `environment-pass: CFLAGS GITHUB_TOKEN MINE` as the workflow's input" in raised.value.remedy


@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "MINE"])
def test_what_is_not_set_reveals_nothing(name: str) -> None:
    options = resolved("manywheels", {"environment-pass": [name]})
    require_trusted(options, CI)
    require_trusted(options, CI | {name: ""})


def test_outside_of_ci_the_projects_files_are_the_callers_own() -> None:
    require_trusted(resolved("manywheels", {"environment-pass": ["GITHUB_TOKEN"]}), {"GITHUB_TOKEN": "ghp_1"})


@pytest.mark.parametrize("name", SECRETS)
def test_the_workflow_may_let_builds_see_anything(name: str) -> None:
    environment = CI | {name: "hush"}
    require_trusted(resolved("manywheels", {"environment-pass": "FLAVOUR"}, environment_pass=name), environment)
    own: dict[str, Any] = {"environment-pass": ["FLAVOUR"]}
    for table, settings, variable in [
        ("manywheels", {"jobs": 2}, "MANYWHEELS_ENVIRONMENT_PASS"),
        ("cibuildwheel", own, "CIBW_ENVIRONMENT_PASS_LINUX"),
    ]:
        require_trusted(resolved(table, settings, {variable: name}), environment)


def test_what_the_workflow_names_stays_its_own_where_it_is_joined_with_the_projects() -> None:
    variables = {"CIBW_ENVIRONMENT_PASS": "MINE", "CIBW_INHERIT": "environment-pass: append"}
    options = resolved("cibuildwheel", {"environment-pass": ["CFLAGS"]}, variables)
    assert options.for_target(target("cp312")).environment_pass == ("CFLAGS", "MINE")
    require_trusted(options, CI | variables | {"MINE": "hush", "CFLAGS": "-O3"})


@pytest.mark.parametrize("name", [
    "CFLAGS", "CC", "CMAKE_ARGS", "CARGO_PROFILE_RELEASE_LTO", "RUSTFLAGS", "SOURCE_DATE_EPOCH", "GITHUB_SHA", "CI",
    "SETUPTOOLS_SCM_PRETEND_VERSION_FOR_DEMO", "CI_COMMIT_TAG", "HTTPS_PROXY", "PIP_INDEX_URL", "BUILD_CONCURRENCY",
    "NJOB", "FAISS_OPT_LEVEL", "VERSION_SUFFIX", "USE_MKL", "OPENBLAS_ROOT", "QPDF_CACHE_DIR", "CUDA_HOME",
])  # fmt: skip
def test_what_builds_use_the_project_can_ask_for(name: str) -> None:
    require_trusted(resolved("cibuildwheel", {"linux": {"environment-pass": [name]}}), CI | {name: "1"})


@pytest.mark.parametrize("file", sorted(path.name for path in DATA.glob("*.toml")))
def test_what_known_projects_ask_for_they_get(file: str) -> None:
    settings = tomllib.loads((DATA / file).read_text("utf-8"))["tool"]["cibuildwheel"]
    options = resolved("cibuildwheel", settings)
    require_trusted(options, CI | dict.fromkeys(options.environment_pass, "1"))


@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "HTTPS_PROXY", "CMAKE_ARGS"])
@pytest.mark.parametrize("value", ["https://me:hush@index.example/simple", "ours=https://hush@index.example/simple"])
def test_credentials_in_an_address_only_the_workflow_can_let_through(name: str, value: str) -> None:
    with pytest.raises(IsolationError) as raised:
        require_trusted(resolved("cibuildwheel", {"environment-pass": [name]}), CI | {name: value})
    assert name in raised.value.message
    assert "hush" not in str(raised.value)
    require_trusted(resolved("cibuildwheel", {}, environment_pass=name), CI | {name: value})


@pytest.mark.parametrize("table", ["manywheels", "cibuildwheel"])
def test_a_reference_reaches_only_what_builds_see_anyway(table: str, tmp_path: Path) -> None:
    leak = {"X": "$GITHUB_TOKEN ${GH_TOKEN}$UV_INDEX_URL", "Y": "$X"}
    made = resolved(table, {"environment": leak, "test-environment": leak, "test-command": "true"})
    recipe = made.for_target(target("cp312"))
    caller = {"GITHUB_TOKEN": "hush", "GH_TOKEN": "hush", "UV_INDEX_URL": "https://hush@x.example/", "PATH": "/bin"}
    seen = build_environment(caller, path=(), private=tmp_path, passed=recipe.environment_pass)
    assert recipe.tests is not None
    seen = assignments.expand((*recipe.environment, *recipe.tests.environment), seen)
    assert (seen["X"], seen["Y"]) == (" ", " ")
    assert "hush" not in str(seen)


def test_a_variable_with_a_nul_character_is_refused() -> None:
    with pytest.raises(InputError, match="NUL"):
        resolved("manywheels", {"environment": {"A": "1\0LD_PRELOAD=/evil.so"}})


# --- who gave a value -------------------------------------------------------------------------------------------------


def test_who_gave_a_value_is_no_question_of_its_text() -> None:
    """What a pull request can change a part of, it can change."""
    variables = {"CIBW_BEFORE_ALL": "[ -f x ]", "CIBW_INHERIT": "before-all: append; environment: prepend"}
    cases: list[tuple[str, dict[str, Any], OriginKind]] = [
        ("before-all", {"before-all": "make evil"}, OriginKind.PROJECT),
        ("before-all", {}, OriginKind.VARIABLE),
        ("environment", {"environment": "A=1"}, OriginKind.PROJECT),
        ("build", {}, OriginKind.DEFAULT),
    ]
    for key, settings, expected in cases:
        options = resolved("cibuildwheel", settings, variables)
        assert options.settings.value(key, target("cp312")).origin.kind is expected
    options = resolved("manywheels", {"jobs": 2, "timeout": "1h"}, {"MANYWHEELS_SILENCE_LIMIT": "1h"}, jobs="3")
    sources = [options.settings.value(name).origin.kind for name in ("jobs", "timeout", "silence-limit", "verbose")]
    assert sources == [OriginKind.WORKFLOW, OriginKind.PROJECT, OriginKind.VARIABLE, OriginKind.DEFAULT]


@pytest.mark.parametrize("name", ["CI", "GITHUB_ACTIONS", "GITLAB_CI", "TF_BUILD", "JENKINS_URL", "TEAMCITY_VERSION"])
def test_where_it_is_a_ci_job(name: str) -> None:
    assert in_ci({name: "true"})
    assert not in_ci({name: ""})


# --- what root runs ---------------------------------------------------------------------------------------------------


def prepared(options: Options, folder: Path, caller: Mapping[str, str]) -> str:
    """Run `before-all` as the program does, in a folder with an `evil/ls`; return what it printed."""
    source, log = folder / "source", folder / "log"
    (source / "evil").mkdir(parents=True)
    (source / "evil/ls").write_text("#!/bin/sh\necho evil was here\n")
    (source / "evil/ls").chmod(0o755)
    (source / "evil/env").write_text("echo evil was here\n")
    request = Preparation(
        options=(options.for_target(target("cp312")),), caller=caller, path=(), python=Path("/python"), environment={},
        folder=folder / "before-all", project=source, package=source, timeout=60, log=log,
    )  # fmt: skip
    before_all.prepare(request, Cancellation())
    return log.read_text("utf-8").partition("\n")[2]


EVIL: dict[str, dict[str, Any]] = {
    "PATH": {"environment": {"PATH": "./evil:$PATH"}},
    "PATH of the project": {"environment": {"PATH": "{project}/evil:$PATH"}},
    "BASH_ENV": {"environment": "BASH_ENV={package}/evil/env"},
    "an override": {"overrides": [{"select": "*", "environment": "PATH=./evil:$PATH BASH_ENV=evil/env"}]},
    "environment-pass": {"environment-pass": "BASH_ENV"},
}


@pytest.mark.parametrize("way", EVIL)
@pytest.mark.parametrize("table", ["manywheels", "cibuildwheel"])
def test_the_projects_variables_do_not_steer_the_workflows_before_all(table: str, way: str, tmp_path: Path) -> None:
    caller = {"PATH": os.environ["PATH"], "BASH_ENV": "evil/env"}
    command = "ls; bash -c :"
    options = resolved(table, EVIL[way], before_all=command)
    assert "evil" not in prepared(options, tmp_path, caller).splitlines()[1:]
    assert "evil was here" not in (tmp_path / "log").read_text("utf-8")
    (note,) = [note for note in options.notes if note.startswith("`before-all` runs without")]
    assert f"tool.{table}" in note


def test_the_workflows_own_variables_are_for_its_before_all(tmp_path: Path) -> None:
    cases: list[tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = [
        ("manywheels", {"environment": "A=project"}, {}, {"environment": "A=workflow"}),
        ("manywheels", {"environment": "A=project"}, {"MANYWHEELS_ENVIRONMENT": "A=workflow"}, {}),
        ("cibuildwheel", {"environment": "A=project"}, {"CIBW_ENVIRONMENT_LINUX": "A=workflow"}, {}),
        ("cibuildwheel", {"environment": "A=project B=project"},
         {"CIBW_ENVIRONMENT": "A=workflow", "CIBW_INHERIT": "environment: append"}, {}),
    ]  # fmt: skip
    for number, (table, settings, variables, asked) in enumerate(cases):
        options = resolved(table, settings, variables, before_all='echo "$A$B"', **asked)
        folder = tmp_path / str(number)
        folder.mkdir()
        assert prepared(options, folder, {"PATH": os.environ["PATH"]}) == "workflow\n"


def test_a_before_all_of_the_project_has_the_projects_variables(tmp_path: Path) -> None:
    options = resolved("cibuildwheel", {"before-all": "ls", "environment": {"PATH": "./evil:$PATH"}})
    assert prepared(options, tmp_path, {"PATH": os.environ["PATH"]}) == "evil was here\n"
    assert not any("before-all" in note for note in options.notes)
    with pytest.raises(IsolationError):
        require_trusted(options, GRANT)


# --- images -----------------------------------------------------------------------------------------------------------

INDEX = {"PIP_EXTRA_INDEX_URL": "https://me:hush@index.example/simple"}


@pytest.mark.parametrize("settings", [{"image": "evil/x"}, {IMAGE_KEY: "evil/x"}])
def test_an_image_of_the_projects_choice_is_told_no_credentials_in_ci(settings: dict[str, Any]) -> None:
    options = resolved("manywheels", settings)
    require_trusted(options, CI)
    require_trusted(options, INDEX)
    with pytest.raises(IsolationError) as raised:
        require_trusted(options, CI | INDEX)
    assert "PIP_EXTRA_INDEX_URL" in raised.value.message
    assert "hush" not in str(raised.value)
    require_trusted(resolved("manywheels", settings, image="ours/x"), CI | INDEX)


# --- places that are written to ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["output-dir", "report", "trace"])
@pytest.mark.parametrize("place", [
    "/etc/ld.so.preload", "../outside", "a/../../outside", ".git/hooks", ".git/config", "link/x", "sub/.git/config",
])  # fmt: skip
def test_in_ci_the_project_writes_only_into_the_checkout(
    option: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "workspace").mkdir()
    monkeypatch.chdir(tmp_path / "workspace")
    Path("link").symlink_to("/etc")
    options = resolved("manywheels", {option: place})
    require_trusted(options, {})
    with pytest.raises(OutputFolderError) as raised:
        require_trusted(options, CI)
    assert raised.value.message.startswith(f"[tool.manywheels] {option}: in a CI job, only the workflow can name")
    require_trusted(resolved("manywheels", {option: place}, **{option: place}), CI)
    require_trusted(resolved("manywheels", {option: "here/dist"}), CI)


def test_later_commands_hold_to_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tmp_path / "outside"
    settings = f'output-dir = "{outside}"\npackages-dir = "{outside}"'
    monkeypatch.chdir(write_project(tmp_path / "demo", settings=settings))
    monkeypatch.setenv("CI", "true")
    for command in ("verify", "publish", "gather"):
        with pytest.raises(OutputFolderError, match="only the workflow"):
            commands.execute(cli_request.Request(command=command), Cancellation())
    assert not outside.exists()


# --- releases without some Pythons ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "variables", "may"),
    [
        (OriginKind.PROJECT, {"CI": "true"}, False),
        (OriginKind.PROJECT, {}, True),
        (OriginKind.WORKFLOW, {"CI": "true"}, True),
        (OriginKind.COMMAND_LINE, {"CI": "true"}, True),
    ],
)
def test_in_ci_the_project_cannot_thin_out_a_release(kind: OriginKind, variables: dict[str, str], *, may: bool) -> None:
    value = Value(value="true", origin=Origin(kind, "somewhere"))
    assert may_allow_missing(value, variables) is may


@pytest.mark.parametrize(
    ("asked", "settings", "variables", "expected"),
    [
        ("", {"compiler-cache": "keep"}, {}, "keep"),
        ("", {"compiler-cache": "keep"}, GRANT, "run"),
        ("", {"compiler-cache": "off"}, GRANT, "off"),
        ("keep", {}, GRANT, "keep"),
        ("", {}, GRANT, "run"),
    ],
)
def test_beside_identity_tokens_only_the_workflow_keeps_objects(
    asked: str, settings: dict[str, str], variables: dict[str, str], expected: str
) -> None:
    values = {"compiler-cache": given(asked, "input `compiler-cache`", OriginKind.WORKFLOW)} if asked else {}
    options = resolve(values, replace(project(), settings=settings), environment=variables)
    assert compiler_cache(options, variables) == expected
