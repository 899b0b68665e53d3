"""The Pythons of an image: what its /opt/python lists becomes interpreters, once for each image."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from docker.errors import NotFound

from manywheels.errors import EngineError
from manywheels.runtime.containers.interpreters import image_interpreters

if TYPE_CHECKING:
    from docker import DockerClient

# As in the real images.
LINKS = {
    "cp39-cp39": "/opt/_internal/cpython-3.9.24",
    "cp314-cp314": "/opt/_internal/cpython-3.14.9",
    "cp314-cp314t": "/opt/_internal/cpython-3.14.9-nogil",
    "cp315-cp315": "/opt/_internal/cpython-3.15.0rc2",
    "pp311-pypy311_pp73": "/opt/_internal/pypy3.11-7.3.20",
    "pp311-pypy311_pp80": "/opt/_internal/pp311-pypy311_pp80",
    "graalpy312-graalpy250_312_native": "/opt/_internal/graalpy-25.0.1",
    "notes": "/etc/motd",
}
FOUND = [
    ("cp39", "3.9.24", "cp39-cp39"),
    ("cp314", "3.14.9", "cp314-cp314"),
    ("cp315", "3.15.0rc2", "cp315-cp315"),
    ("cp314t", "3.14.9", "cp314-cp314t"),
    ("pypy311_pp73", "3.11", "pp311-pypy311_pp73"),
    ("pypy311_pp80", "3.11", "pp311-pypy311_pp80"),
]


class FakeImage:
    """An image, and its container that is never started: links or folders in /opt/python, or no such folder."""

    def __init__(self, entries: Mapping[str, str] | None, *, folders: bool = False, endless: bool = False) -> None:
        self._entries, self._folders, self._endless = entries, folders, endless
        self.id, self.asked, self.removed = f"sha256:{id(self)}", 0, 0
        found = SimpleNamespace(get=lambda _name: self)
        self.client = cast(
            "DockerClient", SimpleNamespace(images=found, containers=SimpleNamespace(create=self._create))
        )

    def _create(self, _name: str, _command: list[str]) -> FakeImage:
        self.asked += 1
        return self

    def get_archive(self, path: str, chunk_size: int = 1 << 15) -> tuple[Iterator[bytes], None]:
        if self._entries is None or (not path.endswith("/.") and path.split("/")[3] not in self._entries):
            raise NotFound("no such path")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, target in {".": "", **self._entries}.items():
                member = tarfile.TarInfo(f"./{name}" if target else name)
                member.type = tarfile.DIRTYPE if self._folders or not target else tarfile.SYMTYPE
                member.linkname = "" if self._folders else target
                tar.addfile(member)
        packed = archive.getvalue()
        pieces = [packed[start : start + chunk_size] for start in range(0, len(packed), chunk_size)]
        return self._without_end(packed[:1024]) if self._endless else iter(pieces), None

    def _without_end(self, member: bytes) -> Iterator[bytes]:
        while True:
            yield member[512:]  # the header of a link

    def remove(self, *, force: bool, v: bool) -> None:
        assert force
        assert v
        self.removed += 1


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_pythons_are_those_of_the_links(cache: Path) -> None:
    image = FakeImage(LINKS)
    found = image_interpreters(image.client, "base:1")

    assert [(one.abi, one.version, str(one.path)) for one in found] == [
        (abi, version, f"/opt/python/{folder}/bin/python") for abi, version, folder in FOUND
    ]
    assert {one.source for one in found} == {"base:1"}
    assert image_interpreters(image.client, "base:1") == found
    assert (image.asked, image.removed) == (1, 1), "the second answer is the cache's"
    (kept,) = (cache / "images").iterdir()
    for damaged in (b"[]", b"{", b'{"cp39-cp39": 1}', b"\xff"):
        kept.write_bytes(damaged)
        assert image_interpreters(image.client, "base:1") == found
    assert image.asked == 5


def test_another_image_of_that_name_is_asked_anew() -> None:
    assert image_interpreters(FakeImage(LINKS).client, "base:1")
    assert image_interpreters(FakeImage({}).client, "base:1") == ()


def test_folders_in_place_of_links_are_looked_for_by_name() -> None:
    image = FakeImage({"cp312-cp312": "x", "cp314-cp314t": "x", "unknown": "x"}, folders=True)
    found = image_interpreters(image.client, "base:1")
    assert [(one.abi, one.version) for one in found] == [("cp312", "3.12"), ("cp314t", "3.14")]


def test_an_image_without_pythons_is_named() -> None:
    image = FakeImage(None)
    with pytest.raises(EngineError, match="`debian:13` has no /opt/python"):
        image_interpreters(image.client, "debian:13")
    assert image.removed == 1


def test_a_listing_without_an_end_is_refused() -> None:
    image = FakeImage(LINKS, endless=True)
    with pytest.raises(EngineError, match="cannot be listed"):
        image_interpreters(image.client, "base:1")
    assert image.removed == 1
