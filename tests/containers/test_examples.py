"""The examples for GitHub, each run by act as it stands in the repository, on a project that is not this one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from conftest import BASE_IMAGE, ROOT
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
    return run_committed(project, commit(project, (EXAMPLES / name).read_text("utf-8")), action, *options)


def run_committed(project: Path, path: Path, action: Path, *options: str) -> subprocess.CompletedProcess[str]:
    place = ("--local-repository", f"manywheels/manywheels@v0={action}", *artifact_options(project.parent / "store"))
    return run_act(project, path, *place, *options)


def artifact(project: Path, name: str) -> dict[str, str]:
    """Return the sha256 of each file that an artifact of the run holds."""
    (path,) = (project.parent / "store").glob(f"*/{name}/{name}.zip")
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


def test_two_architectures_are_gathered(project: Path, action: Path) -> None:
    """The runner for aarch64 is not here: its part comes from a cross build, as that job's inputs ask for it."""
    path = commit(project, (EXAMPLES / "architectures.yml").read_text("utf-8"))
    given = yaml.safe_load(path.read_text("utf-8"))["jobs"]["build"]["steps"][-1]["with"]
    arch = {name: str(value).replace("${{ matrix.arch }}", "aarch64") for name, value in given.items()}
    folder = project.parent / "aarch64"
    argv = [sys.executable, "-m", "manywheels", "build", "--engine=host", f"--output-dir={folder}", "--build=cp312"]
    options = [f"--archs={arch['archs']}", f"--shard={arch['shard']}"]
    subprocess.run([*argv, *options], cwd=project, check=True, capture_output=True)
    store(project, arch["artifact-name"], folder)
    runners = [word for name in ("ubuntu-24.04", "ubuntu-24.04-arm") for word in ("-P", f"{name}={BASE_IMAGE}")]
    ran = run_committed(
        project, path, action, "--matrix", "arch:x86_64", *runners, "--env", "MANYWHEELS_BUILD=cp312"
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8000:]
    wheels = [name for part in ("x86_64", "aarch64") for name in artifact(project, f"wheels-{part}") if ".whl" in name]
    assert ["aarch64" in name for name in wheels] == [False, True]
    assert all(name in ran.stdout.partition("[wheels/gather]")[2] for name in wheels)


def store(project: Path, name: str, folder: Path) -> None:
    """Put the files of a folder into act's artifacts, as another job's."""
    place = project.parent / "store" / "1" / name / f"{name}.zip"
    place.parent.mkdir(parents=True)
    with zipfile.ZipFile(place, "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)


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
