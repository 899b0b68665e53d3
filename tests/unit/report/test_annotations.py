"""Annotations at the project's lines, and masks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manywheels.core.github_commands import Annotation, command, known_secrets, masks
from manywheels.report.annotations import annotate
from manywheels.report.findings import render
from manywheels.verify.model import Finding, Problem, Severity
from manywheels.verify.run import Verdict
from manywheels.wheels.manifest import TargetRecord
from scale import scaled
from unit.ci_logs import Command, github_commands, parse
from unit.helpers import built, failed, manifest

TOKEN = "tok-abc"


def failed_at(file: str | None, line: int | None, *, tag: str = "cp312", problem: str = "broken") -> TargetRecord:
    record = failed(tag, problem=problem)
    assert record.failure
    return replace(record, failure=replace(record.failure, file=file, line=line))


def test_unprintable_characters_do_not_prevent_annotations() -> None:
    hostile = "\udc80 is\r no\u2028 character"
    shown = str(Annotation(kind="error", title=hostile, message=f"{hostile}\nremedy", file=hostile, line=1))
    shown.encode()
    assert [(found.name, found.data) for found in github_commands(shown)] == [("error", "  is  no  character\nremedy")]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A repository with a project in a subfolder, and a file outside of the project."""
    (tmp_path / "python/src").mkdir(parents=True)
    (tmp_path / "python/src/spam, eggs: 100%.c").touch()
    (tmp_path / "python/src/spam.c").touch()
    (tmp_path / "secret.c").touch()
    return tmp_path / "python"


def commands_for(package: Path, *records: TargetRecord) -> list[Command]:
    lines = list(annotate(manifest(*records), package, package.parent))
    commands = github_commands("\n".join(lines))
    assert len(commands) == len(lines)
    return commands


def test_a_failure_is_marked_at_its_line(package: Path) -> None:
    (only,) = commands_for(package, failed_at("src/spam.c", 9))
    assert only == Command(
        name="error",
        properties={"file": "python/src/spam.c", "line": "9", "title": "cp312: failed in build (MW101)"},
        data="broken\nMend it.",
    )


def test_file_names_are_passed_unchanged(package: Path) -> None:
    (only,) = commands_for(package, failed_at("src/spam, eggs: 100%.c", 1))
    assert only.properties["file"] == "python/src/spam, eggs: 100%.c"


def test_mesons_paths_are_found(package: Path) -> None:
    (only,) = commands_for(package, failed_at("../src/spam.c", 9))
    assert only.properties["file"] == "python/src/spam.c"


@pytest.mark.parametrize(
    ("file", "line"),
    [("src/absent.c", 1), ("src/../../secret.c", 1), ("/etc/passwd", 1), ("src", 1), ("src/spam.c", 0), (None, None),
     ("src/spam.c", None), ("a\0b", 1), ("", 1)],
)  # fmt: skip
def test_files_outside_of_the_project_are_not_named(package: Path, file: str | None, line: int | None) -> None:
    (only,) = commands_for(package, failed_at(file, line))
    assert set(only.properties) == {"title"}
    assert only.data.startswith("broken")


def test_a_link_that_leads_out_is_not_followed(package: Path) -> None:
    (package / "src/link.c").symlink_to(package.parent / "secret.c")
    (only,) = commands_for(package, failed_at("src/link.c", 1))
    assert "file" not in only.properties


def test_the_same_failure_is_marked_once(package: Path) -> None:
    (only,) = commands_for(package, *(failed_at("src/spam.c", 9, tag=tag) for tag in ("cp311", "cp312")))
    assert only.properties["title"] == "cp311 cp312: failed in build (MW101)"


def test_warnings_are_marked_with_their_targets(package: Path) -> None:
    (only,) = commands_for(package, built("cp311", warnings=("MW1 odd",)), built("cp312", warnings=("MW1 odd",)))
    assert (only.name, only.properties["title"], only.data) == ("warning", "cp311 cp312", "MW1 odd")


def test_at_most_as_many_as_github_shows_those_with_a_line_first(package: Path) -> None:
    records = [replace(failed_at(None, None, problem=f"no {n}"), identifier=f"cp3{n}-x") for n in range(12)]
    records.append(failed_at("src/spam.c", 9))
    warned = built("cp313", warnings=tuple(f"w{number}" for number in range(14)))
    commands = commands_for(package, *records, warned)
    errors = [one for one in commands if one.name == "error"]
    assert len(errors) == len([one for one in commands if one.name == "warning"]) == 10
    assert errors[0].properties["file"] == "python/src/spam.c"
    assert errors[-1].properties["title"] == "4 more"
    assert commands[-1].properties["title"] == "5 more"


@settings(max_examples=scaled(100, least=20), deadline=None)
@given(st.text(), st.text())
def test_any_command_data_is_passed_unchanged(data: str, value: str) -> None:
    # .NET trims the properties, and Python's and its lines end at the same characters only after escaping.
    (found,) = github_commands(command("error", data, {"title": f"x{value}x"}))
    assert found == Command(name="error", properties={"title": f"x{value}x"}, data=data)


def test_findings_are_at_most_as_many_as_github_shows() -> None:
    findings = tuple(
        Finding(
            code="MW250", severity=severity, wheel="a,b: c.whl",
            problem=Problem(message=f"is {n}\n::error::x", remedy="Do."),
        )
        for n in range(11)
        for severity in (Severity.WARNING, Severity.ERROR)
    )  # fmt: skip
    commands = github_commands(render(Verdict(reports=(), set_findings=findings), "github"))
    assert [one.name for one in commands] == ["error"] * 10 + ["warning"] * 10
    assert commands[0].properties["title"] == "MW250 a,b: c.whl"
    assert commands[0].data == "is 0\n::error::x. Do."


# --- masks ------------------------------------------------------------------------------------------------------------


def masked(values: list[str]) -> list[str]:
    commands = [parse(line) for line in masks(values)]
    assert all(found and found.name == "add-mask" for found in commands)
    return [found.data for found in commands if found]


def test_every_line_of_a_secret_is_masked() -> None:
    several = "first\nsecond\r\n\n  third"
    assert masked(["one", f"{several}  \n"]) == ["one", several, "first", "second", "third"]


def test_a_secret_with_the_runners_own_escapes_is_masked_as_it_is() -> None:
    assert masked(["50%0Aoff", "a%25b"]) == ["50%0Aoff", "a%25b"]


def test_empty_values_are_not_masked() -> None:
    assert masks(["", " \n\t", "x", "x"]) == ["::add-mask::x"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("INPUT_PASSWORD", TOKEN, [TOKEN]),
        ("MANYWHEELS_PASSWORD", TOKEN, [TOKEN]),
        ("PYPI_TOKEN", TOKEN, [TOKEN]),
        ("TWINE_PASSWORD", TOKEN, [TOKEN]),
        ("ACTIONS_RUNTIME_TOKEN", TOKEN, [TOKEN]),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", TOKEN, [TOKEN]),
        ("SIGSTORE_ID_TOKEN", TOKEN, [TOKEN]),
        ("PIP_INDEX_URL", "https://me:p%40ss@127.0.0.1/simple/", ["p%40ss", "p@ss"]),
        ("PIP_EXTRA_INDEX_URL", "https://a:one@127.0.0.1/ https://b:two@127.0.0.1/", ["one", "two"]),
        ("INPUT_REPOSITORY-URL", "https://me@127.0.0.1/", []),
        ("INPUT_USER", "__token__", []),
        ("GITHUB_REPOSITORY", "a/b", []),
        ("PASSWORD", "", []),
    ],
)
def test_secrets_of_an_environment(name: str, value: str, expected: list[str]) -> None:
    assert known_secrets({name: value, "PATH": "/usr/bin"}) == expected
