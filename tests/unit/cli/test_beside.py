"""What is said after a build of the files that lie beside its set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.cli.beside import look_at_others
from manywheels.wheels.manifest import Failure, Manifest, SealedFile
from unit.helpers import PLATFORM, built, failed, manifest, seal

SDIST = "demo-1.0.tar.gz"
NO_SDIST = Failure(code="MW113", stage="sdist", problem="No licence.", remedy="Correct it.")


def wheel(tag: str, version: str = "1.0", platform: str = PLATFORM) -> str:
    return f"demo-{version}-{tag}-{platform}.whl"


@pytest.fixture
def whole(tmp_path: Path) -> Manifest:
    """Return the manifest of a folder with one wheel."""
    return manifest(seal(tmp_path, built("cp312")))


def notes(found: Manifest, folder: Path, *names: str, clear: bool = False) -> list[str]:
    for name in names:
        (folder / name).touch()
    return [note.replace(str(folder), "dist") for note in look_at_others(found, folder, clear=clear)]


def test_nothing_is_said_where_nothing_else_lies(whole: Manifest, tmp_path: Path) -> None:
    assert notes(whole, tmp_path, "other-1.0.tar.gz", "notes.txt") == []


def test_it_is_said_of_each_kind_what_publish_does_with_it(whole: Manifest, tmp_path: Path) -> None:
    stray, old = wheel("cp313-cp313"), wheel("cp312-cp312", "0.9")
    found = notes(whole, tmp_path, stray, SDIST, old, "demo-0.9.tar.gz")
    beginning = "not of this run, but in `dist`: "
    assert all(note.startswith(beginning) for note in found)
    assert [note.removeprefix(beginning) for note in found] == [
        f"`{stray}`; `publish` refuses files of this version that are not in the set (`--clear` removes it)",
        f"`{SDIST}`; `publish` sends an sdist of this version with the set (`--clear` removes it)",
        f"`{old}`, `demo-0.9.tar.gz`; `publish` leaves files of other versions (`--clear` removes them)",
    ]


@pytest.mark.parametrize("why", ["another is sealed", "the set's own failed", "there are two"])
def test_an_sdist_that_publish_refuses(whole: Manifest, tmp_path: Path, why: str) -> None:
    names = [SDIST]
    if why == "another is sealed":
        names = ["Demo-1.0.tar.gz"]
        whole = replace(whole, sdist=SealedFile(name=SDIST, size=1, sha256="0" * 64))
    elif why == "the set's own failed":
        whole = replace(whole, sdist_failure=NO_SDIST)
    else:
        names.append("Demo-1.0.tar.gz")
    (note,) = notes(whole, tmp_path, *names)
    assert "`publish` refuses" in note


def test_few_names_are_given_however_many_there_are(whole: Manifest, tmp_path: Path) -> None:
    (note,) = notes(whole, tmp_path, *(wheel("cp312-cp312", f"0.{number}") for number in range(30)))
    assert "and 28 more; " in note
    assert len(note) < 300


@pytest.mark.parametrize("tags", ["cp313-cp313", "cp311-abi3"])
def test_an_older_wheel_of_a_failed_target_is_named(tmp_path: Path, tags: str) -> None:
    found = manifest(seal(tmp_path, built("cp312")), failed("cp313"))
    (note,) = notes(found, tmp_path, wheel(tags))
    assert note == (
        f"`dist` has an older wheel of a failed target: `{wheel(tags)}`. Remove it, or correct the build and run it "
        "again"
    )


@pytest.mark.parametrize(
    "other",
    [
        wheel("cp311-cp311"), wheel("cp313-cp313t"), wheel("cp314-abi3"),
        wheel("cp313-cp313", platform="musllinux_1_2_x86_64"), wheel("cp313-cp313", platform="manylinux_2_28_aarch64"),
    ],
)  # fmt: skip
def test_other_wheels_are_not_taken_for_those_of_a_failed_target(tmp_path: Path, other: str) -> None:
    found = manifest(seal(tmp_path, built("cp312")), failed("cp313"))
    (note,) = notes(found, tmp_path, other)
    assert note.endswith(f"`{other}`; `publish` refuses files of this version that are not in the set")


def test_older_wheels_are_named_though_all_targets_failed(tmp_path: Path) -> None:
    found = replace(manifest(failed("cp312"), failed("cp313")), version=None)
    note, other = notes(found, tmp_path, wheel("cp312-cp312"), wheel("cp313-cp313"), "demo-0.9.tar.gz")
    assert note.startswith("`dist` has older wheels of failed targets: ")
    assert note.endswith(". Remove them, or correct the build and run it again")
    assert other.endswith("`demo-0.9.tar.gz`; `publish` refuses a set without a wheel")


def test_what_lies_there_is_removed_where_asked_for(whole: Manifest, tmp_path: Path) -> None:
    others = [wheel("cp313-cp313"), SDIST, wheel("cp312-cp312", "0.9")]
    (note,) = notes(whole, tmp_path, *others, "other-1.0.tar.gz", clear=True)
    assert note.startswith("removed from `dist`: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == [whole.wheels[0].name, "other-1.0.tar.gz"]
