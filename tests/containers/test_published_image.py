"""A release's image, as release.yml publishes it: checked, named in action.yml, and then started instead of built."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import BASE_IMAGE, ROOT
from containers.registry import registry
from containers.user_repository import artifact_files, make_user_repository, run_example
from manywheels.plan import architectures
from manywheels.runtime.containers.image import pull_if_missing
from published_image import pinned
from runner.images import ARCH

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.timeout(2400)]

PROGRAM = "/opt/manywheels/venv/lib/python3.13/site-packages/manywheels"
# What is done to the action's image, and what is said of it.
CHANGES = {
    "changed": (f"echo 'import spam' >>{PROGRAM}/cli/main.py", f"{PROGRAM}/cli/main.py: not as in this checkout"),
    "removed": (f"rm {PROGRAM}/_image/action.yml", f"{PROGRAM}/_image/action.yml: not in the image"),
    "added": (f"echo >{PROGRAM}/core/re.py", f"{PROGRAM}/core/re.py: not in this checkout"),
    "linked": ("cd /opt/manywheels && mv entrypoint.py other.py && ln -s other.py entrypoint.py",
               "/opt/manywheels/entrypoint.py: not as in this checkout"),
    "linked beside": (f"ln -s /tmp {PROGRAM}/email", f"{PROGRAM}/email: not in this checkout"),
}  # fmt: skip


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Check an image as release.yml does."""
    return subprocess.run(
        [sys.executable, ".github/published_image.py", "check", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_of_other_files_is_refused(client: DockerClient, program_image: str, change: str) -> None:
    command, told = CHANGES[change]
    name = f"manywheels-test-changed:{uuid.uuid4().hex}"
    client.images.build(fileobj=io.BytesIO(f"FROM {program_image}\nRUN {command}\n".encode()), tag=name, rm=True)
    try:
        checked = check(name)
    finally:
        client.images.remove(name)
    assert checked.returncode == 1
    assert checked.stderr == f"{name}: {told}\n"


@pytest.mark.parametrize("image", [BASE_IMAGE, "127.0.0.1:1/manywheels/manywheels"], ids=["another", "none"])
def test_an_image_without_the_program_is_refused(image: str) -> None:
    checked = check(image)
    assert checked.returncode == 1
    assert "Traceback" not in checked.stderr
    assert image in checked.stderr or "/opt/manywheels" in checked.stderr


@pytest.mark.act
@pytest.mark.registry
@pytest.mark.xdist_group("act")
@pytest.mark.slow  # the whole image is packed and pushed: three minutes
def test_an_action_that_names_its_image_starts_without_a_build(
    client: DockerClient, program_image: str, action: Path, tmp_path: Path
) -> None:
    platform = architectures.image_platform(ARCH)
    with registry(client, tmp_path) as served:
        digest = served.push(program_image, f"v0.1.0-{ARCH}")
        image = f"{served.repository}@{served.join({platform.partition('/')[2]: digest}, 'v0.1.0')}"
        assert digest not in image

        named = f"{served.repository}:as-in-policies.toml"
        pull_if_missing(client, named, digest=digest)
        assert client.images.get(named).id == client.images.get(program_image).id

        checked = check(image, platform)
        assert (checked.returncode, checked.stdout) == (
            0, f"{image} ({platform}): its files are those of this checkout\n",
        )  # fmt: skip
        assert check(image, platform, "linux/s390x").returncode == 1, "the index has none for it"

        file = action / "action.yml"
        file.write_text(pinned(file.read_text("utf-8"), image, served.repository), encoding="utf-8")
        (action / "Dockerfile").write_text("FROM scratch\nRUN nothing can be built of this\n")
        served.forget()
        project = make_user_repository(tmp_path / "project")
        ran = run_example(project, "smallest.yml", action, "--env", "MANYWHEELS_BUILD=cp312")
        assert ran.returncode == 0, ran.stdout[-8000:]
        wheels = [name for name in artifact_files(project, "wheels") if name.endswith(".whl")]
        assert [name.split("-")[2] for name in wheels] == ["cp312"]
        assert f"docker run image={image}" in ran.stdout
        assert "docker build" not in ran.stdout
        assert served.names() == [image], "pulled by its digest"
    assert served.names() == []
