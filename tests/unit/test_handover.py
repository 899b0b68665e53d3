"""Taking over files: what honest code leaves is copied, and what would mislead is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manywheels.handover import Suspicious, names_in, open_file, take_over


@pytest.fixture
def made(tmp_path: Path) -> Path:
    folder = tmp_path / "made"
    folder.mkdir()
    return folder


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    folder = tmp_path / "ours"
    folder.mkdir()
    return folder


def test_a_file_is_copied(made: Path, ours: Path) -> None:
    (made / "a.whl").write_bytes(b"wheel")
    taken = take_over(made, "a.whl", ours)
    (made / "a.whl").write_bytes(b"changed later")
    assert taken == ours / "a.whl"
    assert taken.read_bytes() == b"wheel"


def test_names(made: Path) -> None:
    for name in ("b.whl", "a.whl", "a.tar.gz"):
        (made / name).touch()
    assert names_in(made, ".whl") == ["a.whl", "b.whl"]


def link_to_a_file(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.mkdir()


def of_somebody_else(path: Path) -> None:
    path.touch()
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(path, 1234, 1234)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (link_to_a_file, "cannot be opened"),
        (fifo, "not a regular file"),
        (folder, "not a regular file"),
        (of_somebody_else, "belongs to another user"),
    ],
)
def test_what_misleads_is_refused(make: Callable[[Path], None], reason: str, made: Path, ours: Path) -> None:
    make(made / "a.whl")
    with pytest.raises(Suspicious, match=reason):
        take_over(made, "a.whl", ours)
    assert list(ours.iterdir()) == []


def test_a_hard_link_to_a_file_of_ours_is_not_the_builds(made: Path, ours: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (made / "a.whl").hardlink_to(tmp_path / "secret")
    with pytest.raises(Suspicious, match="belongs to another user"):
        take_over(made, "a.whl", ours, owner=1234)


def test_a_folder_that_became_a_link_is_refused(made: Path, ours: Path, tmp_path: Path) -> None:
    (made / "a.whl").touch()
    (tmp_path / "link").symlink_to(made)
    with pytest.raises(Suspicious, match="`link` cannot be opened"):
        take_over(tmp_path / "link", "a.whl", ours)
    with pytest.raises(Suspicious, match="`link` cannot be opened"):
        names_in(tmp_path / "link", ".whl")


def test_nothing_of_ours_is_overwritten(made: Path, ours: Path) -> None:
    (made / "a.whl").touch()
    (ours / "a.whl").write_text("there already")
    with pytest.raises(FileExistsError):
        take_over(made, "a.whl", ours)


def test_reading(made: Path) -> None:
    (made / "answer.json").write_text("{}")
    with open_file(made, "answer.json") as file:
        assert file.read() == b"{}"
