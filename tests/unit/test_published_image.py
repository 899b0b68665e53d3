"""A release's image: which one action.yml takes, and the commit that the major tag is moved to."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

import published_image
from conftest import ROOT
from manywheels.resources import IMAGE_FILES, program_files, resource
from published_image import REPOSITORY, copied_files, pinned

ACTION = (ROOT / "action.yml").read_text("utf-8")
IMAGE = f"{REPOSITORY}@sha256:{'0123456789abcdef' * 4}"
RELEASE: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text("utf-8"))
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_one_line_of_the_action_names_the_image() -> None:
    before, after = ACTION.splitlines(), pinned(ACTION, IMAGE).splitlines()
    assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [
        ("  image: Dockerfile", f"  image: docker://{IMAGE}")
    ]
    assert yaml.safe_load(pinned(ACTION, IMAGE))["runs"] == {"using": "docker", "image": f"docker://{IMAGE}"}


@pytest.mark.parametrize(
    "image",
    [
        "", REPOSITORY, f"{REPOSITORY}:0.1.0", f"{REPOSITORY}@sha256:", f"{REPOSITORY}:0.1.0@sha256:{'0' * 64}",
        f"{IMAGE}0", IMAGE[:-1], IMAGE.upper(), f"{IMAGE}\n", f" {IMAGE}", f"docker://{IMAGE}", f"{IMAGE}\n  args: x",
        IMAGE.replace("sha256", "sha512"), IMAGE.replace("ghcr.io/", ""), IMAGE.replace("ghcr.io", "example.org"),
        IMAGE.replace("ghcr.io", "ghcrxio"), IMAGE.replace("manywheels@", "others@"),
    ],
)  # fmt: skip
def test_any_other_image_is_refused(image: str) -> None:
    with pytest.raises(ValueError, match=r"is not `ghcr\.io/manywheels/manywheels@sha256:` and 64 hexadecimal digits"):
        pinned(ACTION, image)


@pytest.mark.parametrize(
    "action",
    [
        pinned(ACTION, IMAGE),
        ACTION.replace("  image: Dockerfile", "  image: docker://alpine"),
        ACTION.replace("  image: Dockerfile", "  image: 'Dockerfile'"),
        ACTION.replace("  image: Dockerfile", "  image: Dockerfile # this"),
        ACTION + "  image: Dockerfile\n",
        ACTION + "    image: other\n",
        ACTION.replace("  image: Dockerfile\n", ""),
    ],
    ids=["already", "another", "quoted", "remark", "twice", "deeper", "none"],
)
def test_an_action_of_another_form_is_refused(action: str) -> None:
    assert action != ACTION
    with pytest.raises(ValueError, match="must have the one line `  image: Dockerfile`"):
        pinned(action, IMAGE)


def test_every_file_of_the_program_is_compared() -> None:
    copied = copied_files()
    assert set(copied.values()) == set(program_files().values())
    program = "/opt/manywheels/venv/lib/python3.13/site-packages/manywheels"
    assert {"/opt/manywheels/image.txt", "/opt/manywheels/entrypoint.py", f"{program}/cli/main.py"} <= {
        str(place) for place in copied
    }
    for name in IMAGE_FILES:
        assert copied[PurePosixPath(program, "_image", name)] == resource(name)


@pytest.mark.parametrize("arguments", [[], ["check"], ["pin"], ["pin", IMAGE, IMAGE], ["push", IMAGE]])
def test_its_command_line_is_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert published_image.main(arguments) == 2
    assert "pin IMAGE@sha256:" in capsys.readouterr().err


# --- the workflow -----------------------------------------------------------------------------------------------------


def script(job: str) -> str:
    """Return the job's only step that runs a script of its own and names the tag."""
    (found,) = [step["run"] for step in RELEASE["jobs"][job]["steps"] if "TAG%%" in step.get("run", "")]
    return str(found)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A clone at a release's tag, as the job has it; `origin` has an older `v0` and a newer main."""
    work, origin = tmp_path / "work", tmp_path / "origin"
    for name in ("action.yml", "Dockerfile", "requirements/image.txt", "entrypoint.py", ".github/published_image.py"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, work / name)
    (work / "src/manywheels").mkdir(parents=True)
    for name in ("__init__.py", "resources.py"):
        shutil.copyfile(ROOT / "src/manywheels" / name, work / "src/manywheels" / name)
    git(work, "init", "--quiet", "--initial-branch", "main", ".")
    git(work, "add", "--all")
    for message, tag in (("before", "v0"), ("release", "v0.1.0"), ("later", "")):
        git(work, *IDENTITY, "commit", "--quiet", "--allow-empty", "--message", message)
        if tag:
            git(work, *IDENTITY, "tag", tag)
    git(tmp_path, "clone", "--quiet", "--bare", "work", "origin")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", "--branch=v0.1.0", f"file://{origin}", "clone")
    return clone


def move(clone: Path, image: str) -> subprocess.CompletedProcess[str]:
    """Run the job's script as the runner does, without an identity of git's own."""
    return subprocess.run(
        ["bash", "-e", "-c", script("move-major")], cwd=clone, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(clone.parent), "TAG": "v0.1.0", "IMAGE": image},
    )  # fmt: skip


def test_the_major_tag_is_a_commit_upon_the_release_that_names_the_image(released: Path) -> None:
    origin = released.parent / "origin"
    before = {name: git(origin, "rev-parse", name) for name in ("main", "v0.1.0")}
    moved = move(released, IMAGE)
    assert moved.returncode == 0, moved.stderr
    assert {name: git(origin, "rev-parse", name) for name in before} == before
    assert git(origin, "rev-parse", "v0^") == before["v0.1.0"]
    assert git(origin, "rev-parse", "v0") == git(origin, "rev-parse", "v0.1.0-image")
    assert git(origin, "diff", "--name-only", "v0.1.0", "v0") == "action.yml"
    assert git(origin, "show", "v0:action.yml") == pinned(ACTION, IMAGE).strip()
    assert git(origin, "log", "-1", "--format=%an: %s", "v0") == "github-actions[bot]: Use the image of v0.1.0"
    assert git(origin, "for-each-ref", "--format=%(refname)").splitlines() == [
        "refs/heads/main", "refs/tags/v0", "refs/tags/v0.1.0", "refs/tags/v0.1.0-image",
    ]  # fmt: skip


def test_the_major_tag_stays_where_the_image_has_no_digest(released: Path) -> None:
    origin = released.parent / "origin"
    before = git(origin, "rev-parse", "v0")
    assert move(released, f"{REPOSITORY}:0.1.0").returncode == 1
    assert git(origin, "rev-parse", "v0") == before


def test_the_image_of_a_release_stays_what_it_was(released: Path) -> None:
    origin = released.parent / "origin"
    git(origin, "tag", "v0.1.0-image", "main")
    before = git(origin, "for-each-ref")
    assert move(released, IMAGE).returncode == 1
    assert git(origin, "for-each-ref") == before, "neither tag is moved alone"


def test_the_image_is_checked_before_anything_is_published() -> None:
    jobs = RELEASE["jobs"]
    assert jobs["publish"]["needs"] == ["package", "join-images"]
    assert jobs["move-major"]["needs"] == ["publish", "join-images"]
    steps = [step["run"] for step in jobs["join-images"]["steps"] if "run" in step]
    assert "docker logout" in steps[-2]
    assert steps[-1].endswith('published_image.py check "$IMAGE" linux/amd64 linux/arm64')
    writers = {name for name, job in jobs.items() if "packages" in job.get("permissions", {})}
    assert writers == {"image", "join-images"}
