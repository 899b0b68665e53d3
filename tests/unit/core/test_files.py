"""Atomic writes, as of every file of an output folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manywheels.core.files import write_atomically
from manywheels.errors import Cancelled

OWNER = 1234
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def write(path: Path, content: bytes = b"new", owner: tuple[int, int] | None = None) -> None:
    with write_atomically(path, owner) as file:
        file.write(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_old_content_stays_until_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write(path, b"old")
    with write_atomically(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [OSError(28, "no space"), Cancelled("stopped", remedy=""), KeyboardInterrupt()])
def test_an_error_removes_the_partial_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.json"
    write(path, b"old")

    def fail() -> None:
        with write_atomically(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.json"]


def test_a_rename_that_fails_removes_the_partial_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "a.json")
    assert names(tmp_path) == ["a.json"]


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "dist"
    victim.write_text("as it was")
    folder.mkdir()
    for name in ("a.json", ".a.json.partial"):
        (folder / name).symlink_to(victim)
    write(folder / "a.json")
    assert victim.read_text() == "as it was"
    assert names(folder) == ["a.json"]
    assert not (folder / "a.json").is_symlink()


def test_a_partial_file_that_is_put_there_meanwhile_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link is made between `unlink` and `open`: O_EXCL refuses it."""
    victim = tmp_path / "victim"
    victim.write_text("as it was")
    monkeypatch.setattr(Path, "unlink", lambda path, **_: path.symlink_to(victim) if not path.is_symlink() else None)
    with pytest.raises(FileExistsError):
        write(tmp_path / "a.json")
    assert victim.read_text() == "as it was"


@as_root
def test_a_file_belongs_to_the_owner_of_its_folder_or_to_another_who_is_named(tmp_path: Path) -> None:
    os.chown(tmp_path, OWNER, OWNER + 1)
    write(tmp_path / "a")
    write(tmp_path / "b", owner=(OWNER + 2, OWNER + 3))
    owners = [(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "a", tmp_path / "b")]
    assert owners == [(OWNER, OWNER + 1), (OWNER + 2, OWNER + 3)]
