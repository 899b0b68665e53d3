"""`completion`: what a shell offers, asked of a real bash."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from manywheels.cli.main import main

OFFERED = """
source "$1"
shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
$(complete -p manywheels | sed 's/.*-F \\([^ ]*\\).*/\\1/')
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ver"], ["verify"]),
        (["build", "--eng"], ["--engine"]),
        (["build", "--engine", "c"], ["container"]),
        (["explain", "MW28"], ["MW280"]),
        (["clean", "i"], ["images"]),
        (["completion", "f"], ["fish"]),
    ],
)  # fmt: skip
def test_bash_offers(words: list[str], offered: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion"
    script.write_text(capsys.readouterr().out)
    done = subprocess.run(
        ["bash", "-c", OFFERED, "bash", script, "manywheels", *words], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_theirs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "--engine" in script


def test_another_shell_is_refused_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completion", "tcsh"])
    assert "bash" in capsys.readouterr().err
