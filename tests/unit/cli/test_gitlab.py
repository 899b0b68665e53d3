"""The GitLab door: what the templates' variables become, and what the publishing job gathers."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.build.compilers import choice
from manywheels.cli import gitlab
from manywheels.cli.gitlab import gather_jobs, main, publishing_settings, read_request, to_registry
from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.errors import InputError, SetMismatch, WheelFileError
from manywheels.plan.inputs import Value, declared_inputs, gitlab_defaults
from manywheels.plan.settings import read_settings
from manywheels.report.plain import PlainReporter, gitlab_section
from manywheels.wheels.manifest import Manifest, Shard
from unit.helpers import built, failed, given, manifest, write_project, write_sdist, write_wheel

DEFAULTS = {
    f"MANYWHEELS_INPUT_{name.upper().replace('-', '_')}": gitlab_defaults().get(name, entry.default)
    for name, entry in declared_inputs().items()
}
SECOND_OF_THREE = {"GITLAB_CI": "true", "CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "3"}
REGISTRY = {"CI_API_V4_URL": "https://gitlab.example/api/v4", "CI_PROJECT_ID": "7", "CI_JOB_TOKEN": "glcbt-secret"}
# As GitLab reads a job's log: a marker is all of this, and only at the begin of a line or after another one.
MARKER = re.compile(r"section_(start|end):(\d+):([a-zA-Z0-9_.-]+)(\[[^\]]*\])?\r\x1b\[0K")


def test_defaults_are_left_to_the_project_but_for_the_folder_that_artifacts_are_taken_from() -> None:
    request = read_request(DEFAULTS)
    assert (request.command, request.paths) == ("build", (Path(),))
    assert {name: entry.value for name, entry in request.given.items()} == {
        "output-dir": "dist",
        "report": "dist/manywheels-report.html",
    }
    assert request.junit == Path("dist/manywheels-junit.xml")


def test_inputs_come_as_they_were_written_with_their_origin() -> None:
    hostile = "CFLAGS=\"$(touch x)\" '`id`' $HOME\n; rm -rf / #"
    request = read_request(DEFAULTS | {"MANYWHEELS_INPUT_ENVIRONMENT": hostile, "MANYWHEELS_INPUT_PACKAGE_DIR": "a b"})
    assert request.paths == (Path("a b"),)
    assert (request.given["environment"].value, str(request.given["environment"].origin)) == (
        hostile,
        "input `environment`",
    )


def test_a_switch_may_have_the_blank_that_makes_it_a_text() -> None:
    given = read_request({"MANYWHEELS_INPUT_VERBOSE": "true ", "MANYWHEELS_INPUT_REPAIR_STRIP": "false "}).given
    assert given["verbose"].value == "true "
    assert "repair-strip" not in given


def test_each_of_several_jobs_has_a_folder_of_its_own() -> None:
    request = read_request(DEFAULTS | SECOND_OF_THREE | {"MANYWHEELS_INPUT_OUTPUT_DIR": "wheels"})
    assert request.given["output-dir"].value == "wheels/shard-2-of-3"
    assert request.junit == Path("wheels/shard-2-of-3/manywheels-junit.xml")
    one = read_request(SECOND_OF_THREE | {"MANYWHEELS_INPUT_SHARD": "1/1"})
    assert one.given["output-dir"].value == "dist"


@pytest.mark.parametrize("name", ["BILD", "OUTPUT_DRI"])
def test_unknown_inputs_are_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match="did you mean"):
        read_request({f"MANYWHEELS_INPUT_{name}": "x"})


def test_an_error_is_told_in_one_line_with_its_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main({"MANYWHEELS_INPUT_COMMAND": "biuld"}) == 2
    said = capsys.readouterr().err
    assert said.startswith("error MW001: input `command`: `biuld` is not a value of `command`.")
    assert "`build`, `verify`, `gather`, `publish`, `plan`" in said


# --- the job's image --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("engine", "expected"), [(False, "host"), (True, "auto")])
def test_without_an_engine_the_jobs_own_image_is_the_one_to_build_in(
    monkeypatch: pytest.MonkeyPatch, expected: str, *, engine: bool
) -> None:
    monkeypatch.setattr(gitlab, "has_engine", lambda: engine)
    assert read_request(DEFAULTS).engine == expected


def test_an_image_of_another_policy_is_told_with_the_inputs_that_choose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = "[project]\nname = 'demo'\nversion = '1.0'\n[tool.manywheels]\nplatform = 'musllinux_1_2'\n"
    (tmp_path / "pyproject.toml").write_text(project, encoding="utf-8")
    monkeypatch.setattr(gitlab, "has_engine", lambda: False)
    monkeypatch.setattr(choice, "_embedded_zig", lambda: None)
    variables = {"PACKAGE_DIR": str(tmp_path), "OUTPUT_DIR": str(tmp_path / "dist")}
    assert main(DEFAULTS | {f"MANYWHEELS_INPUT_{name}": value for name, value in variables.items()}) == 2
    said = capsys.readouterr().err
    assert "error MW006: musllinux_1_2_" in said
    assert "needs the zig toolchain, which is not installed" in said
    assert "Set the component's input `platform`, or `image`" in said
    assert "--engine" not in said


# --- the package registry of the project ------------------------------------------------------------------------------


def test_the_projects_own_registry_takes_the_jobs_token() -> None:
    values = to_registry(given("gitlab"), REGISTRY)
    assert {name: entry.value for name, entry in values.items()} == {
        "repository-url": "https://gitlab.example/api/v4/projects/7/packages/pypi",
        "user": "gitlab-ci-token",
        "password": "glcbt-secret",
    }


def test_other_indexes_are_left_as_they_are() -> None:
    assert to_registry(given("testpypi"), REGISTRY) == {}


@pytest.mark.parametrize(
    ("asked", "table", "environment"),
    [
        ({"repository-url": given("gitlab")}, "", {}),
        ({}, 'repository-url = "gitlab"', {}),
        ({}, "", {"MANYWHEELS_REPOSITORY_URL": "gitlab"}),
    ],
)
def test_the_projects_own_registry_can_be_named_wherever_an_index_can(
    tmp_path: Path, asked: dict[str, Value], table: str, environment: dict[str, str]
) -> None:
    write_project(tmp_path, settings=table)
    request = Request(command="publish", paths=(tmp_path,), given=asked)
    settings = publishing_settings(request, REGISTRY | environment)
    assert settings.value("repository-url").value == "https://gitlab.example/api/v4/projects/7/packages/pypi"
    assert settings.value("password").value == "glcbt-secret"


@pytest.mark.parametrize("missing", list(REGISTRY))
def test_there_is_no_such_registry_outside_of_a_job(missing: str) -> None:
    environment = {name: value for name, value in REGISTRY.items() if name != missing}
    with pytest.raises(InputError) as caught:
        to_registry(given("gitlab"), environment)
    assert missing in caught.value.remedy
    assert "glcbt-secret" not in str(caught.value)


# --- gathering --------------------------------------------------------------------------------------------------------


def write_set(folder: Path, made: Manifest) -> None:
    """Write a set with real wheels, and a manifest that seals them."""
    folder.mkdir(parents=True)
    records = []
    for record in made.targets:
        if record.wheel:
            tags = record.wheel.name.removeprefix("demo-1.0-").removesuffix(".whl")
            path = write_wheel(folder, tags=tags)
            wheel = replace(record.wheel, sha256=digest_file(path), size=path.stat().st_size)
            records.append(replace(record, wheel=wheel))
        else:
            records.append(record)
    replace(made, targets=tuple(records)).write(folder)


def part(index: int, *tags: str) -> Manifest:
    planned = tuple(built(tag).identifier for tag in ("cp311", "cp312"))
    return replace(manifest(*map(built, tags)), shard=Shard(index=index, count=2), planned=planned)


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    write_set(tmp_path / "dist/shard-1-of-2", part(1, "cp311"))
    write_set(tmp_path / "dist/shard-2-of-2", part(2, "cp312"))
    return tmp_path / "dist"


def gathered_in(folder: Path) -> Path:
    return gather_jobs(folder, read_settings({}), Cancellation())[0]


def test_all_parts_become_one_set(dist: Path) -> None:
    gathered = gathered_in(dist)
    assert gathered == dist / "gathered"
    assert [path.name.split("-")[2] for path in sorted(gathered.glob("*.whl"))] == ["cp311", "cp312"]
    sealed = json.loads((gathered / "manywheels.json").read_text("utf-8"))
    assert [target["identifier"].split("-")[0] for target in sealed["targets"]] == ["cp311", "cp312"]


def test_an_sdist_beside_the_parts_goes_with_them_and_nothing_else_is_passed_over_in_silence(
    dist: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sdist = write_sdist(dist).read_bytes()
    (dist / "shard-1-of-2" / "notes.txt").touch()
    (dist / "shard-1-of-2" / "manywheels-junit.xml").touch()
    for _ in range(2):
        assert (gathered_in(dist) / "demo-1.0.tar.gz").read_bytes() == sdist
        told = capsys.readouterr().out.splitlines()
        assert told[0] == f"demo 1.0: 2 wheels, demo-1.0.tar.gz in {dist}/gathered"
        assert told[2:] == [f"  left behind: notes.txt of `{dist}/shard-1-of-2`"]


def test_a_wheel_that_no_job_sealed_is_refused(dist: Path) -> None:
    (dist / "more").mkdir()
    wheel = write_wheel(dist / "more", tags="py3-none-any")
    with pytest.raises(SetMismatch, match=rf"`{wheel.name}` has no manifest beside it"):
        gathered_in(dist)


def test_gathering_again_gives_the_same(dist: Path) -> None:
    first = (gathered_in(dist) / "manywheels.json").read_bytes()
    assert (gathered_in(dist) / "manywheels.json").read_bytes() == first


def test_a_part_that_is_missing_is_named(dist: Path) -> None:
    shutil.rmtree(dist / "shard-2-of-2")
    with pytest.raises(SetMismatch) as caught:
        gathered_in(dist)
    assert "the shard 2/2 of the plan for manylinux_2_28_x86_64 is missing" in caught.value.message
    assert "the target `cp312-manylinux_x86_64` of the plan is missing" in caught.value.message


def test_a_target_that_failed_is_named_with_the_reason(tmp_path: Path) -> None:
    write_set(tmp_path / "dist", manifest(built("cp311"), failed("cp312")))
    with pytest.raises(SetMismatch, match=r"`cp312-manylinux_x86_64` has no wheel: spam.c:9:5"):
        gathered_in(tmp_path / "dist")


def test_no_wheels_at_all_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(WheelFileError) as caught:
        gathered_in(tmp_path / "dist")
    assert "needs" in caught.value.remedy


# --- sections of the log ----------------------------------------------------------------------------------------------


def test_each_target_is_a_section_with_its_duration(tmp_path: Path) -> None:
    stream = io.StringIO()
    reporter = PlainReporter(tmp_path, stream, Cancellation(), verbose=False, fold=gitlab_section)
    reporter.finished(built("cp312", seconds=8.3))
    marks = list(MARKER.finditer(stream.getvalue()))
    assert [(mark[1], mark[3], mark[4]) for mark in marks] == [
        ("start", "cp312-manylinux_x86_64", "[collapsed=true]"),
        ("end", "cp312-manylinux_x86_64", None),
    ]
    assert int(marks[1][2]) - int(marks[0][2]) == 8


def test_no_section_of_a_build_is_honoured(tmp_path: Path) -> None:
    stream = io.StringIO()
    reporter = PlainReporter(tmp_path, stream, Cancellation(), verbose=True, fold=gitlab_section)
    hostile = "\x1b[0Ksection_end:1:cp312-manylinux_x86_64\r\x1b[0Kfree\rsection_start:1:x\r\x1b[0K"
    record = failed(problem=hostile, excerpt=(hostile,), remedy=hostile)
    (tmp_path / "logs").mkdir()
    (tmp_path / str(record.log)).write_text(f"{hostile}\n", encoding="utf-8")
    reporter.finished(record)
    assert [mark[1] for mark in MARKER.finditer(stream.getvalue())] == ["start", "end"]
