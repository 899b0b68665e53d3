"""A whole release, rehearsed with act: all that it has is published as one set, and what does not belong is refused.

There are no runners for ARM, macOS and Windows here: what their jobs would upload is there before.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT
from containers.act import commit
from containers.user_repository import (
    EXAMPLES,
    RUNNERS,
    artifact_files,
    make_user_repository,
    release_options,
    run_committed,
    store_artifact,
    unpack_artifact,
)
from index import LocalIndex
from manywheels.wheels.manifest import read_manifest
from publish.servers import PASSWORD, USER, pypiserver
from unit.helpers import write_wheel

pytestmark = [pytest.mark.docker, pytest.mark.act, pytest.mark.xdist_group("act"), pytest.mark.timeout(2400)]

PLATFORMS = "manylinux_2_28 musllinux_1_2"
OTHERS = {"macos-15": "cp312-cp312-macosx_11_0_arm64", "windows-2025": "cp312-cp312-win_amd64"}


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A run that has published: the user's repository, beside it the artifacts; the files sent, with their sha256."""

    project: Path
    sent: Mapping[str, str]

    def copied(self, folder: Path) -> Path:
        """Return a copy of the repository, with the artifacts beside it, whose run a test may spoil."""
        for path in (self.project, self.project.parent / "store"):
            shutil.copytree(path, folder / path.name, symlinks=True)
        return folder / self.project.name


@pytest.fixture(scope="module")
def rehearsal(action: Path, tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    folder = tmp_path_factory.mktemp("rehearsal")
    project = make_user_repository(folder / "project")
    workflow = release_workflow()
    jobs = workflow["jobs"]
    jobs["linux"]["with"] |= {
        "platform": PLATFORMS,
        "runners": json.dumps([{"arch": "x86_64", "runner": "ubuntu-24.04"}]),
    }
    jobs["publish"]["needs"].remove("others")
    del jobs["others"]
    path = commit(project, yaml.safe_dump(workflow, sort_keys=False))
    upload_other_jobs(project, folder)
    with LocalIndex() as index:
        ran = run_committed(project, path, action, *RUNNERS, *release_options(index, folder))
        assert ran.returncode == 0, ran.stdout[-8000:]
        return Rehearsal(project=project, sent={name: file.sha256 for name, file in index.files().items()})


def release_workflow() -> dict[str, Any]:
    workflow = yaml.safe_load((EXAMPLES / "release.yml").read_text("utf-8"))
    workflow["on"] = workflow.pop(True)  # YAML 1.1 takes `on` for a truth value
    found: dict[str, Any] = workflow
    return found


def upload_other_jobs(project: Path, folder: Path) -> None:
    """Store what the jobs on ARM, macOS and Windows would upload."""
    part = folder / "aarch64"
    argv = [sys.executable, "-m", "manywheels", "build", "--engine=host", f"--output-dir={part}", "--build=cp312"]
    options = [f"--platform={PLATFORMS}", "--archs=x86_64 aarch64", "--shard=aarch64"]
    subprocess.run([*argv, *options], cwd=project, check=True, capture_output=True)
    store_artifact(project, "wheels-of-aarch64", part)
    (wheel,) = part.glob("*manylinux*.whl")
    for runner, tags in OTHERS.items():
        store_artifact(project, f"cibw-{runner}", like(wheel, folder / runner, tags).parent)


def like(wheel: Path, folder: Path, tags: str, version: str = "") -> Path:
    """Write a wheel for another system, with the metadata of a wheel that is there, or of another version."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        licences = {one: archive.read(one) for one in archive.namelist() if re.search("/licenses/.+", one)}
    project, built = wheel.name.split("-")[:2]
    version = version or built
    metadata = metadata.replace(f"\nVersion: {built}\n", f"\nVersion: {version}\n")
    licences = {one.replace(f"-{built}.", f"-{version}."): content for one, content in licences.items()}
    suffix = ".cp312-win_amd64.pyd" if "win" in tags else ".cpython-312-darwin.so"
    folder.mkdir()
    return write_wheel(
        folder, tags=tags, start=f"{project}-{version}", metadata=metadata, licence=None,
        members={f"spam/_core{suffix}": b"", **licences},
    )  # fmt: skip


def test_all_of_it_reaches_the_index(rehearsal: Rehearsal) -> None:
    parts = [
        r"manylinux.+_x86_64\.whl", r"manylinux.+_aarch64\.whl", r"musllinux.+_x86_64\.whl",
        r"musllinux.+_aarch64\.whl", r"macosx_11_0_arm64\.whl", r"win_amd64\.whl", r"\.tar\.gz",
    ]  # fmt: skip
    assert len(rehearsal.sent) == len(parts)
    for part in parts:
        assert [name for name in rehearsal.sent if re.search(f"{part}$", name)], part


def test_one_manifest_has_the_linux_wheels_and_the_sdist(rehearsal: Rehearsal, tmp_path: Path) -> None:
    manifest = read_manifest(unpack_artifact(rehearsal.project, "wheels", tmp_path / "wheels"))
    files = {file.name: file.sha256 for file in manifest.files}
    assert len(files) == 5
    assert files.items() <= rehearsal.sent.items()
    assert files.items() <= artifact_files(rehearsal.project, "wheels").items()


def publish(
    rehearsal: Rehearsal, project: Path, action: Path, address: str, folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the example's last job alone, on the artifacts that are there, with a password for the index."""
    digest = read_manifest(unpack_artifact(rehearsal.project, "wheels", folder / "sealed")).digest
    workflow = release_workflow()
    job = workflow["jobs"]["publish"]
    del job["needs"], job["if"]
    job["steps"][0]["with"] |= {
        "artifact-name": "wheels", "manifest-digest": digest, "repository-url": address, "user": USER,
        "password": PASSWORD, "attestations": False,
    }  # fmt: skip
    workflow["jobs"] = {"publish": job}
    return run_committed(project, commit(project, yaml.safe_dump(workflow, sort_keys=False)), action, *RUNNERS)


def test_the_same_set_is_published_to_pypiserver(rehearsal: Rehearsal, action: Path, tmp_path: Path) -> None:
    with pypiserver(tmp_path / "index") as index:
        ran = publish(rehearsal, rehearsal.copied(tmp_path / "run"), action, index.url, tmp_path)
        assert ran.returncode == 0, ran.stdout[-8000:]
        assert sorted(path.name for path in index.folder.iterdir()) == sorted(rehearsal.sent)


def of_another_version(project: Path, folder: Path) -> str:
    wheels = unpack_artifact(project, "wheels", folder / "unpacked")
    changed = like(next(wheels.glob("*.whl")), folder / "other", OTHERS["macos-15"], "0.9.0")
    store_artifact(project, "cibw-macos-15", changed.parent)
    return f"`{changed.name}` is of spam 0.9.0"


def with_a_changed_sdist(project: Path, folder: Path) -> str:
    wheels = unpack_artifact(project, "wheels", folder / "unpacked")
    (sdist,) = wheels.glob("*.tar.gz")
    sdist.write_bytes(sdist.read_bytes() + b"\0")
    store_artifact(project, "wheels", wheels)
    return sdist.name


@pytest.mark.parametrize("spoil", [of_another_version, with_a_changed_sdist])
def test_what_does_not_belong_to_it_is_refused_by_name(
    spoil: Callable[[Path, Path], str], rehearsal: Rehearsal, action: Path, tmp_path: Path
) -> None:
    project = rehearsal.copied(tmp_path / "run")
    told = spoil(project, tmp_path)
    with pypiserver(tmp_path / "index") as index:
        ran = publish(rehearsal, project, action, index.url, tmp_path)
        assert ran.returncode != 0
        assert told in ran.stdout, ran.stdout[-4000:]
        assert list(index.folder.iterdir()) == []


def test_a_missing_part_is_refused_by_the_names_of_its_targets(
    rehearsal: Rehearsal, action: Path, tmp_path: Path
) -> None:
    project = rehearsal.copied(tmp_path)
    for name in ("wheels", "wheels-of-aarch64"):
        shutil.rmtree(tmp_path / "store" / "1" / name)
    reusable = yaml.safe_load((ROOT / ".github/workflows/wheels.yml").read_text("utf-8"))
    defaults = {"artifact-name": "wheels", "allow-missing": "false", "retention-days": "1"}
    steps = json.dumps(reusable["jobs"]["gather"]["steps"])
    steps = re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda found: defaults[found[1]], steps)
    job = {"runs-on": "ubuntu-24.04", "steps": json.loads(steps)}
    path = commit(project, yaml.safe_dump({"on": "push", "jobs": {"gather": job}}))
    ran = run_committed(project, path, action, *RUNNERS)
    assert ran.returncode != 0
    for target in ("cp312-manylinux_aarch64", "cp312-musllinux_aarch64"):
        assert target in ran.stdout
    assert not (tmp_path / "store" / "1" / "wheels" / "wheels.zip").exists()
