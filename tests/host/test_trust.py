"""A hostile project in a CI job: it is refused, or gets nothing, and nothing of the job's secrets is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host.cases import InProcess

if TYPE_CHECKING:
    from host.conftest import Finished, Program

JOB = {
    "GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_TOKEN": "canary-1", "GH_TOKEN": "canary-2",
    "UV_PUBLISH_TOKEN": "canary-3", "PIP_EXTRA_INDEX_URL": "https://me:canary-4@index.invalid/simple",
}  # fmt: skip
LOOKS = "env; echo $GITHUB_TOKEN; cat /proc/self/environ"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """The program in this process."""
    return InProcess(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def hostile(program: Program, table: str, settings: str) -> Path:
    """Return a project that has `settings` in one of its own tables."""
    project = program.copy("env_probe")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(f"\n[{table}]\n{settings}\n")
    return project


def everything(finished: Finished) -> str:
    """Return all that was printed or written."""
    files = [file.read_bytes() for file in finished.output.rglob("*") if file.is_file()]
    return finished.text + b"\n".join(files).decode("utf-8", "replace")


@pytest.mark.parametrize("table", ["tool.manywheels", "tool.cibuildwheel", "tool.cibuildwheel.linux"])
@pytest.mark.parametrize("name", ["GITHUB_TOKEN", "UV_PUBLISH_TOKEN", "PIP_EXTRA_INDEX_URL"])
def test_a_project_that_names_a_secret_is_refused_before_it_runs(
    program: Program, here: InProcess, table: str, name: str
) -> None:
    asks = f'environment-pass = ["{name}"]\nbefore-all = "{LOOKS}"\nbefore-build = "{LOOKS}"'
    finished = here.build(hostile(program, table, asks), caller=JOB)

    assert finished.status == 2
    assert "MW009" in finished.stderr
    assert name in finished.stderr
    assert "Traceback" not in finished.stderr
    assert "canary" not in everything(finished)
    assert not (finished.output / "logs").exists(), "something has run"


@pytest.mark.parametrize("table", ["tool.manywheels", "tool.cibuildwheel"])
@pytest.mark.slow
def test_no_command_and_no_reference_shows_a_secret(program: Program, table: str) -> None:
    leak = '{ LEAK = "$GITHUB_TOKEN ${GH_TOKEN} $PIP_EXTRA_INDEX_URL", UV_PUBLISH_TOKEN = "$UV_PUBLISH_TOKEN" }'
    hooks = ("before-all", "before-build", "before-test", "test-command")
    settings = [f"environment = {leak}", f"test-environment = {leak}", *(f'{hook} = "{LOOKS}"' for hook in hooks)]
    settings += ['config-settings = { leak = "$GITHUB_TOKEN" }', f'audit-command = "{LOOKS} {{wheel}}"']
    settings += ['audit-requires = ""']  # else cibuildwheel's, which the tests do not have
    project = hostile(program, table, "\n".join(settings))
    finished = program.build(project, "--platform", "manylinux_2_28", caller=JOB)

    assert finished.status == 0, finished.text
    assert json.loads((finished.output / "manywheels.json").read_text("utf-8"))["targets"]
    assert "LEAK=" in everything(finished)
    assert "canary" not in everything(finished)
