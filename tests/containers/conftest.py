"""What several of these tests share: a client of the engine, and the action's image."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from runner import built_image

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture(scope="module")
def client() -> Iterator[DockerClient]:
    import docker

    with contextlib.closing(docker.from_env()) as client:
        yield client


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The action's image, for the runner in small."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a workspace that belongs to the runner's user")
    with built_image(tmp_path_factory.mktemp("context")) as name:
        yield name
