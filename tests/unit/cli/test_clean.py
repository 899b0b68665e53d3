"""`clean`: what builds have left is removed or listed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.cli.main import main
from manywheels.runtime.untrusted_files import open_lock
from unit.helpers import built, manifest, seal


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    for name in ("uv", "work/run-1", "objects"):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_bytes(b"x" * 10_000)
    (place / "own-notes.txt").write_text("not ours")
    monkeypatch.setenv("MANYWHEELS_CACHE", str(place))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # root has a further folder, which other tests may be using
    return place


def test_the_caches_are_removed_and_nothing_beside_them(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "cache"]) == 0
    assert [path.name for path in cache.iterdir()] == ["own-notes.txt"]
    assert "freed" in capsys.readouterr().out


def test_a_dry_run_lists_with_sizes_and_removes_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(cache.rglob("*"))
    assert main(["clean", "cache", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"would remove {cache / 'uv'} (" in out
    assert "nothing was removed (dry run)" in out
    assert sorted(cache.rglob("*")) == before


def test_the_caches_of_a_run_under_way_stay(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with open_lock(cache / "work" / "run-1" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["clean", "cache"]) == 4
    assert (cache / "uv" / "file").exists()
    assert "a run is under way" in capsys.readouterr().out


def test_only_the_files_of_the_manifest_are_removed_from_the_output_folder(cache: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    record, changed = seal(dist, built("cp311")), seal(dist, built("cp312"))
    manifest(record, changed).write(dist)
    assert record.wheel is not None
    assert changed.wheel is not None
    (dist / changed.wheel.name).write_bytes(b"somebody's own")
    (dist / "notes.txt").write_text("kept")
    assert main(["clean", "output"]) == 0
    assert sorted(path.name for path in dist.iterdir()) == sorted([changed.wheel.name, "notes.txt"])


def test_a_folder_without_manifest_is_left_alone(cache: Path, tmp_path: Path) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "spam-1.0-py3-none-any.whl").write_bytes(b"")
    assert main(["clean", "output"]) == 0
    assert list(dist.iterdir())


def test_an_unknown_kind_is_refused(cache: Path) -> None:
    with pytest.raises(SystemExit):
        main(["clean", "everything"])
