"""How each input's text becomes a value, and what is said of one that cannot."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.errors import InputError
from manywheels.plan import inputs
from manywheels.plan.inputs import OriginKind, Value
from manywheels.plan.settings import read_build_settings, read_settings
from manywheels.runtime import sandbox, untrusted_files
from unit.helpers import given, project

Parser = Callable[[Value, str], Any]


@pytest.mark.parametrize(
    ("parser", "text", "expected"),
    [
        (inputs.parse_flag, "true", True),
        (inputs.parse_flag, "True", True),
        (inputs.parse_flag, " yes\n", True),
        (inputs.parse_flag, "on", True),
        (inputs.parse_flag, "1", True),
        (inputs.parse_flag, "false", False),
        (inputs.parse_flag, "OFF", False),
        (inputs.parse_flag, "0", False),
        (inputs.parse_flag, "", False),
        (inputs.parse_jobs, "auto", None),
        (inputs.parse_jobs, "1", 1),
        (inputs.parse_jobs, "1024", 1024),
        (inputs.parse_duration, "90s", 90.0),
        (inputs.parse_duration, "60m", 3600.0),
        (inputs.parse_duration, "2h", 7200.0),
        (inputs.parse_duration, "1.5h", 5400.0),
        (inputs.parse_duration, "45", 45.0),
        (inputs.parse_duration, " 60m\n", 3600.0),
        (inputs.parse_words, "", ()),
        (inputs.parse_words, "A 'b c' \"d e\"", ("A", "b c", "d e")),
        (inputs.parse_settings, "", ()),
        (inputs.parse_settings, "cmake.args=-DX=1 y='a b'", ("cmake.args=-DX=1", "y=a b")),
        (inputs.parse_path, "dist", "dist"),
        (inputs.parse_path, "a b/ü", "a b/ü"),
    ],
)
def test_values(parser: Parser, text: str, expected: object) -> None:
    assert parser(given(text), "some-input") == expected


@pytest.mark.parametrize(
    ("parser", "text", "remedy"),
    [
        (inputs.parse_flag, "ja", "`true`, `false`"),
        (inputs.parse_jobs, "0", "1 to 1024"),
        (inputs.parse_jobs, "-1", "1 to 1024"),
        (inputs.parse_jobs, "1025", "1 to 1024"),
        (inputs.parse_jobs, "2.5", "1 to 1024"),
        (inputs.parse_jobs, "many", "`auto`"),
        (inputs.parse_jobs, "", "`auto`"),
        (inputs.parse_jobs, "²", "`auto`"),
        (inputs.parse_duration, "0", "`90s`"),
        (inputs.parse_duration, "-5m", "`90s`"),
        (inputs.parse_duration, "5 minutes", "`90s`"),
        (inputs.parse_duration, "", "`90s`"),
        (inputs.parse_duration, "inf", "`90s`"),
        (inputs.parse_duration, "9" * 400, "`90s`"),
        (inputs.parse_words, "'open", "balanced quotes"),
        (inputs.parse_settings, "=x", "`=x` is not one"),
        (inputs.parse_settings, "-Cx=y", "`-Cx=y` is not one"),
        (inputs.parse_settings, "key", "`key` is not one"),  # uv takes KEY=VALUE only
        (inputs.parse_path, "", "not empty"),
        (inputs.parse_path, "a\nb", "control characters"),
        (inputs.parse_path, "a\0b", "control characters"),
    ],
)
def test_refused_values_say_where_they_came_from_and_what_is_allowed(parser: Parser, text: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        parser(given(text, "INPUT_SOME"), "some-input")
    assert caught.value.message == f"INPUT_SOME: `{text}` is not a value of `some-input`."
    assert remedy in caught.value.remedy


def test_a_choice() -> None:
    assert inputs.parse_choice(given("plan"), "command", inputs.COMMANDS) == "plan"
    with pytest.raises(InputError) as caught:
        inputs.parse_choice(given("deploy", "input `command`"), "command", inputs.COMMANDS)
    assert caught.value.message == "input `command`: `deploy` is not a value of `command`."
    assert caught.value.remedy == "Allowed: `build`, `verify`, `gather`, `publish`, `plan`."


@pytest.mark.parametrize("text", ["24h", "600h", "5000h"])
def test_every_duration_that_is_taken_can_be_waited_for(text: str, tmp_path: Path) -> None:
    """poll(2) counts milliseconds in 32 bits: 597 hours are too many for one call."""
    try:
        seconds = inputs.parse_duration(given(text), "timeout")
    except InputError:
        return

    cancellation = Cancellation()
    cancellation.request()
    command = sandbox.Command(argv=(), folder=tmp_path, environment={}, log=tmp_path / "log", timeout=seconds)
    with untrusted_files.open_log(command.log) as log:
        assert sandbox._wait(os.getpid(), cancellation, command, log.fileno()) is sandbox._End.CANCELLED


@pytest.mark.parametrize(
    ("variable", "name"),
    [("MANYWHEELS_JOBS", "jobs"), ("MANYWHEELS_BUILD_FRONTEND", "build-frontend"), ("MANYWHEELS_SKIP", "skip")],
)
def test_variables_give_inputs(variable: str, name: str) -> None:
    found = inputs.from_environment({variable: "3", "PATH": "/bin"})
    assert found == {name: given("3", variable, OriginKind.VARIABLE)}
    assert inputs.from_environment({variable: " "}) == {}


def test_settings_come_before_variables_and_what_is_given_before_both() -> None:
    environment = {"MANYWHEELS_JOBS": "1", "MANYWHEELS_TIMEOUT": "1h", "MANYWHEELS_SKIP": "cp39-*"}
    asked, table = {"jobs": given("3", "--jobs")}, {"jobs": 2, "timeout": "2h"}
    of_build = read_build_settings(asked, project(**table), environment)
    for settings in (read_settings(asked, table, environment), of_build):
        assert settings.value("jobs") == given("3", "--jobs")
        assert settings.value("timeout") == given("2h", "[tool.manywheels] timeout", OriginKind.PROJECT)
        assert settings.value("skip") == given("cp39-*", "MANYWHEELS_SKIP", OriginKind.VARIABLE)
        assert settings.value("platform").is_default


def test_a_command_on_finished_wheels_reads_only_what_is_not_for_builds() -> None:
    """A later job can publish although the overrides are wrong, and a build alone says which variables are not read."""
    table = {"overrides": "wrong", "verify": {"strict": True}, "confirm": "5m"}
    settings = read_settings({}, table, {"CIBW_BUILD": "cp312-*", "MANYWHEELS_SKPI": "cp39-*"})
    assert settings.value("confirm") == given("5m", "[tool.manywheels] confirm", OriginKind.PROJECT)
    assert settings.value("build").is_default
    assert settings.notes == ()
    assert settings.project_table == table
    with pytest.raises(InputError, match="overrides"):
        read_build_settings({}, replace(project(), settings=table), {})


def test_settings_do_not_show_the_password() -> None:
    settings = read_settings({}, {}, {"MANYWHEELS_PASSWORD": "hush"})
    assert settings.value("password").value == "hush"
    assert "hush" not in repr(settings)


def test_variables_that_are_nearly_inputs_are_told_of() -> None:
    others = dict.fromkeys(("MANYWHEELS_CACHE", "MANYWHEELS_REQUIRE", "MANYWHEELS_BUILD_IDENTIFIER"), "x")
    assert list(inputs.misspelt_variables({**others, "MANYWHEELS_JOBS": "3", "MANYWHEELS_TIMEUOT": "3"})) == [
        "The variable MANYWHEELS_TIMEUOT is not read; did you mean MANYWHEELS_TIMEOUT?"
    ]


@pytest.mark.parametrize("name", ["password", "command", "package-dir"])
def test_what_does_not_belong_into_a_project_is_refused_there(name: str) -> None:
    with pytest.raises(InputError, match=rf"\[tool.manywheels\]: `{name}` cannot be set there"):
        inputs.from_settings({name: "x"})


@pytest.mark.parametrize(
    ("names", "described", "remedy"),
    [
        (["bild"], "`bild` (did you mean `build`?)", "package-dir"),
        (["output_dir"], "`output_dir` (did you mean `output-dir`?)", "output-dir"),
        (["zzz"], "`zzz`.", "verbose"),
        (["skpi", "build", "jops"], "`jops` (did you mean `jobs`?), `skpi` (did you mean `skip`?)", "timeout"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(names: list[str], described: str, remedy: str) -> None:
    with pytest.raises(InputError) as caught:
        inputs.require_known(names, "with:")
    assert caught.value.message.startswith("with:")
    assert described in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("build", "cp312-*", "cp312-*"),
        ("build", ["cp312-*", "cp313-*"], "cp312-* cp313-*"),
        ("jobs", 4, "4"),
        ("timeout", 90, "90"),
        ("timeout", 1.5, "1.5"),
        ("verbose", True, "true"),
        ("verbose", False, "false"),
    ],
)
def test_settings_of_the_project(name: str, value: object, expected: str) -> None:
    assert inputs.from_settings({name: value}) == {
        name: given(expected, f"[tool.manywheels] {name}", OriginKind.PROJECT)
    }


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"cmake.args": "-DA=1 -DB=2"}, ("cmake.args=-DA=1 -DB=2",)),
        ({"a": "it's", "b": 'say "x"'}, ("a=it's", 'b=say "x"')),
        ({"n": 3}, ("n=3",)),
        ({"two words": "x"}, ("two words=x",)),
    ],
)
def test_tables_of_config_settings(table: dict[str, object], expected: tuple[str, ...]) -> None:
    entry = inputs.from_settings({"config-settings": table})["config-settings"]
    assert inputs.parse_settings(entry, "config-settings") == expected


@pytest.mark.parametrize("value", [["a", 1], {"a": ["b"]}, {"a": {"b": "c"}}, {}, None])
def test_settings_of_other_kinds_are_refused(value: object) -> None:
    with pytest.raises(InputError) as caught:
        inputs.from_settings({"build": value})
    assert "[tool.manywheels] build" in caught.value.message
    assert "list of strings" in caught.value.remedy


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"\[tool.manywheels\].*`tiemout` \(did you mean `timeout`\?\)"):
        inputs.from_settings({"tiemout": "5m"})
