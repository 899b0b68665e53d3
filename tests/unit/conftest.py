"""What tests of several modules share: a folder that other users reach, and signals that are heeded."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest


@pytest.fixture
def heeded() -> Iterator[None]:
    """Undo what nohup or a script has these tests ignore: the program would go on ignoring it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches; pytest's own are closed to others, and closed again by the next run's start."""
    with TemporaryDirectory(prefix="manywheels-test-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
