"""Too little disk space is reported before building, with what is needed and where."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from manywheels.build.disk_space import require_for
from manywheels.core.cancellation import Cancellation
from manywheels.errors import DiskError


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / ".git/objects").mkdir(parents=True)
    (folder / ".git/objects/pack").write_bytes(bytes(50_000_000))
    (folder / "data").write_bytes(bytes(10_000_000))
    return folder


def leave(megabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type(shutil.disk_usage("/"))(10**12, 10**12, megabytes * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_enough_for_each_copy_and_its_build(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(88, monkeypatch)  # 2 x (10 MB + 32 MiB) are 87.1 MB; the repository's objects are not copied
    require_for(source, tmp_path, Cancellation(), copies=2, output=tmp_path)


def test_too_little(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(87, monkeypatch)
    with pytest.raises(DiskError) as raised:
        require_for(source, tmp_path, Cancellation(), copies=2, output=tmp_path)
    assert raised.value.message == (
        f"The disk of `{tmp_path}` has 87 MB left; 2 copies of the source and a build in each need at least 87 MB."
    )
    assert "MANYWHEELS_CACHE" in raised.value.remedy


def test_an_output_folder_without_room(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(3, monkeypatch)
    with pytest.raises(DiskError, match="wheels and logs need at least 4 MB") as raised:
        require_for(source, tmp_path, Cancellation(), copies=0, output=tmp_path / "dist")
    assert "output-dir" in raised.value.remedy
