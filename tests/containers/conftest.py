"""What several of these tests share: a client of the engine, and the action's image."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from containers.act import make_repository
from runner import shared_image

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture(scope="session")
def client() -> Iterator[DockerClient]:
    import docker

    with contextlib.closing(docker.from_env()) as client:
        yield client


@pytest.fixture(scope="session")
def program_image(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The action's image, one for all workers; `--engine container` of this checkout finds it, too."""
    own = tmp_path_factory.getbasetemp()
    with shared_image(client, (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "image") as name:
        yield name


@pytest.fixture(scope="session")
def image(program_image: str) -> str:
    """The action's image, for the runner in small."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a workspace that belongs to the runner's user")
    return program_image


@pytest.fixture(scope="module")
def action(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout as the repository that `manywheels/manywheels@v0` stands for."""
    return make_repository(tmp_path_factory.mktemp("action"))
