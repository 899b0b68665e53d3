"""Distributions are bounded before twine, which trusts the sizes in archives, reads them."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.errors import Cancelled
from manywheels.verify import bounds
from manywheels.verify.bounds import Unbounded, require_bounded
from manywheels.verify.distributions import Unreadable, read_distribution
from unit.helpers import write_wheel

MIB = 1 << 20
METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
LIMITS: dict[str, int] = table("index")["archive"]


def sdist(folder: Path, *members: tuple[tarfile.TarInfo, int], info: bytes = METADATA) -> Path:
    """Write an sdist with these members, each of so many zero bytes."""
    path = folder / "demo-1.0.tar.gz"
    with gzip.open(path, "wb", 1) as file:
        declaration = named("demo-1.0/PKG-INFO", len(info))
        for header, content in [(declaration, info), *((member, bytes(size)) for member, size in members)]:
            file.write(header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512))
        file.write(bytes(1024))
    return path


def named(name: str, size: int, **fields: Any) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size = size
    for field, value in fields.items():
        setattr(header, field, value)
    return header


def pax(record: bytes, *members: tuple[str, int]) -> Callable[[Path], Path]:
    """Return a function that writes an sdist with an extended header, and the members after it."""

    def write(folder: Path) -> Path:
        path = sdist(folder)
        whole = gzip.decompress(path.read_bytes())[:-1024]
        text = b"%d %s\n" % (len(record) + 4, record)
        whole += named("x", len(text), type=tarfile.XHDTYPE).tobuf(tarfile.USTAR_FORMAT) + text.ljust(512, b"\0")
        for name, size in members:
            whole += named(name, size).tobuf(tarfile.USTAR_FORMAT) + bytes(-(-size // 512) * 512)
        path.write_bytes(gzip.compress(whole + bytes(1024), 1))
        return path

    return write


def test_an_honest_sdist_is_read(tmp_path: Path) -> None:
    assert read_distribution(sdist(tmp_path, (named("demo-1.0/data", 5 * MIB), 5 * MIB))).project == "demo"


def test_names_that_need_an_extended_header_are_honest(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in ("demo-1.0/PKG-INFO", f"demo-1.0/{'x' * 150}/PKG-INFO", "demo-1.0/é"):
            archive.addfile(named(name, len(METADATA)), io.BytesIO(METADATA))
    assert read_distribution(path).version == "1.0"


ATTACKS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a header that is held in memory": (
        lambda at: sdist(at, (named("x", 64 * MIB, type=tarfile.XHDTYPE), 64 * MIB)), "header of 67,108,864 bytes"),
    "a long name of the GNU kind": (
        lambda at: sdist(at, (named("x", 64 * MIB, type=tarfile.GNUTYPE_LONGNAME), 64 * MIB)), "header of 67,108"),
    "metadata without end": (
        lambda at: sdist(at, info=METADATA + bytes(3 * MIB)), "`demo-1.0/PKG-INFO` has 3,145,774 bytes, more than"),
    "metadata that is named by an extended header": (
        pax(b"path=demo-1.0/PKG-INFO", ("demo-1.0/other", 3 * MIB)), "`demo-1.0/other` has 3,145,728 bytes"),
    "a size that an extended header gives": (pax(b"size=9999999999", ("demo-1.0/PKG-INFO", 10)), "another size than"),
    "a sparse member": (pax(b"GNU.sparse.realsize=9999999999", ("demo-1.0/PKG-INFO", 10)), "another size than"),
    "a sparse member of the GNU kind": (
        lambda at: sdist(at, (named("demo-1.0/x", 0, type=tarfile.GNUTYPE_SPARSE), 0)), "another size than"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_sdists_that_would_fill_the_memory(tmp_path: Path, attack: str) -> None:
    write, told = ATTACKS[attack]
    path = write(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(Unreadable, match=told):
            read_distribution(path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 32 * MIB


def test_an_sdist_that_inflates_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "size", 4 * MIB)
    path = sdist(tmp_path, (named("demo-1.0/zeros", 8 * MIB), 8 * MIB))
    with pytest.raises(Unreadable, match="inflates to more than 4,194,304 bytes"):
        read_distribution(path)


def test_an_sdist_of_members_without_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "_MOST_MEMBERS", 50)
    with pytest.raises(Unreadable, match="more than 50 members"):
        read_distribution(sdist(tmp_path, *((named(f"demo-1.0/{n}", 0), 0) for n in range(60))))


def test_a_wheel_whose_metadata_inflates(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, metadata=METADATA.decode() + "Summary: " + "x" * (3 * MIB))
    with pytest.raises(Unreadable, match=r"METADATA` has 3,145,7.. bytes, more than 2,097,152"):
        read_distribution(wheel)


@pytest.mark.parametrize("write", [sdist, write_wheel], ids=["sdist", "wheel"])
def test_reading_hears_of_the_end(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    stopped = Cancellation()
    stopped.request()
    with pytest.raises(Cancelled):
        read_distribution(write(tmp_path), stopped)


def test_what_is_no_archive_is_left_to_twine(tmp_path: Path) -> None:
    for name in ("demo-1.0.tar.gz", "demo-1.0-py3-none-any.whl"):
        (tmp_path / name).write_bytes(b"\x1f\x8b\x08nonsense")
        require_bounded(tmp_path / name, Cancellation())
    with pytest.raises(Unbounded):
        require_bounded(tmp_path / "absent.whl", Cancellation())
