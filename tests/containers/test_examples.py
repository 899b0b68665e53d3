"""The examples for GitHub, each run by act as it stands in the repository, on a project that is not this one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT
from containers.act import artifact_options, commit, make_repository, run_act
from index import GitHubPublisher, LocalIndex

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("act"), pytest.mark.timeout(2400)]

EXAMPLES = ROOT / "examples" / "github"


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as the repository that `manywheels/manywheels@v0` stands for."""
    return make_repository(tmp_path_factory.mktemp("action"))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's repository: examples/spam."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "spam", folder, ignore=shutil.ignore_patterns("dist"))
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", "."], cwd=folder, check=True)
    return folder


def run_example(project: Path, name: str, action: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Commit an example as the project's workflow, and have act run it; each job has a workspace of its own."""
    path = commit(project, (EXAMPLES / name).read_text("utf-8"))
    place = ("--local-repository", f"manywheels/manywheels@v0={action}", *artifact_options(project / "store"))
    return run_act(project, path, *place, *options)


def artifact(project: Path, name: str) -> dict[str, str]:
    """Return the sha256 of each file that an artifact of the run holds."""
    (path,) = (project / "store").glob(f"*/{name}/{name}.zip")
    with zipfile.ZipFile(path) as archive:
        return {member: hashlib.sha256(archive.read(member)).hexdigest() for member in archive.namelist()}


def test_the_smallest(project: Path, action: Path) -> None:
    ran = run_example(project, "smallest.yml", action)
    assert ran.returncode == 0, ran.stdout[-8000:]
    names = artifact(project, "wheels")
    tags = [name.split("-")[2] for name in names if name.endswith(".whl")]
    assert sorted(tags) == ["cp310", "cp311", "cp312", "cp313", "cp314", "cp39"]
    assert {"manywheels.json", "manywheels-report.html"} <= names.keys()


def test_a_matrix_is_gathered(project: Path, action: Path) -> None:
    ran = run_example(project, "matrix.yml", action, "--env", "MANYWHEELS_BUILD=cp312 cp313")
    assert ran.returncode == 0, ran.stdout[-8000:]
    parts = [[name for name in artifact(project, f"wheels-{part}") if name.endswith(".whl")] for part in (1, 2)]
    assert [[name.split("-")[2] for name in part] for part in parts] == [["cp312"], ["cp313"]]


def test_a_tag_is_published(project: Path, action: Path, tmp_path: Path) -> None:
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"ref": "refs/tags/v1.0"}), encoding="utf-8")
    with LocalIndex() as index:
        index.trust(GitHubPublisher(project="spam", workflow="try.yml", environment="pypi"))
        job = index.github_environment(workflow="try.yml", ref="refs/tags/v1.0", environment="pypi")
        identity = {name: value for name, value in job.items() if name.startswith("ACTIONS_ID_TOKEN_")}
        settings = {"BUILD": "cp312", "REPOSITORY_URL": index.upload_url, "ATTESTATIONS": "false"}
        variables = identity | {f"MANYWHEELS_{name}": value for name, value in settings.items()}
        options = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        ran = run_example(project, "publish-on-tag.yml", action, "--eventpath", str(event), *options)
        assert ran.returncode == 0, ran.stdout[-8000:]
        sent = {name: file.sha256 for name, file in index.files().items()}
    assert len(sent) == 1
    built = artifact(project, "wheels")
    assert sent == {name: digest for name, digest in built.items() if name.endswith(".whl")}
    assert not any(identity[name] in ran.stdout + ran.stderr for name in identity if name.endswith("TOKEN"))


def test_nothing_is_published_without_a_tag(project: Path, action: Path) -> None:
    listed = run_example(project, "publish-on-tag.yml", action, "--dryrun")
    assert listed.returncode == 0, listed.stdout
    assert "wheels/build" in listed.stdout
    assert "wheels/publish" not in listed.stdout
