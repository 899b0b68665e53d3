"""Taking over files: what honest code leaves is copied, and what would mislead is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled
from manywheels.runtime.untrusted_files import (
    Suspicious,
    is_there,
    keep_folder,
    make_folder,
    make_place,
    make_public_folder,
    names_in,
    open_file,
    open_lock,
    open_log,
    take_over,
    write_file,
)


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
    taken = take_over(made, "a.whl", ours, Cancellation())
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
        take_over(made, "a.whl", ours, Cancellation())
    assert list(ours.iterdir()) == []


def test_a_hard_link_to_a_file_of_ours_is_not_the_builds(made: Path, ours: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (made / "a.whl").hardlink_to(tmp_path / "secret")
    with pytest.raises(Suspicious, match="belongs to another user"):
        take_over(made, "a.whl", ours, Cancellation(), owner=1234)


def test_a_folder_that_became_a_link_is_refused(made: Path, ours: Path, tmp_path: Path) -> None:
    (made / "a.whl").touch()
    (tmp_path / "link").symlink_to(made)
    with pytest.raises(Suspicious, match="`link` cannot be opened"):
        take_over(tmp_path / "link", "a.whl", ours, Cancellation())
    with pytest.raises(Suspicious, match="`link` cannot be opened"):
        names_in(tmp_path / "link", ".whl")


def test_nothing_of_ours_is_overwritten(made: Path, ours: Path) -> None:
    (made / "a.whl").touch()
    (ours / "a.whl").write_text("there already")
    with pytest.raises(FileExistsError):
        take_over(made, "a.whl", ours, Cancellation())


def test_reading(made: Path) -> None:
    (made / "answer.json").write_text("{}")
    with open_file(made, "answer.json") as file:
        assert file.read() == b"{}"


def test_a_sparse_file_that_fills_the_disk_is_refused(made: Path, ours: Path) -> None:
    with (made / "a.whl").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(Suspicious, match=f"has {1 << 40} bytes"):
        take_over(made, "a.whl", ours, Cancellation())
    assert list(ours.iterdir()) == []


def test_taking_over_hears_the_cancellation(made: Path, ours: Path) -> None:
    (made / "a.whl").write_bytes(b"wheel")
    cancellation = Cancellation()
    cancellation.request()
    with pytest.raises(Cancelled):
        take_over(made, "a.whl", ours, cancellation)


# --- making ---------------------------------------------------------------------------------------------------------

USER = 61990
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a second user")
MAKERS: dict[str, Callable[[Path], object]] = {
    "make_folder": lambda path: make_folder(path, None),
    "make_place": lambda path: make_place(path, None),
    "make_public_folder": make_public_folder,
    "write_file": lambda path: write_file(path, b"content"),
    "keep_folder": lambda path: keep_folder(path, os.getuid(), 0o700),
}


@as_root
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_nothing_is_made_where_another_user_can_write(make: Callable[[Path], object], ours: Path) -> None:
    os.chown(ours, USER, USER)
    with pytest.raises(PermissionError, match="Others can write in this folder"):
        make(ours / "new")
    os.chown(ours, 0, 0)
    ours.chmod(0o777)
    with pytest.raises(PermissionError, match="Others can write in this folder"):
        make(ours / "new")
    assert list(ours.iterdir()) == []


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_nothing_is_made_through_a_link(make: Callable[[Path], object], ours: Path, made: Path) -> None:
    (ours / "new").symlink_to(made / "victim")
    with pytest.raises(OSError):  # noqa: PT011 - whatever the kernel says of it
        make(ours / "new")
    (ours / "folder").symlink_to(made)
    with pytest.raises(OSError):  # noqa: PT011
        make(ours / "folder" / "new")
    assert list(made.iterdir()) == []


@as_root
def test_who_reaches_what(ours: Path) -> None:
    place = make_place(ours / "place", USER)
    folder = make_folder(place / "folder", USER, {"a.py": b"pass"})
    public = make_public_folder(ours / "public/below")
    owners = {path: (path.stat().st_uid, path.stat().st_gid) for path in (place, folder, folder / "a.py", public)}
    assert owners == {place: (0, USER), folder: (USER, USER), folder / "a.py": (USER, USER), public: (0, 0)}
    assert [path.stat().st_mode & 0o777 for path in (place, folder, public)] == [0o710, 0o700, 0o755]


@as_root
def test_a_kept_folder_of_somebody_else_is_refused(ours: Path) -> None:
    kept = keep_folder(ours / "kept", USER, 0o755)
    assert keep_folder(kept, USER, 0o700).stat().st_mode & 0o777 == 0o700
    with pytest.raises(PermissionError, match="belongs to another user"):
        keep_folder(kept, USER + 1, 0o700)


# --- logs and locks ---------------------------------------------------------------------------------------------------


def test_a_log_is_appended_to(ours: Path) -> None:
    for line in (b"one\n", b"two\n"):
        with open_log(ours / "log") as log:
            log.write(line)
    assert (ours / "log").read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("make", [link_to_a_file, fifo, folder, lambda path: path.symlink_to("/nonexistent/log")])
def test_a_log_is_a_regular_file(make: Callable[[Path], None], ours: Path) -> None:
    make(ours / "log")
    with pytest.raises(OSError):  # noqa: PT011 - whatever the kernel says of it
        open_log(ours / "log")


@as_root
def test_no_log_lies_where_project_code_can_put_a_link(made: Path) -> None:
    os.chown(made, USER, USER)
    with pytest.raises(PermissionError, match="belongs to the user whose output"):
        open_log(made / "log", USER)


def test_only_the_owner_can_hold_a_lock(ours: Path) -> None:
    (ours / "lock").touch(0o666)
    (ours / "lock").chmod(0o666)
    for name in ("lock", "new"):
        with open_lock(ours / name):
            assert (ours / name).stat().st_mode & 0o777 == 0o600


# --- looking ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("relative", "there"),
    [
        ("tests", True), ("tests/test_a.py", True), ("tests/absent.py", False), ("absent", False), (".", True),
        ("absent/test_a.py", False), ("outside/hostname", True), ("dangling", True), ("tests/test_a.py/below", True),
    ],
)  # fmt: skip
def test_links_are_not_followed_to_see_what_is_there(relative: str, there: bool, made: Path) -> None:  # noqa: FBT001
    (made / "tests").mkdir()
    (made / "tests/test_a.py").touch()
    (made / "outside").symlink_to("/nonexistent")
    (made / "dangling").symlink_to("/nonexistent/file")
    assert is_there(made, relative) is there


def test_a_parent_that_another_thread_has_just_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sealed").mkdir()
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path.name != "sealed" and exists(path))
    assert make_public_folder(tmp_path / "sealed" / "cp312").is_dir()
