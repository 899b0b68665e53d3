"""The action as GitHub's runner starts it: `uses: ./` in a workflow, run by act, on a real project from the index."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from containers.act import make_repository, run_workflow

pytestmark = [pytest.mark.docker, pytest.mark.act]

_BUILD = """
on: push
jobs:
  wheels:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: wheels
        uses: ./
        with:
{inputs}
      - name: show what came of it
        env:
          WHEELS: ${{{{ steps.wheels.outputs.wheels }}}}
          MANIFEST: ${{{{ steps.wheels.outputs.manifest }}}}
        run: |
          echo "wheels=$WHEELS"
          echo "manifest=$MANIFEST"
          python3.13 -c 'import json, os; json.load(open(os.environ["MANIFEST"]))'
          ls -ln dist/
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout of this project as a repository of its own."""
    return make_repository(tmp_path / "repository")


def run_act(repository: Path, inputs: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a workflow with these inputs for the action."""
    lines = "\n".join(f"          {name}: {json.dumps(value)}" for name, value in inputs.items())
    return run_workflow(repository, _BUILD.format(inputs=lines))


@pytest.mark.network
def test_builds_six_wheels_of_a_project_from_the_index(repository: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "pyovf",
                    "--dest", repository, "pyovf==0.3.0"], check=True)  # fmt: skip
    ran = run_act(repository, {"package-dir": "pyovf-0.3.0.tar.gz"})
    assert ran.returncode == 0, ran.stdout[-8000:]
    manifest = json.loads((repository / "dist" / "manywheels.json").read_text("utf-8"))
    assert [target["state"] for target in manifest["targets"]] == ["built"] * 6
    names = [target["wheel"]["name"] for target in manifest["targets"]]
    assert [name.split("-")[2] for name in names] == ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314"]
    assert all(name.endswith("_x86_64.whl") and "manylinux_2_28_x86_64" in name for name in names)
    assert f"wheels={json.dumps([f'dist/{name}' for name in names])}" in ran.stdout
    assert "manifest=dist/manywheels.json" in ran.stdout


def test_refuses_an_unknown_input_by_name(repository: Path) -> None:
    ran = run_act(repository, {"package-dir": "examples/spam", "pakage-dir": "x"})
    assert ran.returncode != 0
    assert "no such input: `pakage-dir` (did you mean `package-dir`?)" in ran.stdout
    assert not (repository / "dist").exists()


def test_refuses_a_malformed_value_with_what_is_allowed(repository: Path) -> None:
    ran = run_act(repository, {"package-dir": "examples/spam", "jobs": "many"})
    assert ran.returncode != 0
    assert "input `jobs`: `many` is not a value of `jobs`" in ran.stdout
    assert "`auto`, or a whole number from 1 to 1024" in ran.stdout
