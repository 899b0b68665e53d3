"""Special files in place of wheels or in a folder of wheels; none of them blocks a reader."""

from __future__ import annotations

import errno
import gc
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from manywheels.cli.main import main
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.regular_files import files_in, is_regular, open_regular
from manywheels.errors import Cancelled, TargetError, WheelFileError
from manywheels.report.files import Reports
from manywheels.verify import collect
from manywheels.verify.distributions import Unreadable, find_files, read_distribution
from manywheels.wheels.manifest import read_manifest
from manywheels.wheels.output import MANIFEST, open_output
from unit.helpers import built, manifest, write_wheel
from unit.specialfiles import MAKERS, TEBIBYTE, ending, sparse

WHEEL = "evil-1.0-py3-none-any.whl"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root is led out of a folder")
every_special_file = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
Make = Callable[[Path], None]


@pytest.fixture(autouse=True)
def no_installers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not run pip and uv."""
    monkeypatch.setattr("manywheels.cli.verify.chosen_by_installers", lambda *_: ())


# --- opening ----------------------------------------------------------------------------------------------------------


@every_special_file
def test_only_regular_files_are_opened(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "x")
    gc.collect()  # what other tests left to it holds descriptors, too
    before = len(list(Path("/proc/self/fd").iterdir()))
    with ending(), pytest.raises(OSError, match=re.escape(str(tmp_path / "x"))) as caught:
        open_regular(tmp_path / "x")
    assert caught.value.errno in {errno.EINVAL, errno.ENOENT, errno.ELOOP}
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
    assert not is_regular(tmp_path / "x")


def test_a_file_of_a_size_that_no_disk_has(tmp_path: Path) -> None:
    sparse(tmp_path / "x")
    with pytest.raises(OSError, match=r"1,099,511,627,776 bytes, and no more than 1,000") as caught:
        open_regular(tmp_path / "x", largest=1000)
    assert caught.value.errno == errno.EFBIG


def test_links_are_followed_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    with open_regular(tmp_path / "link", largest=100) as file:
        assert file.read() == b"content"
    with pytest.raises(OSError, match="regular file"):
        open_regular(tmp_path / "link", links=False)


@as_root
def test_root_follows_no_link_out_of_a_folder(tmp_path: Path) -> None:
    folder, secret = tmp_path / "dist", tmp_path / "secret.whl"
    folder.mkdir()
    secret.write_bytes(b"secret")
    (folder / "b.whl").write_bytes(b"")
    (folder / "a.whl").symlink_to("b.whl")
    assert [file.name for file in files_in(folder, ".whl")] == ["a.whl", "b.whl"]
    (folder / "c.whl").symlink_to(secret)
    for look in (lambda: files_in(folder, ".whl"), lambda: collect([folder]), lambda: find_files(folder)):
        with pytest.raises(WheelFileError, match=r"c\.whl` is a symbolic link that leads out"):
            look()
    assert collect([folder / "c.whl"]) == ((folder / "c.whl",), ())  # named by the user


def test_a_digest_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with ending(), pytest.raises(OSError, match="not a regular file"):
        digest_file(tmp_path / "fifo")
    sparse(tmp_path / "sparse")
    stopped = Cancellation()
    stopped.request()
    with ending(), pytest.raises(Cancelled):
        digest_file(tmp_path / "sparse", stopped)


# --- verify -----------------------------------------------------------------------------------------------------------


@every_special_file
def test_verify_of_a_folder_with_such_a_file(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    write_wheel(tmp_path / "dist", tags="py3-none-any")
    make(tmp_path / "dist" / WHEEL)
    with ending():
        status = main(["verify", "dist"])
    told = "".join(capsys.readouterr())
    assert status in {2, 3}
    assert WHEEL in told
    assert "MW200" in told or "MW008" in told  # links to what is elsewhere stop root at once
    assert "fault" not in told


def test_verify_of_a_wheel_of_a_tebibyte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sparse(tmp_path / WHEEL)
    with ending():
        assert main(["verify", WHEEL]) == 3
    assert f"it has {TEBIBYTE:,} bytes, and no more than 8,589,934,592 are read" in capsys.readouterr().out


def test_verify_takes_a_wheel_with_two_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and deduplicating tools leave hard links."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    wheel = write_wheel(tmp_path, tags="py3-none-any", wheel_file=None)
    os.link(wheel, tmp_path / "dist" / wheel.name)
    alone = main(["verify", str(wheel)])
    assert main(["verify", "dist"]) == alone


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, sparse], ids=["fifo", "folder", "sparse"])
def test_a_manifest_that_is_none(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dist").mkdir()
    write_wheel(tmp_path / "dist", tags="py3-none-any")
    make(tmp_path / "dist" / MANIFEST)
    for command in (["verify", "dist"], ["gather", "dist"]):
        with ending():
            assert main(command) == 2
        told = capsys.readouterr().err
        assert "error MW008" in told
        assert MANIFEST in told


# --- publish ----------------------------------------------------------------------------------------------------------


@every_special_file
@pytest.mark.parametrize("name", [WHEEL, "evil-1.0.tar.gz", "evil-1.0.zip"])
def test_what_is_published_is_a_regular_file(tmp_path: Path, make: Make, name: str) -> None:
    make(tmp_path / name)
    with ending(), pytest.raises(Unreadable):
        read_distribution(tmp_path / name)


@pytest.mark.parametrize("name", [WHEEL, "evil-1.0.tar.gz", "evil-1.0.zip"])
def test_what_is_published_has_a_size(tmp_path: Path, name: str) -> None:
    sparse(tmp_path / name)
    with ending(), pytest.raises(Unreadable, match="no more than"):
        read_distribution(tmp_path / name)


# --- the output folder ------------------------------------------------------------------------------------------------


@every_special_file
def test_an_output_folder_that_holds_such_files(tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Special files in a repository's `dist` are replaced; nothing is read or written through them."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "dist"
    (folder / "logs").mkdir(parents=True)
    wheel = write_wheel(tmp_path)
    names = (wheel.name, f".{wheel.name}.partial", MANIFEST, f".{MANIFEST}.partial", "logs/a.log", "report.html")
    for name in names:
        if make is not Path.mkdir:  # those are no files to be replaced: see below
            make(folder / name)
    with ending():
        output = open_output(folder)
        output.log("a").write_bytes(b"log")
        assert output.deliver(wheel).read_bytes() == wheel.read_bytes()
        made = manifest(built())
        made.write(output.path)
        Reports(html=folder / "report.html", junit=None).write(made, output)
    assert read_manifest(folder) == made
    assert all(is_regular(folder / name) for name in (wheel.name, MANIFEST, "logs/a.log", "report.html"))
    assert not list(folder.glob(".*"))


def test_what_has_another_name_elsewhere_keeps_its_content(tmp_path: Path) -> None:
    """The name of a hard link in `dist` gets another file; the linked one is not written to."""
    folder, wheel = tmp_path / "dist", write_wheel(tmp_path)
    (folder / "logs").mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    for name in (wheel.name, f".{wheel.name}.partial", MANIFEST, f".{MANIFEST}.partial", "logs/a.log"):
        os.link(elsewhere, folder / name)
    output = open_output(folder)
    output.log("a").write_bytes(b"log")
    output.deliver(wheel)
    manifest(built()).write(folder)
    assert elsewhere.read_bytes() == b"precious"
    assert elsewhere.stat().st_nlink == 1


@every_special_file
def test_what_is_delivered_is_a_regular_file(tmp_path: Path, make: Make) -> None:
    output = open_output(tmp_path / "dist")
    make(tmp_path / WHEEL)
    with ending(), pytest.raises(TargetError):
        output.deliver(tmp_path / WHEEL)
    assert [path.name for path in output.path.iterdir()] == ["logs"]


def test_a_wheel_that_was_swapped_after_it_was_verified_is_not_delivered(tmp_path: Path) -> None:
    """As by a project's test that runs as the same user, or a process that outlives the build."""
    output, wheel = open_output(tmp_path / "dist"), write_wheel(tmp_path)
    verified = digest_file(wheel)
    wheel.write_bytes(wheel.read_bytes() + b"evil")
    with pytest.raises(TargetError, match=rf"the verified file had {verified}") as caught:
        output.deliver(wheel, sha256=verified)
    assert caught.value.remedy
    assert [path.name for path in output.path.iterdir()] == ["logs"]


def test_delivering_hears_of_the_end(tmp_path: Path) -> None:
    output, wheel, stopped = open_output(tmp_path / "dist"), write_wheel(tmp_path), Cancellation()
    stopped.request()
    with pytest.raises(Cancelled):
        output.deliver(wheel, cancellation=stopped)
    assert [path.name for path in output.path.iterdir()] == ["logs"]
