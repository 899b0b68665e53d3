"""The command line's words: groups of the help, short options, and errors that name the nearest right word."""

from __future__ import annotations

import argparse

import pytest

from manywheels.cli.commands import TITLES
from manywheels.cli.main import main
from manywheels.cli.parser import Parser, make_parser
from manywheels.data import table
from manywheels.plan import inputs

_MOST = 10  # options in a group


@pytest.mark.parametrize("command", TITLES)
def test_no_group_of_a_help_has_more_than_ten_options(command: str) -> None:
    for group in make_parser().commands[command]._action_groups:
        shown = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        assert len(shown) <= _MOST, (command, group.title)


def test_every_input_of_a_command_is_in_one_group() -> None:
    grouped = [name for group in table("inputs")["group"] for name in group["options"]]
    assert len(grouped) == len(set(grouped))
    offered = {entry.name for command in table("inputs")["commands"] for entry in inputs.inputs_of(command)}
    assert offered <= set(grouped)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bild"], "there is no command `bild` (did you mean `build`?)"),
        (["frobnicate"], "there is no command `frobnicate`\n"),
        (["build", "--buidl", "cp312"], "there is no option `--buidl` (did you mean `--build`?)"),
        (["build", "--test-comand=pytest"], "there is no option `--test-comand` (did you mean `--test-command`?)"),
        (["build", "--xyzzy"], "there is no option `--xyzzy`\n"),
        (["build", "--test-com", "pytest"], "there is no option `--test-com`"),  # no abbreviations
        (["build", "--fresh=true"], "`--fresh` takes no value"),
        (["build", "a", "b"], "`b` is one argument too many"),
        (
            ["clean", "otput"],
            "argument output|cache|volumes|images: `otput` (did you mean `output`?) is none of output",
        ),
        (["build", "--engine", "hots"], "`--engine` cannot be `hots` (did you mean `host`?): auto, host, container"),
        (["version"], "there is no command `version` (here, it is `--version`)"),
        (["build", "-j", "4"], "there is no option `-j` (here, it is `--jobs`)"),
        (["publish", "--password", "x"], "a password is no option; it comes from the variable MANYWHEELS_PASSWORD"),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest_right_one(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert f"error MW001: {said}" in err
    assert "--help" in err


def test_without_a_word_there_is_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "usage: manywheels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("short", "long"), [(["-o", "wheels"], ["--output-dir", "wheels"]), (["-v"], ["--verbose"]), (["-q"], ["--quiet"])]
)
def test_short_options(short: list[str], long: list[str]) -> None:
    parser = make_parser()
    assert parser.parse(["build", *short]) == parser.parse(["build", *long])


@pytest.mark.parametrize("word", ["-V", "--version"])
def test_the_version(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("manywheels ")


def test_switches_say_that_they_take_no_value() -> None:
    for action in make_parser().commands["build"]._actions:
        if action.dest.replace("_", "-") in inputs.flags() and action.dest != "command":
            assert action.help == argparse.SUPPRESS or "takes no value" in str(action.help), action.dest


def test_groups_come_in_the_order_of_the_table() -> None:
    order = [group["title"] for group in table("inputs")["group"]]
    build: Parser = make_parser().commands["build"]
    titles = [group.title for group in build._action_groups if group.title in order]
    assert titles == [title for title in order if title in titles]
