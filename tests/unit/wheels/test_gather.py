"""Gathering: sets of several jobs become one, or it is said what is missing, changed, added or foreign."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.cli.main import main
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, SetMismatch, TargetError, WheelFileError
from manywheels.wheels.gather import Gathered, gather, merge, require_digest
from manywheels.wheels.manifest import Failure, Manifest, Shard, TargetRecord, TargetState, read_manifest
from manywheels.wheels.output import REPORT, OutputFolder, open_output
from manywheels.wheels.sources import SetSource
from unit.helpers import built, failed, manifest, seal, wheel_record
from unit.specialfiles import MAKERS, ending, sparse

WHOLE = tuple(f"{tag}-manylinux_x86_64" for tag in ("cp39", "cp310", "cp311", "cp312"))


def write_set(folder: Path, *records: TargetRecord, **changes: Any) -> Manifest:
    """Write a set of wheels whose content is their name, with its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    sealed = [seal(folder, record) if record.wheel else record for record in records]
    written = replace(manifest(*sealed), **{"planned": tuple(record.identifier for record in records), **changes})
    written.write(folder)
    return written


def gathered(tmp_path: Path, *names: str, digests: tuple[str, ...] = ()) -> Gathered:
    sources = [SetSource(folder=tmp_path / name, name=name) for name in names]
    return gather(sources, open_output(tmp_path / "dist"), digests=digests)


def problems(tmp_path: Path, *names: str, **options: Any) -> list[str]:
    """Return the problems of gathering, of which there must be some; nothing is in the output folder then."""
    before = sorted(tmp_path.glob("dist/*.whl"))
    with pytest.raises(SetMismatch) as caught:
        gathered(tmp_path, *names, **options)
    assert sorted(tmp_path.glob("dist/*.whl")) == before
    assert not (tmp_path / "dist" / "manywheels.json").exists()
    assert caught.value.remedy
    return caught.value.message.split("\n")[1:]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of a plan of four."""
    write_set(tmp_path / "a", built("cp39"), built("cp311"), shard=Shard(index=1, count=2), planned=WHOLE)
    write_set(tmp_path / "b", built("cp310"), built("cp312"), shard=Shard(index=2, count=2), planned=WHOLE)
    return tmp_path


def test_shards_become_the_whole(shards: Path) -> None:
    found = gathered(shards, "b", "a").manifest
    assert tuple(record.identifier for record in found.targets) == WHOLE == found.planned
    assert found.shard is None
    assert found == read_manifest(shards / "dist")
    for wheel in found.wheels:
        assert hashlib.sha256((shards / "dist" / wheel.name).read_bytes()).hexdigest() == wheel.sha256


NO_SDIST = Failure(code="MW113", stage="sdist", problem="No licence.", remedy="Mend it.")


def test_a_set_whose_sdist_failed_is_refused(shards: Path) -> None:
    write_set(shards / "a", built("cp39"), built("cp311"), shard=Shard(index=1, count=2), planned=WHOLE,
              sdist_failure=NO_SDIST)  # fmt: skip
    assert problems(shards, "a", "b") == ["`a` lacks its sdist: No licence. (MW113)"]


def test_a_merged_manifest_keeps_why_there_is_no_sdist(shards: Path) -> None:
    first, second = (read_manifest(shards / name) for name in ("a", "b"))
    for parts in ([replace(first, sdist_failure=NO_SDIST), second], [first, replace(second, sdist_failure=NO_SDIST)]):
        assert merge(parts).sdist_failure == NO_SDIST


def test_files_of_the_release_before_are_left(shards: Path) -> None:
    for name in ("demo-0.9-cp39-cp39-manylinux_2_28_x86_64.whl", "demo-0.9.tar.gz", "other-1.0.tar.gz"):
        (shards / "a" / name).touch()
    found = gathered(shards, "a", "b")
    assert {wheel.name.split("-")[1] for wheel in found.manifest.wheels} == {"1.0"}
    assert found.manifest.sdist is None
    assert found.left == (
        "demo-0.9-cp39-cp39-manylinux_2_28_x86_64.whl of `a`", "demo-0.9.tar.gz of `a`", "other-1.0.tar.gz of `a`",
    )  # fmt: skip


OLDER = ("demo-0.9-cp39-cp39-manylinux_2_28_x86_64.whl", "demo-0.9.tar.gz")


def test_files_of_the_release_before_stay_in_the_output_folder(shards: Path) -> None:
    for name in OLDER:
        content(shards, f"dist/{name}", b"")
    found = gathered(shards, "a", "b")
    assert found.left == ()
    assert found.of_other_versions == OLDER
    assert f"  left there, as they are of other versions: `{OLDER[0]}`, `{OLDER[1]}`" in found.describe(shards / "dist")


def test_a_set_is_gathered_into_its_own_folder_beside_the_release_before(tmp_path: Path) -> None:
    write_set(tmp_path / "dist", built("cp312"))
    for name in OLDER:
        (tmp_path / "dist" / name).touch()
    elsewhere(tmp_path, mac())
    sources = [SetSource(folder=tmp_path / "dist", name="dist"),
               SetSource(folder=tmp_path / "cibw", name="cibw", foreign=True)]  # fmt: skip
    for _ in range(2):
        found = gather(sources, open_output(tmp_path / "dist"))
        assert (found.left, found.of_other_versions) == ((), OLDER)
        assert [wheel.name for wheel in found.manifest.foreign] == [mac()]


def test_what_others_built_can_be_gathered_again_after_another_build(tmp_path: Path) -> None:
    """The build has written a manifest without it, and the first gathering's copy still lies there."""
    sources = [SetSource(folder=tmp_path / "dist", name="dist"),
               SetSource(folder=tmp_path / "cibw", name="cibw", foreign=True)]  # fmt: skip
    elsewhere(tmp_path, mac())
    for _ in range(2):
        write_set(tmp_path / "dist", built("cp312"))
        found = gather(sources, open_output(tmp_path / "dist"))
        assert [(wheel.name, wheel.origin) for wheel in found.manifest.foreign] == [(mac(), "cibw")]
    write_set(tmp_path / "dist", built("cp312"))
    (tmp_path / "dist" / mac()).write_bytes(b"another")
    with pytest.raises(SetMismatch, match=rf"`dist`: `{mac()}` is not in the manifest"):
        gather(sources, open_output(tmp_path / "dist"))


@pytest.mark.parametrize("name", ["planted-0.9-py3-none-any.whl", "demo-1.0-py3-none-any.whl", "demo.whl"])
def test_only_other_versions_of_the_project_may_stay_there(shards: Path, name: str) -> None:
    content(shards, f"dist/{name}", b"")
    assert problems(shards, "a", "b") == [
        f"the output folder `{shards}/dist` has `{name}`, which is in none of the sets"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["other-1.0.tar.gz", "demo-1.1.tar.gz"])
def test_an_sdist_alone_is_of_the_release(shards: Path, name: str) -> None:
    (shards / "c").mkdir()
    (shards / "c" / name).touch()
    assert problems(shards, "a", "b", "c") == [f"`c`: `{name}` is no sdist of the wheels' project and version"]


def test_the_order_of_the_sets_does_not_matter(shards: Path) -> None:
    assert gathered(shards, "a", "b").manifest.digest == gathered(shards, "b", "a").manifest.digest


def test_one_set_stays_as_it_is(tmp_path: Path) -> None:
    written = write_set(tmp_path / "dist", built("cp312"))
    assert gathered(tmp_path, "dist").manifest == written


def test_sets_of_other_machines_are_put_together(tmp_path: Path) -> None:
    other = replace(
        built("cp312"), identifier="cp312-manylinux_aarch64", wheel=wheel_record(platform="manylinux_2_17_aarch64")
    )
    write_set(tmp_path / "a", built("cp312"))
    write_set(tmp_path / "b", other, platform="manylinux_2_28_aarch64")
    found = gathered(tmp_path, "a", "b").manifest
    assert found.platform == "manylinux_2_28_aarch64, manylinux_2_28_x86_64"
    assert len(found.wheels) == 2


def test_a_wheel_that_two_sets_share_is_there_once(tmp_path: Path) -> None:
    shared = wheel_record("cp39")
    write_set(tmp_path / "a", replace(built("cp39"), wheel=shared))
    write_set(tmp_path / "b", replace(built("cp310"), wheel=shared))
    assert len(gathered(tmp_path, "a", "b").manifest.wheels) == 1


# --- what is amiss ----------------------------------------------------------------------------------------------------


def name_of(tag: str) -> str:
    return wheel_record(tag).name


def content(at: Path, name: str, data: bytes) -> int:
    (at / name).parent.mkdir(exist_ok=True)
    return (at / name).write_bytes(data)


def make_link(at: Path) -> None:
    wheel = at / "a" / name_of("cp39")
    wheel.replace(at / "elsewhere")
    wheel.symlink_to(at / "elsewhere")


def second(at: Path, *records: TargetRecord, **changes: Any) -> None:
    """Write the second shard anew."""
    for wheel in (at / "b").glob("*.whl"):
        wheel.unlink()
    whole = records or (built("cp310"), built("cp312"))
    write_set(at / "b", *whole, **{"shard": Shard(index=2, count=2), "planned": WHOLE, **changes})


CP38, CP39, CP310, CP314 = (name_of(tag) for tag in ("cp38", "cp39", "cp310", "cp314"))
SDIST = "demo-1.0.tar.gz"
AMISS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a swapped wheel": (lambda at: content(at, f"a/{CP39}", CP39.upper().encode()), f"`a`: `{CP39}` has the sha256"),
    "a wheel of another size": (lambda at: content(at, f"a/{CP39}", b"evil"), f"`a`: `{CP39}` has 4 bytes; the man"),
    "a removed wheel": (lambda at: (at / "a" / CP39).unlink(), f"`a`: `{CP39}` of the manifest is missing"),
    "an added wheel": (lambda at: content(at, f"a/{CP314}", b""), f"`a`: `{CP314}` is not in the manifest"),
    "a link": (make_link, f"`a`: `{CP39}` is not a regular file"),
    "no manifest": (lambda at: (at / "a/manywheels.json").unlink(), f"`a`: `{CP39}` has no manifest beside it"),
    "less than planned": (
        lambda at: second(at, built("cp310")),
        "target `cp312-manylinux_x86_64` of the plan is missing",
    ),
    "a failed target": (
        lambda at: second(at, built("cp310"), failed("cp312")),
        "the target `cp312-manylinux_x86_64` has no wheel: spam.c:9:5: error: unknown type name (MW101)",
    ),
    "another source": (lambda at: second(at, source="sha256:1"), "they differ in `source`: `a` has sha256:0"),
    "another version": (lambda at: second(at, version="2"), "they differ in `version`: `a` has 1.0, `b` has 2"),
    "another project": (lambda at: second(at, project="x"), "they differ in `project`: `a` has demo, `b` has x"),
    "another program": (lambda at: second(at, manywheels="9"), "they differ in `manywheels`"),
    "two sdists": (
        lambda at: (content(at, f"a/{SDIST}", b"1"), content(at, f"b/{SDIST}", b"2")),
        f"`{SDIST}` is not the same in `a`, `b`",
    ),
    "a wheel in the way": (lambda at: content(at, f"dist/{CP38}", b""), f"has `{CP38}`, which is in none of the sets"),
}


@pytest.mark.parametrize("amiss", AMISS)
def test_what_is_amiss_is_named(shards: Path, amiss: str) -> None:
    spoil, told = AMISS[amiss]
    spoil(shards)
    found = problems(shards, "a", "b")
    assert any(told in problem for problem in found), found


def test_a_missing_shard_is_named(shards: Path) -> None:
    found = problems(shards, "a")
    assert "the shard 2/2 of the plan for manylinux_2_28_x86_64 is missing" in found
    assert "the target `cp310-manylinux_x86_64` of the plan is missing" in found


def test_a_python_that_was_missing_is_named_unless_that_is_allowed(shards: Path) -> None:
    absent = TargetRecord(identifier="cp312-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    second(shards, built("cp310"), absent)
    sources = [SetSource(folder=shards / name, name=name) for name in ("a", "b")]
    with pytest.raises(SetMismatch) as caught:
        gather(sources, open_output(shards / "dist"))
    assert "their Pythons were missing: cp312-manylinux_x86_64" in caught.value.message
    assert caught.value.remedy.startswith("Build again with these Pythons")
    assert not list((shards / "dist").glob("*.whl"))

    found = gather(sources, open_output(shards / "dist"), allow_missing=True)
    assert "  warning: planned, but not built" in found.describe(shards / "dist")
    assert "cp312-manylinux_x86_64" in found.describe(shards / "dist")


def test_a_missing_architecture_is_named(tmp_path: Path) -> None:
    """A job of a matrix builds one architecture's targets, and names the whole plan."""
    plan = ("cp312-manylinux_x86_64", "cp312-manylinux_aarch64")
    write_set(tmp_path / "a", built("cp312"), shard=Shard(index=1, count=1, arch="x86_64"), planned=plan)
    assert problems(tmp_path, "a") == ["the target `cp312-manylinux_aarch64` of the plan is missing"]
    other = replace(
        built("cp312"), identifier="cp312-manylinux_aarch64", wheel=wheel_record(platform="manylinux_2_17_aarch64")
    )
    arm = Shard(index=1, count=2, arch="aarch64")
    write_set(tmp_path / "b", other, platform="manylinux_2_28_aarch64", shard=arm, planned=plan[::-1])
    (problem,) = problems(tmp_path, "a", "b")
    assert problem.startswith("the shard aarch64:2/2 of the plan for ")
    write_set(tmp_path / "b", other, platform="manylinux_2_28_aarch64", shard=replace(arm, count=1), planned=plan[::-1])
    assert len(gathered(tmp_path, "a", "b").manifest.wheels) == 2


def test_the_same_set_twice_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    write_set(tmp_path / "b", built("cp312"))
    assert problems(tmp_path, "a", "b") == ["the target `cp312-manylinux_x86_64` is in 2 sets"]


def test_all_problems_are_told_at_once(shards: Path) -> None:
    for tag, folder in (("cp39", "a"), ("cp310", "b")):
        (shards / folder / name_of(tag)).write_bytes(b"evil")
    assert len(problems(shards, "a", "b")) == 2


def test_without_any_manifest_nothing_is_gathered(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert "none of `a` has a manifest (manywheels.json)" in problems(tmp_path, "a")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WheelFileError, match="`nowhere`"):
        gathered(tmp_path, "nowhere")


# --- digests ----------------------------------------------------------------------------------------------------------


def test_the_right_digests_are_taken(shards: Path) -> None:
    digests = tuple(read_manifest(shards / name).digest for name in ("a", "b"))
    assert gathered(shards, "a", "b", digests=digests).manifest.planned == WHOLE


def test_another_manifest_is_refused_by_its_digest(shards: Path) -> None:
    right = read_manifest(shards / "a").digest
    found = problems(shards, "a", "b", digests=(right, "1" * 64))
    assert any(problem.startswith("`b`: its manifest has the sha256") for problem in found)
    assert f"no manifest has the sha256 {'1' * 64} of `manifest-digest`" in found


def test_one_set_is_held_to_its_digest(shards: Path) -> None:
    require_digest(shards / "a", (read_manifest(shards / "a").digest,))
    with pytest.raises(SetMismatch, match=r"a`: its manifest has the sha256 .* which is none of `manifest-digest`"):
        require_digest(shards / "a", ("1" * 64,))
    (shards / "a" / "manywheels.json").unlink()
    with pytest.raises(SetMismatch, match="a` has no manifest"):
        require_digest(shards / "a", ("1" * 64,))


# --- sdists and what else lies there ----------------------------------------------------------------------------------


def test_sdists_come_along_also_from_a_folder_of_their_own(shards: Path) -> None:
    (shards / "sdist").mkdir()
    (shards / "sdist" / "demo-1.0.tar.gz").write_bytes(b"sdist")
    gathered(shards, "a", "sdist", "b")
    assert (shards / "dist" / "demo-1.0.tar.gz").read_bytes() == b"sdist"


def test_other_files_are_left_behind_by_name(shards: Path) -> None:
    (shards / "a" / "notes.txt").write_text("x")
    (shards / "a" / "logs").mkdir()
    found = gathered(shards, "a", "b")
    assert found.left == ("notes.txt of `a`",)
    assert "left behind: notes.txt of `a`" in found.describe(shards / "dist")
    assert not (shards / "dist" / "notes.txt").exists()


# --- the command line -------------------------------------------------------------------------------------------------


def test_on_the_command_line(shards: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(shards)
    assert main(["gather", "a", "b", "--output-dir", "all"]) == 0
    told = capsys.readouterr().out
    assert "demo 1.0: 4 wheels in all" in told
    assert read_manifest(shards / "all").digest in told
    (shards / "a" / name_of("cp39")).write_bytes(b"evil")
    assert main(["gather", "a", "b", "--output-dir", "again"]) == 3
    assert "error MW310" in capsys.readouterr().err


def test_a_manifest_keeps_plan_and_shard(tmp_path: Path) -> None:
    written = replace(manifest(built()), planned=WHOLE, shard=Shard(index=2, count=3))
    written.write(tmp_path)
    assert read_manifest(tmp_path) == written


@pytest.mark.parametrize(
    "shard", ['{"index": 0, "count": 2}', '{"index": 3, "count": 2}', '{"index": 1}', "[]", '"1/2"']
)
def test_a_shard_that_cannot_be_is_refused(tmp_path: Path, shard: str) -> None:
    text = manifest(built()).serialized().decode().replace('"shard": null', f'"shard": {shard}')
    (tmp_path / "manywheels.json").write_text(text)
    with pytest.raises(WheelFileError):
        read_manifest(tmp_path)


def test_merging_one_changes_nothing() -> None:
    assert merge([manifest(built())]) == manifest(built())


# --- sets that were made to harm: any job of the run can upload one ---------------------------------------------------


def forged(at: Path, **changes: object) -> None:
    """Write the second shard's manifest with other values at its top."""
    path = at / "b" / "manywheels.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forged_target(at: Path, **changes: object) -> None:
    first, *others = json.loads((at / "b" / "manywheels.json").read_text())["targets"]
    forged(at, targets=[first | changes, *others])


def forged_wheel(at: Path, **changes: object) -> None:
    first = json.loads((at / "b" / "manywheels.json").read_text())["targets"][0]
    forged_target(at, wheel=first["wheel"] | changes)


def in_place_of(name: str, kind: str) -> Callable[[Path], None]:
    """Return what puts another kind of file where the second set has one, or could have one."""

    def spoil(at: Path) -> None:
        (at / "b" / name).unlink(missing_ok=True)
        MAKERS[kind](at / "b" / name)

    return spoil


def move_away(file: Path) -> None:
    file.symlink_to(file.replace(file.parent.parent / "real"))


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


FORGED: dict[str, Callable[[Path], object]] = {
    "a path": lambda at: forged_wheel(at, name="../evil.whl"),
    "an absolute path": lambda at: forged_wheel(at, name="/etc/evil.whl"),
    "no wheel's name": lambda at: forged_wheel(at, name="evil.whl"),
    "no name": lambda at: forged_wheel(at, name=".."),
    "a log elsewhere": lambda at: forged_target(at, log="logs/../../../etc/shadow"),
    "an absolute log": lambda at: forged_target(at, log="/etc/shadow"),
    "a log that is no file": lambda at: forged_target(at, log="logs/.."),
    "a test's log elsewhere": lambda at: forged_target(
        at, tests={"passed": True, "seconds": 1, "log": "../../root/.netrc"}
    ),
    "shards without end": lambda at: forged(at, shard={"index": 2, "count": 10**9}),
    "more seconds than there are": lambda at: forged(at, seconds=10**400),
    "a size without bounds": lambda at: forged_wheel(at, size=10**400),
    "nested lists": lambda at: (at / "b/manywheels.json").write_text(nested(200_000)),
    "a manifest of a gibibyte": lambda at: sparse(at / "b/manywheels.json", 1 << 30),
    "a link": lambda at: move_away(at / "b/manywheels.json"),
    "a FIFO": in_place_of("manywheels.json", "fifo"),
    "no UTF-8": lambda at: (at / "b/manywheels.json").write_bytes(b'{"schema": 1, "project": "\xff"}'),
}  # fmt: skip


@pytest.mark.parametrize("forge", FORGED)
def test_a_forged_manifest_is_refused_and_leads_nowhere(shards: Path, forge: str) -> None:
    FORGED[forge](shards)
    with ending(), pytest.raises(WheelFileError) as caught:
        gathered(shards, "a", "b")
    assert "manywheels.json" in caught.value.message
    assert len(caught.value.message) < 2_000
    assert sorted(shards.glob("dist/*.whl")) == []


def two_records(at: Path) -> None:
    first, second_, *_ = json.loads((at / "b" / "manywheels.json").read_text())["targets"]
    forged(at, targets=[first, second_ | {"wheel": first["wheel"] | {"sha256": "1" * 64}}])


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a FIFO as a wheel": (in_place_of(CP310, "fifo"), "is not a regular file"),
    "a device as a wheel": (in_place_of(CP310, "device"), "is not a regular file"),
    "a folder as a wheel": (in_place_of(CP310, "folder"), "is not a regular file"),
    "a wheel of a tebibyte": (lambda at: sparse(at / "b" / CP310), "has 1099511627776 bytes"),
    "a FIFO as an sdist": (in_place_of(SDIST, "fifo"), "is not a regular file"),
    "a device as an sdist": (in_place_of(SDIST, "device"), "is not a regular file"),
    "a link as an sdist": (lambda at: (at / "b" / SDIST).symlink_to("/etc/passwd"), "is not a regular file"),
    "one wheel with two digests": (two_records, "has several records of one file"),
    "a target that another set has": (
        lambda at: second(at, built("cp310"), built("cp312"), built("cp39")),
        "the target `cp39-manylinux_x86_64` is in 2 sets",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_what_a_set_should_not_hold_is_refused(shards: Path, attack: str) -> None:
    spoil, told = HOSTILE[attack]
    spoil(shards)
    with ending():
        found = problems(shards, "a", "b")
    assert any(told in problem for problem in found), found


def test_what_others_wrote_beside_the_wheels_stays_there(shards: Path) -> None:
    """Ledgers and reports of a set's own are no part of the whole, nor what any link leads to."""
    for name in ("manywheels-ledger.json", REPORT, "notes"):
        (shards / "b" / name).write_text("forged")
    (shards / "b" / "loop").symlink_to("loop")
    (shards / "b" / "link").symlink_to("/etc")
    found = gathered(shards, "a", "b")
    assert found.left == ("link of `b`", "loop of `b`", "notes of `b`")
    assert sorted(path.name for path in (shards / "dist").iterdir() if path.suffix != ".whl") == [
        "logs", "manywheels.json"
    ]  # fmt: skip


def test_no_more_problems_are_told_than_anybody_reads(shards: Path) -> None:
    second(shards, built("cp310"), built("cp312"), planned=tuple(f"{'x' * 5_000}{number}" for number in range(3_000)))
    found = problems(shards, "a", "b")
    assert len(found) == 51
    assert all(len(problem) < 1_100 for problem in found)
    assert re.fullmatch(r"and \d+ more", found[-1])


def test_a_wheel_that_is_swapped_while_sets_are_gathered(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is copied is what was looked at, though the folder belongs to somebody who goes on writing to it."""
    deliver = OutputFolder.deliver

    def swap(output: OutputFolder, file: Path, **more: Any) -> Path:
        file.write_bytes(b"evil")
        return deliver(output, file, **more)

    monkeypatch.setattr(OutputFolder, "deliver", swap)
    with pytest.raises(TargetError, match="the verified file had"):
        gathered(shards, "a", "b")
    assert not list((shards / "dist").glob("*.whl"))
    assert not (shards / "dist" / "manywheels.json").exists()


def test_gathering_hears_of_the_end(shards: Path) -> None:
    """While it reads, not only when it copies: one of the wheels is none that would be copied."""
    (shards / "a" / CP39).write_bytes(CP39.upper().encode())
    stopped = Cancellation()
    stopped.request()
    sources = [SetSource(folder=shards / name, name=name) for name in ("a", "b")]
    with pytest.raises(Cancelled):
        gather(sources, open_output(shards / "dist"), cancellation=stopped)
    assert not list((shards / "dist").glob("*.whl"))


# --- what others built ------------------------------------------------------------------------------------------------


def elsewhere(tmp_path: Path, *names: str, folder: str = "cibw") -> None:
    """Write files of other builders; their content is their name."""
    (tmp_path / folder).mkdir(exist_ok=True)
    for name in names:
        (tmp_path / folder / name).write_bytes(name.encode())


def gathered_with(tmp_path: Path, **options: Any) -> Gathered:
    sources = [
        SetSource(folder=tmp_path / "a", name="a"),
        SetSource(folder=tmp_path / "cibw", name="cibw", foreign=True),
    ]
    return gather(sources, open_output(tmp_path / "dist"), **options)


def refused_with(tmp_path: Path, **options: Any) -> str:
    with pytest.raises(SetMismatch) as caught:
        gathered_with(tmp_path, **options)
    assert not (tmp_path / "dist" / "manywheels.json").exists()
    return caught.value.message


def mac(version: str = "1.0") -> str:
    project = name_of("cp312").partition("-")[0]
    return f"{project}-{version}-cp312-cp312-macosx_11_0_arm64.whl"


def own_version() -> str:
    return name_of("cp312").split("-")[1]


def test_wheels_of_others_are_sealed_with_their_origin(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    elsewhere(tmp_path, mac(own_version()))
    found = gathered_with(tmp_path)
    (wheel,) = found.manifest.foreign
    assert (wheel.name, wheel.origin) == (mac(own_version()), "cibw")
    assert wheel.sha256 == hashlib.sha256(wheel.name.encode()).hexdigest()
    assert (tmp_path / "dist" / wheel.name).read_bytes() == wheel.name.encode()
    assert "1 wheel built elsewhere" in found.describe(tmp_path / "dist")
    assert read_manifest(tmp_path / "dist") == found.manifest


def test_a_set_with_wheels_of_others_can_be_gathered_again(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    elsewhere(tmp_path, mac(own_version()))
    first = gathered_with(tmp_path).manifest
    assert gathered(tmp_path, "dist").manifest == first
    (tmp_path / "dist" / first.foreign[0].name).write_bytes(b"changed")
    with pytest.raises(SetMismatch, match="the manifest says"):
        gathered(tmp_path, "dist")


@pytest.mark.parametrize("version", ["9.9", "0.1"])
def test_a_wheel_of_another_version_is_refused_by_name(tmp_path: Path, version: str) -> None:
    write_set(tmp_path / "a", built("cp312"))
    elsewhere(tmp_path, mac(version))
    assert f"`{mac(version)}` is of " in refused_with(tmp_path)


def of_another_version(tmp_path: Path) -> None:
    elsewhere(tmp_path, mac("0.9"))


def no_distribution(tmp_path: Path) -> None:
    elsewhere(tmp_path)


def an_sdist_of_another_version(tmp_path: Path) -> None:
    elsewhere(tmp_path, "demo-0.9.tar.gz")


def a_link_among_them(tmp_path: Path) -> None:
    elsewhere(tmp_path)
    (tmp_path / "cibw" / mac(own_version())).symlink_to("/etc/passwd")


@pytest.mark.parametrize("spoil", [of_another_version, no_distribution, an_sdist_of_another_version, a_link_among_them])
def test_heading_and_remedy_fit_where_only_files_of_others_are_amiss(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    write_set(tmp_path / "a", built("cp312"))
    spoil(tmp_path)
    with pytest.raises(SetMismatch) as caught:
        gathered_with(tmp_path)
    heading, *told = caught.value.message.split("\n")
    assert heading == "What others built does not belong to this release:"
    assert len(told) == 1
    assert told[0].startswith("`cibw`")
    assert caught.value.remedy == "Build these files from the same commit, or leave them out of `foreign`."


def test_both_remedies_are_given_where_the_set_is_not_whole_either(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"), failed("cp313"))
    elsewhere(tmp_path, mac("0.9"))
    with pytest.raises(SetMismatch, match="not those that were built, or not all of them:") as caught:
        gathered_with(tmp_path)
    assert "Gather the complete, unchanged output" in caught.value.remedy
    assert "leave them out of `foreign`" in caught.value.remedy


@pytest.mark.parametrize(
    ("is_foreign", "cure"), [(True, "`foreign` takes folders"), (False, "Name folders that `build` wrote into")]
)
def test_a_file_in_place_of_a_folder_is_called_one(tmp_path: Path, is_foreign: bool, cure: str) -> None:  # noqa: FBT001
    (tmp_path / mac()).touch()
    source = SetSource(folder=tmp_path / mac(), name=mac(), foreign=is_foreign)
    with pytest.raises(WheelFileError) as caught:
        gather([source], open_output(tmp_path / "dist"))
    assert caught.value.message == f"`{mac()}` is no folder."
    assert cure in caught.value.remedy


def test_an_sdist_beside_the_set_is_no_file_of_others(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    (tmp_path / "a" / SDIST).write_bytes(b"damaged")
    elsewhere(tmp_path, mac(own_version()))

    def inspect(files: Any, _: Any) -> list[str]:
        return [f"`{path.name}` is damaged" for path in files if path.suffix != ".whl"]

    assert refused_with(tmp_path, inspect=inspect).startswith("The gathered wheels are not those that were built")


def test_a_set_is_not_taken_for_wheels_of_others(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    write_set(tmp_path / "cibw", built("cp311"))
    assert "gather it as a set" in refused_with(tmp_path)


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    (tmp_path / "cibw").mkdir()
    assert "`cibw` has neither a wheel nor an sdist" in refused_with(tmp_path)


def test_what_is_found_in_them_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    elsewhere(tmp_path, mac(own_version()))
    asked: list[tuple[int, int]] = []

    def inspect(files: Any, wheels: Any) -> list[str]:
        asked.append((len(files), len(wheels)))
        return ["it is damaged"]

    assert "it is damaged" in refused_with(tmp_path, inspect=inspect)
    assert asked == [(1, 1)]


def test_an_sdist_of_others_is_sealed(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    project = name_of("cp312").partition("-")[0]
    elsewhere(tmp_path, f"{project}-{own_version()}.tar.gz", mac(own_version()))
    sealed = gathered_with(tmp_path).manifest.sdist
    assert sealed is not None
    assert sealed.origin == "cibw"


def test_two_sdists_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "a", built("cp312"))
    project, version = name_of("cp312").partition("-")[0], own_version()
    (tmp_path / "a" / f"{project}-{version}.tar.gz").write_bytes(b"one")
    elsewhere(tmp_path, f"{project}-{version}.tar.gz")
    assert "is not the same in" in refused_with(tmp_path)
