"""A user's repository under act: `manywheels/manywheels@v0` is this checkout, artifacts lie beside the repository."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Final

from conftest import BASE_IMAGE, ROOT
from containers.act import artifact_options, commit, run_act
from index import GitHubPublisher, LocalIndex

EXAMPLES: Final = ROOT / "examples" / "github"
# The runners that examples name; all are the base image here.
RUNNERS: Final = tuple(
    word for name in ("ubuntu-24.04", "ubuntu-24.04-arm") for word in ("-P", f"{name}={BASE_IMAGE}")
)  # fmt: skip


def make_user_repository(folder: Path) -> Path:
    """Make a repository of examples/spam in a folder that has room for the artifacts beside it."""
    shutil.copytree(ROOT / "examples" / "spam", folder, ignore=shutil.ignore_patterns("dist"))
    subprocess.run(["git", "init", "--quiet", "--initial-branch", "main", "."], cwd=folder, check=True)
    return folder


def run_example(project: Path, name: str, action: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Commit an example as the project's workflow, and have act run it; each job has a workspace of its own."""
    return run_committed(project, commit(project, (EXAMPLES / name).read_text("utf-8")), action, *options)


def run_committed(project: Path, path: Path, action: Path, *options: str) -> subprocess.CompletedProcess[str]:
    place = ("--local-repository", f"manywheels/manywheels@v0={action}", *artifact_options(project.parent / "store"))
    return run_act(project, path, *place, *options)


def artifact_files(project: Path, name: str) -> dict[str, str]:
    """Return the sha256 of each file that an artifact of the run holds."""
    (path,) = (project.parent / "store").glob(f"*/{name}/{name}.zip")
    with zipfile.ZipFile(path) as archive:
        return {member: hashlib.sha256(archive.read(member)).hexdigest() for member in archive.namelist()}


def unpack_artifact(project: Path, name: str, folder: Path) -> Path:
    (path,) = (project.parent / "store").glob(f"*/{name}/{name}.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return folder


def store_artifact(project: Path, name: str, folder: Path) -> None:
    """Put the files of a folder into act's artifacts, as another job's."""
    place = project.parent / "store" / "1" / name / f"{name}.zip"
    place.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(place, "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)


def release_options(index: LocalIndex, folder: Path, build: str = "cp312") -> list[str]:
    """Return act's options for a tag's run, whose jobs build only these targets and are trusted by the index."""
    event = folder / "event.json"
    event.write_text(json.dumps({"ref": "refs/tags/v1.0"}), encoding="utf-8")
    index.trust(GitHubPublisher(project="spam", workflow="try.yml", environment="pypi"))
    job = index.github_environment(workflow="try.yml", ref="refs/tags/v1.0", environment="pypi")
    identity = {name: value for name, value in job.items() if name.startswith("ACTIONS_ID_TOKEN_")}
    settings = {"BUILD": build, "REPOSITORY_URL": index.upload_url, "ATTESTATIONS": "false"}
    variables = identity | {f"MANYWHEELS_{name}": value for name, value in settings.items()}
    given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    return ["--eventpath", str(event), *given]
