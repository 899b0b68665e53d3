"""Into containers and out of them: hostile trees are packed, and hostile archives read, without harm to root."""

from __future__ import annotations

import io
import os
import socket
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from manywheels.build.stages.test_container import image_variables
from manywheels.build.stages.transfer import CannotPack, pack_tree, take_file
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled
from unit.helpers import nest

USER = 61990
MIB = 1 << 20
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a second user")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    (folder / "sub").mkdir(parents=True)
    (folder / "file").write_text("content")
    (folder / "file").chmod(0o755)
    (folder / "sub" / "below").write_text("more")
    return folder


def packed(tree: Path, owner: int | None = None, cancellation: Cancellation | None = None) -> tarfile.TarFile:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        owner = os.geteuid() if owner is None else owner
        pack_tree(
            tar, tree, "in/project", owner=owner, change=lambda it: it, cancellation=cancellation or Cancellation()
        )
    return tarfile.open(fileobj=io.BytesIO(written.getvalue()))


def test_a_tree_is_packed_as_it_is(tree: Path) -> None:
    (tree / "link").symlink_to("sub/below")
    (tree / "empty").mkdir()
    (tree / os.fsdecode(b"\xff")).touch()
    with packed(tree) as tar:
        found = {member.name: (member.type, member.mode, member.size, member.linkname) for member in tar}
    mode = (tree / "link").lstat().st_mode & 0o7777
    assert found.pop(os.fsdecode(b"in/project/\xff"))[2] == 0
    folders = {f"in/project{name}": (tarfile.DIRTYPE, 0o755, 0, "") for name in ("", "/sub", "/empty")}
    assert found == folders | {
        "in/project/file": (tarfile.REGTYPE, 0o755, 7, ""),
        "in/project/sub/below": (tarfile.REGTYPE, 0o644, 4, ""),
        "in/project/link": (tarfile.SYMTYPE, mode, 0, "sub/below"),
    }


def test_links_are_not_followed(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("SECRET")
    (tree / "to-file").symlink_to(tmp_path / "secret" / "key")
    (tree / "to-folder").symlink_to(tmp_path / "secret")
    with packed(tree) as tar:
        assert {member.type for member in tar if member.name.startswith("in/project/to-")} == {tarfile.SYMTYPE}
        assert all(member.size == 0 for member in tar if member.issym())


def test_fifos_sockets_and_devices_stay_behind(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tree / "fifo")
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        if os.geteuid() == 0:
            os.mknod(tree / "device", 0o600 | 0o020000, os.makedev(1, 3))
        with packed(tree) as tar:
            assert {Path(name).name for name in tar.getnames()} == {"project", "file", "sub", "below"}


@as_root
def test_a_hard_link_to_a_file_of_roots_is_not_read(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "shadow").write_text("SECRET")
    (tmp_path / "shadow").chmod(0o600)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, USER, USER)
    (tree / "mine").hardlink_to(tmp_path / "shadow")
    with pytest.raises(CannotPack, match="`in/project/mine` belongs to another user"):
        packed(tree, USER)
    (tmp_path / "shadow").chmod(0o644)  # as files of the common store, which targets have links to
    with packed(tree, USER) as tar:
        assert "in/project/mine" in tar.getnames()


def test_a_tree_that_is_too_deep_is_refused(deep_folder: Path) -> None:
    with pytest.raises(CannotPack, match="nested so deep"):
        packed(nest(deep_folder / "chain", 3000))


def test_a_tree_as_deep_as_paths_can_be_is_packed(deep_folder: Path) -> None:
    """The standard library's `add` calls itself for each folder."""
    with packed(nest(deep_folder / "chain", 1500)) as tar:
        assert len(tar.getnames()) == 1502  # with the file in the deepest


def test_a_sparse_file_is_refused_before_it_is_read(tree: Path) -> None:
    with (tree / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CannotPack, match="more than 4 GiB"):
        packed(tree)


def test_packing_hears_the_cancellation(tree: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()
    with pytest.raises(Cancelled):
        packed(tree, cancellation=cancellation)


def test_packing_hears_the_cancellation_within_a_file(tree: Path, tmp_path: Path) -> None:
    with (tree / "large").open("wb") as file:
        file.truncate(64 * MIB)
    cancellation = Cancellation()

    class Written(io.BytesIO):
        def write(self, data: object) -> int:
            if self.tell() > MIB:
                cancellation.request()
            return super().write(data)  # type: ignore[arg-type]

    written = Written()
    with pytest.raises(Cancelled), tarfile.open(fileobj=written, mode="w") as tar:
        pack_tree(tar, tree, "p", owner=os.geteuid(), change=lambda it: it, cancellation=cancellation)
    assert len(written.getvalue()) < 3 * MIB


# --- out of them ------------------------------------------------------------------------------------------------------


def archive(kind: bytes, content: bytes = b"", **fields: object) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        member = tarfile.TarInfo("junit.xml")
        member.type, member.size = kind, len(content)
        for name, value in fields.items():
            setattr(member, name, value)
        tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def test_a_regular_file_is_taken(tmp_path: Path) -> None:
    taken = take_file([archive(tarfile.REGTYPE, b"<testsuite/>")], tmp_path, "junit.xml", MIB)
    assert taken == tmp_path / "junit.xml"
    assert taken.read_bytes() == b"<testsuite/>"


SPARSE = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(1 << 40), "GNU.sparse.name": "x"}


@pytest.mark.parametrize(
    "content",
    [
        archive(tarfile.SYMTYPE, linkname="/etc/passwd"),
        archive(tarfile.LNKTYPE, linkname="junit.xml"),
        archive(tarfile.LNKTYPE, linkname="/etc/passwd"),
        archive(tarfile.FIFOTYPE),
        archive(tarfile.CHRTYPE, devmajor=1, devminor=5),
        archive(tarfile.DIRTYPE),
        archive(tarfile.REGTYPE, b"x" * 512)[:700],
        archive(tarfile.REGTYPE, b"1\n0\n0\n".ljust(512, b"\0"), pax_headers=SPARSE),
        b"",
        b"no archive",
        os.urandom(4096),
    ],
    ids=["link", "hard link to itself", "hard link", "FIFO", "device", "folder", "cut off", "sparse", "empty", "text",
         "noise"],
)  # fmt: skip
def test_anything_else_is_no_result(tmp_path: Path, content: bytes) -> None:
    assert take_file([content], tmp_path, "junit.xml", MIB) is None
    assert not (tmp_path / "junit.xml").exists()


def test_an_answer_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    read = 0

    def chunks() -> Iterator[bytes]:
        nonlocal read
        yield archive(tarfile.REGTYPE, b"", size=0)[:512]
        while True:
            read += 1
            yield b"\0" * MIB

    assert take_file(chunks(), tmp_path, "junit.xml", 10 * MIB) is None
    assert read < 20


@pytest.mark.parametrize(
    ("attributes", "variables"),
    [
        ({"Config": {"Env": ["A=1=2", "B=", "WITHOUT", "=C", ""]}}, {"A": "1=2", "B": ""}),
        ({"Config": {"Env": None}}, {}),
        ({"Config": {}}, {}),
        ({"Config": None}, {}),
        ({}, {}),
    ],
)
def test_an_image_says_of_its_environment_what_it_likes(
    attributes: dict[str, object], variables: dict[str, str]
) -> None:
    assert image_variables(attributes) == variables
