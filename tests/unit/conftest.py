"""What tests of several modules share: a folder that other users reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from manywheels.runtime.containers import engine


@pytest.fixture(autouse=True)
def without_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine's container engine must not decide what a unit test sees."""
    monkeypatch.setattr(engine, "_SOCKET", Path("/nowhere/docker.sock"))
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own are closed to others, and closed again by the next run's start."""
    with TemporaryDirectory(prefix="manywheels-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
