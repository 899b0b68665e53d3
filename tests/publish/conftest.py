"""What these tests share: an index of their own, and a wheel to upload."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from index import LocalIndex
from manywheels.data import table
from manywheels.deliver.index import confirm
from unit.helpers import write_wheel


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as running:
        yield running


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_wheel(tmp_path)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less between requests in this process: no test here proves how long a pause is, but Retry-After."""
    facts = table("publish")
    monkeypatch.setitem(facts, "first-pause", 0.1)
    monkeypatch.setitem(facts, "settle-pause", 0.2)
    monkeypatch.setattr(confirm, "_PAUSE", 0.2)
