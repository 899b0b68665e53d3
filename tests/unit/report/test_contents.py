"""What is in wheels, as a tree, with equal wheels shown once."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.report.contents import contents_of, described, digests, tree
from unit.helpers import built, manifest, seal, write_wheel


@pytest.mark.parametrize(
    ("files", "lines"),
    [
        ({}, []),
        ({"a.py": 10}, ["a.py  10 bytes"]),
        (
            {"spam/__init__.py": 1, "spam/core/x.so": 2048, "spam-1.0.dist-info/RECORD": 3},
            [
                "spam/", "  __init__.py  1 bytes", "  core/", "    x.so  2.0 kB",
                "spam-1.0.dist-info/", "  RECORD  3 bytes",
            ],
        ),
        ({"a/b/c": 1, "a/d/c": 1}, ["a/", "  b/", "    c  1 bytes", "  d/", "    c  1 bytes"]),
    ],
)  # fmt: skip
def test_a_tree(files: dict[str, int], lines: list[str]) -> None:
    names = [line.split("  ")[0] if not line.startswith(" ") else line.rsplit("  ", 1)[0] for line in tree(files)]
    wanted = [line.split("  ")[0] if not line.startswith(" ") else line.rsplit("  ", 1)[0] for line in lines]
    assert sorted(names) == sorted(wanted)


def test_a_tree_of_many_files_says_how_many_more_there_are() -> None:
    lines = list(tree({f"f{number:04}": 1 for number in range(1000)}))
    assert lines[-1] == "and 700 more files"


def test_a_hostile_name_makes_no_long_tree() -> None:
    deep, wide = "/".join(["d"] * 30_000), "x" * 60_000
    lines = list(tree({f"{deep}/{number}": 1 for number in range(200)} | {wide: 1, f"{wide}/{wide}": 1}))
    assert sum(map(len, lines)) < 300 * 400


def test_wheels_that_are_alike_are_shown_once(tmp_path: Path) -> None:
    records = [seal(tmp_path, built(tag)) for tag in ("cp311", "cp312")]
    for record in records:
        assert record.wheel is not None
        write_wheel(tmp_path, tags=record.wheel.name.removeprefix("demo-1.0-").removesuffix(".whl"))
    (found,) = contents_of(manifest(*records), tmp_path, Cancellation())
    assert len(found.wheels) == 2
    assert "Metadata-Version" in found.metadata
    (page,) = described([found])
    assert "and 1 more" in page
    assert page.startswith("<details><summary>")


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    record = seal(tmp_path, built("cp312"))
    assert contents_of(manifest(record), tmp_path, Cancellation()) == []


def test_digests_are_those_of_sha256sum(tmp_path: Path) -> None:
    record = seal(tmp_path, built("cp312"))
    assert record.wheel is not None
    assert f"{record.wheel.sha256}  {record.wheel.name}" in digests(manifest(record))
