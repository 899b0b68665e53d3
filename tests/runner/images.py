"""Images of a test's own: made from the project's files and one that nobody else has, and removed afterwards."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conftest import ROOT
from manywheels import resources

if TYPE_CHECKING:
    from docker import DockerClient

VOLUME: Final = "manywheels-cache"


def copied_program(folder: Path, *, besides: Iterable[str] = ()) -> Path:
    """Copy the program, with what its image is made of, and a file that makes that image nobody else's."""
    ignored = shutil.ignore_patterns("__pycache__", "_image")
    shutil.copytree(resources.PACKAGE, folder / "src/manywheels", ignore=ignored)
    for name in (*resources.IMAGE_FILES, *besides):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    (folder / f"src/manywheels/data/{uuid.uuid4().hex}.toml").touch()
    return folder


@contextlib.contextmanager
def removed_afterwards(client: DockerClient, images: Iterable[str]) -> Iterator[None]:
    """Remove images at the end, and the volume that `--engine container` keeps its caches in if it was not there."""
    import docker

    had_volume = any(volume.name == VOLUME for volume in client.volumes.list())
    try:
        yield
    finally:
        for image in images:
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.images.remove(image, force=True)
        if not had_volume:
            with contextlib.suppress(docker.errors.APIError):  # another run may use it by now
                client.volumes.get(VOLUME).remove()


@contextlib.contextmanager
def built_image(folder: Path) -> Iterator[str]:
    """Build the action's image as the runner does (the action's folder as context, no arguments); return its name."""
    name = f"manywheels-test:{uuid.uuid4().hex}"
    context = copied_program(folder)
    done = subprocess.run(
        ["docker", "build", "--quiet", "--tag", name, context], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    try:
        yield name
    finally:
        subprocess.run(["docker", "image", "rm", "--force", name], capture_output=True, check=False, timeout=60)
