"""The action's image, one for all tests of a run: made as the program makes it, under the name that the program knows.

Workers of pytest-xdist share it, and so does every `--engine container` of a test. act builds the same files, so the
engine takes each layer from its cache. What was not there before is removed when the last worker has finished.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from conftest import ROOT
from manywheels import resources
from manywheels.plan.container_variables import forwarded
from manywheels.plan.policies import policy_named
from manywheels.runtime.containers.image import ensure_image, image_context, image_tag

if TYPE_CHECKING:
    from docker import DockerClient

ARCH: Final = os.uname().machine
POLICIES: Final = ("manylinux2014", "manylinux_2_28", "manylinux_2_34")
_VOLUME: Final = "manywheels-cache"  # where `--engine container` keeps its caches


def copied_program(folder: Path, *, besides: Iterable[str] = ()) -> Path:
    """Copy the program, with what its image is made of, for a test that changes it."""
    ignored = shutil.ignore_patterns("__pycache__", "_image")
    shutil.copytree(resources.PACKAGE, folder / "src/manywheels", ignore=ignored)
    for name in (*resources.IMAGE_FILES, *besides):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def image_of(client: DockerClient, policy: str, base: str = "", arch: str = ARCH) -> str:
    """Return what this checkout names its image for a policy, upon the policy's own base or another one.

    Empty if the base is not here.
    """
    from docker.errors import NotFound

    try:
        found = client.images.get(base or policy_named(policy).image_name(arch))
    except NotFound:
        return ""
    return image_tag(policy_named(policy), arch, image_context(), str(found.id))


def _images(client: DockerClient) -> set[str]:
    """Return the names that this checkout's images have, or would have."""
    return {image_of(client, policy) for policy in POLICIES} - {""}


@contextlib.contextmanager
def shared_image(client: DockerClient, place: Path) -> Iterator[str]:
    """Make the action's image, or take the one that another worker has made; `place` is a folder that all share.

    The name is this run's own: another run upon the same engine that removes its own cannot take it away.
    """
    place.mkdir(exist_ok=True)
    state, users = place / "state.json", place / "users"
    own = uuid.uuid4().hex
    with _locked(place / "lock"):
        if not state.exists():
            name, before = f"manywheels-test:{own}", _present(client)
            made = ensure_image(client, policy_named("manylinux_2_28"), ARCH, forwarded(os.environ))
            client.images.get(made).tag(*name.split(":"))
            state.write_text(json.dumps({"name": name, "before": before}), encoding="utf-8")
            users.mkdir()
        (users / own).touch()
        kept = json.loads(state.read_text("utf-8"))
    try:
        yield kept["name"]
    finally:
        with _locked(place / "lock"):
            (users / own).unlink()
            if not any(users.iterdir()):
                _remove(client, [kept["name"], *({*_images(client), _VOLUME} - set(kept["before"]))])
                users.rmdir()
                state.unlink()


@contextlib.contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _present(client: DockerClient) -> list[str]:
    """Return what the engine has already of that which tests leave there."""
    images = {tag for image in client.images.list("manywheels") for tag in image.tags}
    return sorted(images & _images(client)) + [
        volume.name for volume in client.volumes.list() if volume.name == _VOLUME
    ]


def _remove(client: DockerClient, names: Iterable[str]) -> None:
    import docker

    for name in names:
        with contextlib.suppress(docker.errors.APIError):  # it is not there, or another run uses it
            if name == _VOLUME:
                client.volumes.get(name).remove()
            else:
                client.images.remove(name, force=True)
