"""What a real build says to people and CIs: a log that commands nothing, and no report where none can be written."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from unit.ci_logs import github_commands, gitlab_sections
from unit.report.test_commands import TRAPS

if TYPE_CHECKING:
    from host.conftest import Program


def test_a_place_that_cannot_be_written_is_said_before_building(program: Program) -> None:
    (program.folder / "file").touch()
    finished = program.build("pure", "--report", program.folder / "file" / "report.html")
    assert finished.status == 2
    assert "error MW005" in finished.stderr
    assert "building" not in finished.stdout


@pytest.mark.parametrize(
    ("ci", "commands", "sections"),
    [("GITHUB_ACTIONS", ["group", "endgroup", "error"], []), ("GITLAB_CI", [], ["start", "end"])],
)
def test_no_build_speaks_to_the_ci(program: Program, ci: str, commands: list[str], sections: list[str]) -> None:
    """All traps at once, on both streams, out of a build that then fails; the log is printed whole."""
    program.require("cp312")
    source = program.copy("fails_backend")
    lines = [trap for trap in TRAPS if not any("\ud800" <= letter <= "\udfff" for letter in trap)]
    (source / "backend.py").write_text(
        textwrap.dedent(f"""\
            import sys
            for stream in (sys.stdout.buffer, sys.stderr.buffer):
                for line in {lines!r}:
                    stream.write(line.encode() + b"\\n" + line.encode() + b"\\xff\\r")
                stream.flush()
            sys.exit("::error::" + {lines[0]!r})
        """),
        encoding="utf-8",
    )
    command = ["build", source, "--build", "cp312", "--output-dir", program.folder / "dist", "--verbose"]
    done = subprocess.run(
        [sys.executable, "-m", "manywheels", *map(str, command)],
        env={**program.environment, ci: "true"}, stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert output.count("stop-commands") >= 4
    assert all(word in output for line in lines for word in line.split() if word.isascii() and word.isalnum())
    assert [command.name for command in github_commands(output)] == commands
    assert [mark for mark, _ in gitlab_sections(output)] == sections
