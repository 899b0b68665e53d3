"""The examples for GitHub, each run by act as it stands in the repository, on a project that is not this one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from containers.act import commit
from containers.user_repository import (
    EXAMPLES,
    RUNNERS,
    artifact_files,
    make_user_repository,
    release_options,
    run_committed,
    run_example,
    store_artifact,
)
from index import LocalIndex

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("act"), pytest.mark.timeout(2400)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_user_repository(tmp_path / "project")


def test_the_smallest(project: Path, action: Path) -> None:
    ran = run_example(project, "smallest.yml", action)
    assert ran.returncode == 0, ran.stdout[-8000:]
    names = artifact_files(project, "wheels")
    tags = [name.split("-")[2] for name in names if name.endswith(".whl")]
    assert sorted(tags) == ["cp310", "cp311", "cp312", "cp313", "cp314", "cp39"]
    assert {"manywheels.json", "manywheels-report.html"} <= names.keys()


def test_a_matrix_is_gathered(project: Path, action: Path) -> None:
    ran = run_example(project, "matrix.yml", action, "--env", "MANYWHEELS_BUILD=cp312 cp313")
    assert ran.returncode == 0, ran.stdout[-8000:]
    parts = [[name for name in artifact_files(project, f"wheels-{part}") if name.endswith(".whl")] for part in (1, 2)]
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
    store_artifact(project, arch["artifact-name"], folder)
    ran = run_committed(
        project, path, action, "--matrix", "arch:x86_64", *RUNNERS, "--env", "MANYWHEELS_BUILD=cp312"
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-8000:]
    wheels = [
        name for part in ("x86_64", "aarch64") for name in artifact_files(project, f"wheels-{part}") if ".whl" in name
    ]
    assert ["aarch64" in name for name in wheels] == [False, True]
    assert all(name in ran.stdout.partition("[wheels/gather]")[2] for name in wheels)


def test_a_tag_is_published(project: Path, action: Path, tmp_path: Path) -> None:
    with LocalIndex() as index:
        options = release_options(index, tmp_path)
        ran = run_example(project, "publish-on-tag.yml", action, *options)
        assert ran.returncode == 0, ran.stdout[-8000:]
        sent = {name: file.sha256 for name, file in index.files().items()}
    assert len(sent) == 1
    built = artifact_files(project, "wheels")
    assert sent == {name: digest for name, digest in built.items() if name.endswith(".whl")}
    tokens = [word.partition("=")[2] for word in options if re.match("ACTIONS_ID_TOKEN_.*TOKEN=", word)]
    assert tokens
    assert not any(token in ran.stdout + ran.stderr for token in tokens)


def test_nothing_is_published_without_a_tag(project: Path, action: Path) -> None:
    listed = run_example(project, "publish-on-tag.yml", action, "--dryrun")
    assert listed.returncode == 0, listed.stdout
    assert "wheels/build" in listed.stdout
    assert "wheels/publish" not in listed.stdout
