"""From job to job, as act runs workflows: build, artifact, a job that takes it; also with somebody in between."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import ROOT
from containers.act import artifact_options, make_repository, run_workflow
from publish.servers import PASSWORD, USER, pypiserver

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("act"), pytest.mark.timeout(2400)]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout of this project as a repository of its own; the artifacts' store lies in it, for jobs to reach."""
    return make_repository(tmp_path / "repository")


def run(repository: Path, workflow: str) -> subprocess.CompletedProcess[str]:
    """Run a workflow with an artifact server."""
    return run_workflow(repository, workflow, *artifact_options(repository / "store"))


def values(told: str, name: str) -> list[str]:
    """Return what steps printed as `name=value`, in order."""
    return re.findall(rf"\| {name}=(.*)$", told, re.MULTILINE)


_MATRIX_TO_INDEX = """
on: push
jobs:
  build:
    strategy:
      max-parallel: 1
      matrix:
        python: [cp312, cp313]
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: wheels
        uses: ./
        with:
          package-dir: examples/spam
          build: ${{ matrix.python }}
          artifact-name: wheels-${{ matrix.python }}
          retention-days: 1
      - env:
          OUTPUTS: ${{ toJSON(steps.wheels.outputs) }}
        run: |
          python3.13 -c 'import json, os; print("built=" + json.dumps(json.loads(os.environ["OUTPUTS"])))'
          rm -r dist
  publish:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - id: release
        uses: ./
        with:
          command: publish
          artifact-pattern: wheels-*
          repository-url: INDEX
          user: USER
          password: PASSWORD
          attestations: "false"
      - env:
          OUTPUTS: ${{ toJSON(steps.release.outputs) }}
        run: |
          python3.13 -c 'import json, os; print("taken=" + json.dumps(json.loads(os.environ["OUTPUTS"])))'
"""


def test_two_jobs_build_and_a_third_publishes_what_they_made(repository: Path, tmp_path: Path) -> None:
    with pypiserver(tmp_path / "index") as index:
        replaced = {"INDEX": index.url, "USER": USER, "PASSWORD": f'"{PASSWORD}"'}
        workflow = re.sub(r"\b(INDEX|USER|PASSWORD)$", lambda found: replaced[found[0]], _MATRIX_TO_INDEX, flags=re.M)
        ran = run(repository, workflow)
        assert ran.returncode == 0, ran.stdout[-8000:]
        published = sorted(path.name for path in index.folder.iterdir())
    first, second = (json.loads(text) for text in values(ran.stdout, "built"))
    (taken,) = (json.loads(text) for text in values(ran.stdout, "taken"))
    wheels = [Path(wheel).name for each in (first, second) for wheel in json.loads(each["wheels"])]
    assert [re.findall("-(cp[0-9]+)-", wheel)[0] for wheel in wheels] == ["cp312", "cp313"]
    assert published == sorted(wheels)
    assert [Path(wheel).name for wheel in json.loads(taken["wheels"])] == wheels
    for each in (first, second):
        assert re.fullmatch(r"[0-9a-f]{64}", each["artifact-digest"])
        assert each["artifact-url"].endswith(f"/artifacts/{each['artifact-id']}")
        assert re.fullmatch(r"1 wheel in [0-9.]+ s", each["summary"])
    assert ran.stdout.count("Summary - ## ✅") >= 2
    assert PASSWORD not in ran.stdout.replace(workflow, "")


_REFUSED = ("swapped", "removed", "added", "slip", "absent", "resealed")


def _refused(name: str) -> str:
    """Return the step that takes an artifact and must fail."""
    more = ', manifest-digest: "${{ needs.build.outputs.digest }}"' if name == "resealed" else ""
    return f"""
      - id: {name}
        continue-on-error: true
        uses: ./
        with: {{command: verify, artifact-name: {name}, output-dir: out-{name}{more}}}
"""


_TAMPERED = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    outputs:
      digest: ${{ steps.wheels.outputs.manifest-digest }}
    steps:
      - uses: actions/checkout@v4
      - id: wheels
        uses: ./
        with:
          package-dir: examples/spam
          build: cp312
      - run: rm -r dist
  verify:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - run: python3.13 tamper.py
      - id: honest
        uses: ./
        with: {command: verify, output-dir: out-honest, manifest-digest: "${{ needs.build.outputs.digest }}"}
      # and those that must fail
      - env:
          STEPS: ${{ toJSON(steps) }}
        run: |
          python3.13 -c 'import json, os; print("steps=" + json.dumps(json.loads(os.environ["STEPS"])))'
""".replace("      # and those that must fail\n", "".join(map(_refused, _REFUSED)))

# Somebody between the jobs, who can write into the store.
_TAMPER = """
import hashlib, json, zipfile
from pathlib import Path

run = next(Path("store").iterdir())
with zipfile.ZipFile(run / "wheels" / "wheels.zip") as archive:
    honest = {name: archive.read(name) for name in archive.namelist()}
wheel = next(name for name in honest if name.endswith(".whl"))
swapped = {**honest, wheel: honest[wheel] + b"evil"}
manifest = json.loads(honest["manywheels.json"])
manifest["targets"][0]["wheel"]["sha256"] = hashlib.sha256(swapped[wheel]).hexdigest()
for name, members in {
    "swapped": swapped,
    "removed": {name: content for name, content in honest.items() if name != wheel},
    "added": {**honest, wheel.replace("cp312", "cp314"): honest[wheel]},
    "slip": {**honest, "../../slipped.whl": b"evil"},
    "resealed": {**swapped, "manywheels.json": json.dumps(manifest, indent=2).encode() + b"\\n"},
}.items():
    (run / name).mkdir()
    with zipfile.ZipFile(run / name / f"{name}.zip", "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
"""


def test_what_somebody_changed_between_the_jobs_is_refused(repository: Path) -> None:
    (repository / "tamper.py").write_text(_TAMPER)
    ran = run(repository, _TAMPERED)
    assert ran.returncode == 0, ran.stdout[-8000:]
    (text,) = values(ran.stdout, "steps")
    outcomes = {name: step["outcome"] for name, step in json.loads(text).items() if not name.isdigit()}
    assert outcomes.pop("honest") == "success"
    assert outcomes == dict.fromkeys(_REFUSED, "failure")
    for told in (
        "has the sha256",
        "of the manifest is missing",
        "is not in the manifest",
        "`../../slipped.whl` is not a plain file name",
        "which is none of `manifest-digest`",
        "This run does not have an artifact `absent`; it has `added`",
    ):
        assert told in ran.stdout
    assert [path.parent.name for path in repository.glob("out-*/*.whl")] == ["out-honest"]
    assert list(repository.rglob("slipped.whl")) == []


_FAILING = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - id: wheels
        continue-on-error: true
        uses: ./
        with:
          package-dir: fails_on_311
          build: cp311 cp312
      - env:
          OUTPUTS: ${{ toJSON(steps.wheels.outputs) }}
          OUTCOME: ${{ steps.wheels.outcome }}
        run: |
          echo "outcome=$OUTCOME"
          python3.13 -c 'import json, os; print("built=" + json.dumps(json.loads(os.environ["OUTPUTS"])))'
          rm -r dist
      - id: again
        continue-on-error: true
        uses: ./
        with:
          package-dir: examples/spam
          build: cp312
          overwrite: "true"
      - id: taken
        uses: ./
        with: {command: verify, output-dir: taken}
"""


def test_good_wheels_are_kept_though_a_target_failed_and_replaced_when_told(repository: Path) -> None:
    shutil.copytree(ROOT / "tests" / "projects" / "fails_on_311", repository / "fails_on_311")
    ran = run(repository, _FAILING)
    assert ran.returncode == 0, ran.stdout[-8000:]
    assert values(ran.stdout, "outcome") == ["failure"]
    (built,) = (json.loads(text) for text in values(ran.stdout, "built"))
    assert built["artifact-id"]
    assert [re.findall("-(cp[0-9]+)-", wheel)[0] for wheel in json.loads(built["wheels"])] == ["cp312"]
    assert ", 1 failed" in built["summary"]
    # act's server knows no taken names; that `overwrite` deletes first is shown in the unit tests.
    assert [path.name.partition("-")[0] for path in (repository / "taken").glob("*.whl")] == ["spam"]
