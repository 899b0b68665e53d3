"""`clean`: what builds have left is removed or listed, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from pathlib import Path

import pytest

from manywheels.cli.main import main
from manywheels.core.cancellation import Cancellation
from manywheels.runtime import cache_folder
from manywheels.runtime.cache_folder import mark
from manywheels.runtime.untrusted_files import open_lock
from manywheels.runtime.workspace import work_folder
from unit.helpers import built, manifest, nest, seal


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    for name in ("uv", "work/run-1"):
        (place / name).mkdir(parents=True)
        (place / name / "file").write_bytes(b"x" * 10_000)
    for name in ("objects", "objects-wal"):  # a database, and what a killed run leaves of it
        (place / name).write_bytes(b"x" * 10_000)
    mark(place)
    (place / "own-notes.txt").write_text("not ours")
    (place / "work.lock").touch()  # as every run leaves it
    monkeypatch.setenv("MANYWHEELS_CACHE", str(place))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 1000)  # root has a further folder, which other tests may be using
    return place


def test_the_caches_are_removed_and_nothing_beside_them(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["clean", "cache"]) == 0
    assert sorted(path.name for path in cache.iterdir()) == ["CACHEDIR.TAG", "own-notes.txt", "work.lock"]
    assert "freed" in capsys.readouterr().out


def test_a_dry_run_lists_with_sizes_and_removes_nothing(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(cache.rglob("*"))
    assert main(["clean", "cache", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert f"would remove {cache / 'uv'} (" in out
    assert f"would remove {cache / 'objects'} (10 kB)" in out
    assert "nothing was removed (dry run)" in out
    assert sorted(cache.rglob("*")) == before


def test_the_caches_of_a_run_under_way_stay(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_lock(cache / "work" / "run-1" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["clean", "cache"]) == 4
    assert (cache / "uv" / "file").exists()
    assert (cache / "objects").exists()
    assert "a run is under way" in capsys.readouterr().out


def test_the_lock_of_a_users_number_counts_as_well(cache: Path) -> None:
    (cache / "users").mkdir()
    with open_lock(cache / "users" / "62000") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["clean", "cache"]) == 4
    assert (cache / "uv" / "file").exists()


def test_a_pipe_in_place_of_a_lock_is_not_waited_for(cache: Path) -> None:
    os.mkfifo(cache / "work" / "run-1" / ".lock")
    assert main(["clean", "cache"]) == 0


def test_a_lock_that_cannot_be_asked_counts_as_held(cache: Path) -> None:
    (cache / "work" / "run-1" / ".lock").symlink_to(cache / "own-notes.txt")
    assert main(["clean", "cache"]) == 4
    assert (cache / "uv" / "file").exists()


def test_runs_in_the_folder_for_paths_with_blanks_count(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(cache.parent))
    fallback = cache_folder.blank_fallback()
    (fallback / "work" / "run-2").mkdir(parents=True)
    os.chown(fallback, 1000, -1)
    with open_lock(fallback / "work" / "run-2" / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["clean", "cache"]) == 4
    assert (cache / "uv" / "file").exists()


def test_a_build_that_waits_for_the_cleaning_goes_on_after_it(cache: Path) -> None:
    """`clean` removes the folder that the build is going to work in."""
    made: list[Path] = []

    def build() -> None:
        with work_folder(cache / "work") as folder:
            made.append(folder)

    with cache_folder.without_runs(Cancellation()):
        waiting = threading.Thread(target=build)
        waiting.start()
        shutil.rmtree(cache / "work")
    waiting.join()
    assert len(made) == 1


def test_a_folder_with_other_files_gets_no_mark(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    mark(tmp_path)
    assert not cache_folder.is_marked(tmp_path)


def test_a_folder_that_is_not_ours_is_left(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (cache / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n# of another program\n")
    assert main(["clean", "cache"]) == 0
    assert (cache / "uv" / "file").exists()
    assert "may be another program's" in capsys.readouterr().out


def test_trees_of_any_depth_are_measured_and_removed(
    cache: Path, deep_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    work = nest(deep_folder / "work", 1_500)
    mark(deep_folder)
    monkeypatch.setenv("MANYWHEELS_CACHE", str(deep_folder))
    assert main(["clean", "cache"]) == 0
    assert f"removed {work} (" in capsys.readouterr().out
    assert not work.exists()


@pytest.mark.parametrize("link", ["dist", "dist/logs"])
def test_nothing_is_removed_through_a_link(
    cache: Path, tmp_path: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "before-all.log").write_text("somebody's")
    if link == "dist/logs":
        (tmp_path / "dist").mkdir()
        manifest(built("cp311")).write(tmp_path / "dist")
    (tmp_path / link).symlink_to(elsewhere)
    assert main(["clean", "output"]) == 2
    assert "is a symbolic link" in capsys.readouterr().err
    assert (elsewhere / "before-all.log").exists()


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


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_what_stays_in_the_output_folder_is_named_and_why(
    cache: Path, tmp_path: Path, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its manifest, `publish` takes all of it: also the wheel of a target that has failed since."""
    dist = tmp_path / "dist"
    dist.mkdir()
    record, changed = seal(dist, built("cp311")), seal(dist, built("cp312"))
    manifest(record, changed).write(dist)
    assert changed.wheel is not None
    (dist / changed.wheel.name).write_bytes(b"somebody's own")
    for name in ("demo-1.0.tar.gz", "demo-1.0-cp310-cp310-linux_x86_64.whl", "notes.txt"):
        (dist / name).touch()
    assert main(["clean", "output", *options]) == 0
    told = capsys.readouterr().out.splitlines()
    left = "would leave" if options else "left"
    assert told[-5:-1] == [
        f"{left} dist/demo-1.0-cp310-cp310-linux_x86_64.whl: not in the manifest",
        f"{left} dist/{changed.wheel.name}: changed since it was built",
        f"{left} dist/demo-1.0.tar.gz: not in the manifest",
        "note: without its manifest, `publish` takes what lies in `dist`: remove what is not to be published",
    ]


def test_nothing_is_said_of_what_stays_where_all_is_removed(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dist").mkdir()
    manifest(seal(tmp_path / "dist", built("cp311"))).write(tmp_path / "dist")
    assert main(["clean", "output"]) == 0
    told = capsys.readouterr().out
    assert "left" not in told
    assert "note" not in told


@pytest.mark.parametrize(("content", "why"), [(None, "there is no manifest"), ("{}", "the manifest cannot be read")])
def test_a_folder_without_manifest_is_left_alone_and_that_is_said(
    cache: Path, tmp_path: Path, content: str | None, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "spam-1.0-py3-none-any.whl").write_bytes(b"")
    if content is not None:
        (dist / "manywheels.json").write_text(content)
    assert main(["clean", "output"]) == 0
    assert (dist / "spam-1.0-py3-none-any.whl").exists()
    told = capsys.readouterr().out
    assert told == f"left dist/spam-1.0-py3-none-any.whl: {why}\nthere is nothing to remove\n"


def test_an_unknown_kind_is_refused(cache: Path) -> None:
    with pytest.raises(SystemExit):
        main(["clean", "everything"])
