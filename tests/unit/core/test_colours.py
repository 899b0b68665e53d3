"""Whether colours are printed: the variables that users know, the CIs whose logs show colours, and terminals."""

from __future__ import annotations

import io

import pytest

from manywheels.core.colours import painted, plain, wanted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "on_terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": "3"}, True, True),
        ({"FORCE_COLOR": "0"}, False, False),
        ({"FORCE_COLOR": ""}, True, False),
        ({"CLICOLOR": "0"}, False, False),
        ({"CLICOLOR": "1"}, True, False),
        ({"CLICOLOR": "0", "CLICOLOR_FORCE": "1"}, True, True),
        ({"GITHUB_ACTIONS": "true"}, True, True),
        ({"GITLAB_CI": "true"}, True, True),
        ({"GITLAB_CI": "true", "NO_COLOR": "1"}, False, False),
        ({"GITHUB_ACTIONS": "true", "CLICOLOR": "0"}, False, False),
    ],
    ids=str,
)
def test_who_gets_colours(environment: dict[str, str], *, on_terminal: bool, elsewhere: bool) -> None:
    assert wanted(Terminal(), environment) is on_terminal
    assert wanted(io.StringIO(), environment) is elsewhere


def test_a_line_is_painted_as_a_whole() -> None:
    assert painted("✓ cp312", "green") == "\x1b[32m✓ cp312\x1b[0m"
    assert painted("", "green") == ""
    assert painted("as it is", "") == "as it is"
    assert plain("✓ cp312", "green") == "✓ cp312"
