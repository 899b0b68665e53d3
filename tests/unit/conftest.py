"""What tests of several modules share: a folder that other users reach, and one for trees of any depth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import pytest

from manywheels.runtime.containers import engine
from manywheels.runtime.copying import remove_tree


@pytest.fixture(autouse=True)
def without_engine() -> Iterator[None]:
    """A machine's container engine must not decide what a unit test sees."""
    with pytest.MonkeyPatch.context() as patch:  # its own: a test's is undone before the fixtures that it uses
        patch.setattr(engine, "_SOCKET", Path("/nowhere/docker.sock"))
        patch.delenv("DOCKER_HOST", raising=False)
        yield


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own are closed to others, and closed again by the next run's start."""
    with TemporaryDirectory(prefix="manywheels-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def deep_folder() -> Iterator[Path]:
    """A folder for trees of any depth; in memory, where there is one: ext4 takes long to make thousands of folders.

    It is none of pytest's own: their removal calls itself for each folder, and fails after a run that was killed.
    """
    memory = Path("/dev/shm")
    folder = Path(mkdtemp(prefix="manywheels-test-", dir=memory if memory.is_dir() else None))
    yield folder
    remove_tree(folder)
