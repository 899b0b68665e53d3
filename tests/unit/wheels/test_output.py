"""The output folder and the manifest: whole or not at all, and owned as their surroundings are."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.errors import OutputFolderError, TargetError
from manywheels.report.files import Reports
from manywheels.wheels.manifest import TargetRecord, TargetState, describe_wheel
from manywheels.wheels.output import MANIFEST, open_output
from unit.helpers import built, failed, manifest, wheel_record, write_wheel

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
SOMEBODY = 1234


def owners(folder: Path) -> set[tuple[int, int]]:
    return {(path.stat().st_uid, path.stat().st_gid) for path in (folder, *folder.rglob("*"))}


def test_the_folder_is_made_with_its_logs(tmp_path: Path) -> None:
    output = open_output(tmp_path / "a" / "dist")
    assert (tmp_path / "a" / "dist" / "logs").is_dir()
    assert output.path == tmp_path / "a" / "dist"
    assert open_output(tmp_path / "a" / "dist") == output


def test_a_relative_folder_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_output(Path("dist")).path == tmp_path / "dist"


def test_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "other.whl").write_bytes(b"x")
    open_output(tmp_path / "dist")
    assert sorted(path.name for path in (tmp_path / "dist").iterdir()) == ["logs", "other.whl"]


@pytest.mark.parametrize("name", ["file", "file/dist", "file/a/dist", "x" * 300, "dangling", "loop", "busy"])
def test_folders_that_cannot_be_written_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("absent/below")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "logs").write_bytes(b"")  # in the place of our folder
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputFolderError) as caught:
        open_output(tmp_path / name).log("cp312-manylinux_x86_64")
    assert str(tmp_path / name) in caught.value.message
    assert "`output-dir`" in caught.value.remedy
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_rights(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (tmp_path / "closed").mkdir(mode=0o500)
    for name in ("closed", "closed/dist"):
        with pytest.raises(OutputFolderError, match="Permission denied"):
            open_output(tmp_path / name)


@pytest.mark.parametrize("name", ["closed", "closed/dist", "closed/a/dist"])
def test_a_folder_that_may_not_even_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """What root cannot try: the system refuses even to say whether the folder is there."""
    stat = os.stat

    def refusing(path: str | Path | int, **options: object) -> os.stat_result:
        if not isinstance(path, int) and "closed" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", refusing)
    with pytest.raises(OutputFolderError, match="Permission denied"):
        open_output(tmp_path / name)


@as_root
def test_everything_belongs_to_the_owner_of_the_surroundings(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    os.chown(workspace, SOMEBODY, SOMEBODY)
    output = open_output(workspace / "a" / "dist")
    (tmp_path / "demo.whl").write_bytes(b"wheel")
    output.deliver(tmp_path / "demo.whl")
    output.log("cp312-manylinux_x86_64")
    output.give(manifest(built()).write(output.path))
    assert owners(workspace) == {(SOMEBODY, SOMEBODY)}


@as_root
def test_what_others_put_there_is_not_given_away(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    os.chown(tmp_path / "dist", SOMEBODY, SOMEBODY)
    (tmp_path / "dist" / "roots").write_bytes(b"")
    open_output(tmp_path / "dist")
    assert (tmp_path / "dist" / "roots").stat().st_uid == 0
    assert (tmp_path / "dist" / "logs").stat().st_uid == SOMEBODY


def test_a_wheel_is_delivered_whole(tmp_path: Path) -> None:
    output = open_output(tmp_path / "dist")
    (tmp_path / "demo.whl").write_bytes(b"new")
    (output.path / "demo.whl").write_bytes(b"old")
    with (output.path / "demo.whl").open("rb") as reader:
        assert output.deliver(tmp_path / "demo.whl") == output.path / "demo.whl"
        assert reader.read() == b"old"  # replaced, not written into
    assert (output.path / "demo.whl").read_bytes() == b"new"
    assert sorted(path.name for path in output.path.iterdir()) == ["demo.whl", "logs"]


def test_a_delivery_that_fails_leaves_nothing(tmp_path: Path) -> None:
    output = open_output(tmp_path / "dist")
    (tmp_path / "demo.whl").write_bytes(b"new")
    (output.path / "demo.whl").mkdir()
    with pytest.raises(TargetError, match=r"^demo\.whl cannot be written into `.*/dist`: Is a directory\."):
        output.deliver(tmp_path / "demo.whl")
    with pytest.raises(TargetError, match="No such file"):
        output.deliver(tmp_path / "absent.whl")
    assert sorted(path.name for path in output.path.iterdir()) == ["demo.whl", "logs"]


def test_a_log_begins_empty(tmp_path: Path) -> None:
    output = open_output(tmp_path / "dist")
    log = output.log("cp312-manylinux_x86_64")
    log.write_text("from an earlier run")
    assert output.log("cp312-manylinux_x86_64").read_text() == ""
    assert log == output.path / "logs" / "cp312-manylinux_x86_64.log"


# --- links that the repository brought along --------------------------------------------------------------------------


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that the links of a repository lead to."""
    (tmp_path / "elsewhere").mkdir()
    victim = tmp_path / "elsewhere" / "victim"
    victim.write_text("as it was")
    return victim


def test_what_is_written_replaces_links_and_does_not_follow_them(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "dist/logs").mkdir(parents=True)
    for name in ("logs/cp312.log", ".demo.whl.partial", "demo.whl", f".{MANIFEST}.partial", MANIFEST):
        (tmp_path / "dist" / name).symlink_to(victim)
    (tmp_path / "demo.whl").write_bytes(b"wheel")
    output = open_output(tmp_path / "dist")
    output.log("cp312").write_text("what a build says")
    output.deliver(tmp_path / "demo.whl")
    output.give(manifest(built()).write(output.path))
    assert victim.read_text() == "as it was"
    assert not any(path.is_symlink() for path in output.path.rglob("*"))


@as_root
def test_a_link_is_given_and_not_what_it_leads_to(tmp_path: Path, victim: Path) -> None:
    output = replace(open_output(tmp_path / "dist"), owner=(SOMEBODY, SOMEBODY))
    (output.path / "link").symlink_to(victim)
    output.give(output.path / "link")
    assert victim.stat().st_uid == 0


def test_the_folder_of_the_logs_is_no_link(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/logs").symlink_to(victim.parent)
    with pytest.raises(OutputFolderError, match=r"`.*/dist/logs` is a symbolic link"):
        open_output(tmp_path / "dist")


@pytest.mark.parametrize("place", ["link", "link/below", "folder/link"])
def test_root_goes_through_no_link_of_the_repository(
    tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "workspace/folder").mkdir(parents=True)
    for name in ("link", "folder/link"):
        (tmp_path / "workspace" / name).symlink_to(victim.parent)
    (tmp_path / "way").symlink_to("workspace")
    monkeypatch.chdir(tmp_path / "way")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(OutputFolderError, match="link` is a symbolic link"):
        open_output(Path(place))
    with pytest.raises(OutputFolderError, match="link` is a symbolic link"):
        Reports(html=Path(place, "report.html")).require()
    with pytest.raises(OutputFolderError, match="link` is a symbolic link"):
        Reports(trace=Path(place, "trace.json")).require()
    assert list(victim.parent.iterdir()) == [victim]


def test_links_of_the_machine_are_followed(tmp_path: Path, victim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "workspace").mkdir()
    (tmp_path / "link").symlink_to(victim.parent)
    monkeypatch.chdir(tmp_path / "workspace")
    open_output(tmp_path / "link")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)  # whose builds can go everywhere by themselves
    (tmp_path / "workspace/link").symlink_to(victim.parent)
    assert (open_output(Path("link")).path / "logs").is_dir()


# --- the manifest -----------------------------------------------------------------------------------------------------


def test_the_manifest_is_stable_json(tmp_path: Path) -> None:
    reused = TargetRecord(
        identifier="cp313-manylinux_x86_64", state=TargetState.REUSED, wheel=wheel_record("cp312"),
        built_for="cp312-manylinux_x86_64",
    )  # fmt: skip
    path = manifest(built("cp312", warnings=("MW2xx something",)), reused, failed("cp39")).write(tmp_path)
    assert path == tmp_path / MANIFEST
    told = json.loads(path.read_text("utf-8"))
    assert told["schema"] == 1
    assert {"project", "version", "source", "platform", "toolchain", "manywheels", "seconds", "targets"} < set(told)
    assert [target["state"] for target in told["targets"]] == ["built", "reused", "failed"]
    assert told["targets"][0]["wheel"] == {
        "name": wheel_record("cp312").name, "size": 417_000, "sha256": "0" * 64, "glibc": "2.17", "libraries": [],
        "tags": list(wheel_record("cp312").tags),
        "left_out": [],
    }  # fmt: skip
    assert told["targets"][1]["built_for"] == "cp312-manylinux_x86_64"
    assert told["targets"][2]["failure"]["code"] == "MW101"
    assert told["targets"][2]["wheel"] is None


def test_a_shared_wheel_is_listed_once() -> None:
    shared = TargetRecord(identifier="cp313-manylinux_x86_64", state=TargetState.REUSED, wheel=wheel_record("cp312"))
    whole = manifest(built("cp312"), shared, built("cp39"), failed("cp310"))
    assert [wheel.name for wheel in whole.wheels] == [wheel_record("cp312").name, wheel_record("cp39").name]
    assert [record.identifier for record in whole.failures] == ["cp310-manylinux_x86_64"]


def test_a_manifest_that_cannot_be_put_in_place_leaves_no_part_of_it(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).mkdir()
    with pytest.raises(OSError, match=MANIFEST):
        manifest(built()).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST]


def test_a_wheels_record(tmp_path: Path) -> None:
    path = write_wheel(tmp_path, tags="cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64")
    record = describe_wheel(path, glibc="2.17", libraries=("libshout-1.so",))
    assert (record.name, record.size) == (path.name, path.stat().st_size)
    assert record.tags == ("cp39-abi3-manylinux2014_x86_64", "cp39-abi3-manylinux_2_17_x86_64")
    assert (record.glibc, record.libraries) == ("2.17", ("libshout-1.so",))
    assert len(record.sha256) == 64
