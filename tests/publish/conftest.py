"""What these tests share: an index of their own, and a wheel to upload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from index import LocalIndex
from unit.helpers import write_wheel


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as running:
        yield running


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path)
