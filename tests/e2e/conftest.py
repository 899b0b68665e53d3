"""What several of these tests share: a client of the engine, the action's image, an index, a wheel to upload."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from index import LocalIndex
from runner import built_image
from unit.helpers import write_wheel

if TYPE_CHECKING:
    from docker import DockerClient


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as running:
        yield running


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path)


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
