"""The action as GitHub's runner starts it: `uses: ./` in a workflow, run by act, on a real project from the index."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from containers.act import make_repository, run_workflow
from containers.pypi_projects import download_sdist, project_named, prove

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("act"), pytest.mark.timeout(2400)]

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
_REFUSED = """
on: push
jobs:
  wheels:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: name
        continue-on-error: true
        uses: ./
        with: {package-dir: examples/spam, pakage-dir: x}
      - id: value
        continue-on-error: true
        uses: ./
        with: {package-dir: examples/spam, jobs: many}
      - env:
          OUTCOMES: ${{ steps.name.outcome }} ${{ steps.value.outcome }}
        run: echo "outcomes=$OUTCOMES"
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout of this project as a repository of its own."""
    return make_repository(tmp_path / "repository")


@pytest.mark.network
def test_builds_six_wheels_of_a_project_from_the_index(repository: Path) -> None:
    project = project_named("pyovf")
    sdist = download_sdist(project, repository)
    ran = run_workflow(repository, _BUILD.format(inputs=f"package-dir: {sdist.name}"))
    assert ran.returncode == 0, ran.stdout[-8000:]
    manifest = json.loads((repository / "dist" / "manywheels.json").read_text("utf-8"))
    assert [target["state"] for target in manifest["targets"]] == ["built"] * 6
    names = [target["wheel"]["name"] for target in manifest["targets"]]
    assert [name.split("-")[2] for name in names] == ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314"]
    assert all(name.endswith("_x86_64.whl") and "manylinux_2_28_x86_64" in name for name in names)
    assert f"wheels={json.dumps([f'dist/{name}' for name in names])}" in ran.stdout
    assert "manifest=dist/manywheels.json" in ran.stdout
    prove(project, manifest, repository / "dist")


@pytest.mark.network
@pytest.mark.slow  # the image for musl is made
def test_builds_for_both_c_libraries_in_one_step(repository: Path) -> None:
    inputs = {"package-dir": "examples/spam", "platform": "manylinux_2_28 musllinux_1_2", "build": "cp313"}
    ran = run_workflow(repository, _BUILD.format(inputs=json.dumps(inputs)))
    assert ran.returncode == 0, ran.stdout[-8000:]
    manifest = json.loads((repository / "dist" / "manywheels.json").read_text("utf-8"))
    names = [target["wheel"]["name"] for target in manifest["targets"]]
    assert ["manylinux_2_28_x86_64" in names[0], "musllinux_1_2_x86_64" in names[1], len(names)] == [True, True, 2]
    assert f"wheels={json.dumps([f'dist/{name}' for name in names])}" in ran.stdout


def test_refuses_unknown_inputs_by_name_and_malformed_values_with_what_is_allowed(repository: Path) -> None:
    ran = run_workflow(repository, _REFUSED)
    assert ran.returncode == 0, ran.stdout[-8000:]
    assert "outcomes=failure failure" in ran.stdout
    assert "no such input: `pakage-dir` (did you mean `package-dir`?)" in ran.stdout
    assert "input `jobs`: `many` is not a value of `jobs`" in ran.stdout
    assert "`auto`, or a whole number from 1 to 1024" in ran.stdout
    assert not (repository / "dist").exists()
