"""The examples for GitHub, each run by act as it stands in the repository, on a project that is not this one."""

from __future__ import annotations

import hashlib
import json
import re
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
from unit.helpers import write_wheel

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
    with LocalIndex() as index:
        options = released(index, tmp_path)
        ran = run_example(project, "publish-on-tag.yml", action, *options)
        assert ran.returncode == 0, ran.stdout[-8000:]
        sent = {name: file.sha256 for name, file in index.files().items()}
    assert len(sent) == 1
    built = artifact(project, "wheels")
    assert sent == {name: digest for name, digest in built.items() if name.endswith(".whl")}
    tokens = [word.partition("=")[2] for word in options if re.match("ACTIONS_ID_TOKEN_.*TOKEN=", word)]
    assert tokens
    assert not any(token in ran.stdout + ran.stderr for token in tokens)


def released(index: LocalIndex, tmp_path: Path) -> list[str]:
    """Return act's options for a tag's run, whose jobs build for one Python and are trusted by the index."""
    event = tmp_path / "event.json"
    event.write_text(json.dumps({"ref": "refs/tags/v1.0"}), encoding="utf-8")
    index.trust(GitHubPublisher(project="spam", workflow="try.yml", environment="pypi"))
    job = index.github_environment(workflow="try.yml", ref="refs/tags/v1.0", environment="pypi")
    identity = {name: value for name, value in job.items() if name.startswith("ACTIONS_ID_TOKEN_")}
    settings = {"BUILD": "cp312", "REPOSITORY_URL": index.upload_url, "ATTESTATIONS": "false"}
    variables = identity | {f"MANYWHEELS_{name}": value for name, value in settings.items()}
    given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return ["--eventpath", str(event), *given]


def test_a_whole_release_is_published(project: Path, action: Path, tmp_path: Path) -> None:
    """There are no runners for ARM, macOS and Windows here: what their jobs would upload is there before."""
    workflow = yaml.safe_load((EXAMPLES / "release.yml").read_text("utf-8"))
    workflow["on"] = workflow.pop(True)  # YAML 1.1 takes `on` for a truth value
    jobs = workflow["jobs"]
    jobs["linux"]["with"]["runners"] = json.dumps([{"arch": "x86_64", "runner": "ubuntu-24.04"}])
    jobs["publish"]["needs"].remove("others")
    del jobs["others"]
    path = commit(project, yaml.safe_dump(workflow, sort_keys=False))
    folder = project.parent / "aarch64"
    argv = [sys.executable, "-m", "manywheels", "build", "--engine=host", f"--output-dir={folder}", "--build=cp312"]
    subprocess.run([*argv, "--archs=x86_64 aarch64", "--shard=aarch64"], cwd=project, check=True, capture_output=True)
    store(project, "wheels-of-aarch64", folder)
    (wheel,) = folder.glob("*.whl")
    for runner, tags in (("macos-15", "cp312-cp312-macosx_11_0_arm64"), ("windows-2025", "cp312-cp312-win_amd64")):
        (tmp_path / runner).mkdir()
        like(wheel, tmp_path / runner, tags)
        store(project, f"cibw-{runner}", tmp_path / runner)
    with LocalIndex() as index:
        runner_images = ("-P", f"ubuntu-24.04={BASE_IMAGE}")
        ran = run_committed(project, path, action, *runner_images, *released(index, tmp_path))
        assert ran.returncode == 0, ran.stdout[-8000:]
        sent = sorted(index.files())
    assert len(sent) == 5
    assert [name for name in sent if name.endswith(".tar.gz")]
    for part in ("manylinux_2_28_x86_64", "aarch64", "macosx_11_0_arm64", "win_amd64"):
        assert [name for name in sent if part in name], part
    gathered = artifact(project, "wheels")
    assert "manywheels.json" in gathered


def like(wheel: Path, folder: Path, tags: str) -> None:
    """Write a wheel for another system, with the metadata of a wheel that is there."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        licences = {one: archive.read(one) for one in archive.namelist() if re.search("/licenses/.+", one)}
    start = "-".join(wheel.name.split("-")[:2])
    suffix = ".cp312-win_amd64.pyd" if "win" in tags else ".cpython-312-darwin.so"
    write_wheel(
        folder,
        tags=tags,
        start=start,
        metadata=metadata,
        licence=None,
        members={f"spam/_core{suffix}": b"", **licences},
    )


def test_nothing_is_published_without_a_tag(project: Path, action: Path) -> None:
    listed = run_example(project, "publish-on-tag.yml", action, "--dryrun")
    assert listed.returncode == 0, listed.stdout
    assert "wheels/build" in listed.stdout
    assert "wheels/publish" not in listed.stdout
