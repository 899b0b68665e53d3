"""What is new, gone or of another size beside the release before."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.deliver.index.differences import dependency_changes, describe, differences, release_before
from manywheels.deliver.index.simple_api import Listed
from manywheels.verify.distributions import Distribution

OLD = {
    "spam-1.9-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": Listed(sha256="", size=1_000_000),
    "spam-1.9-cp38-cp38-manylinux_2_17_x86_64.whl": Listed(sha256="", size=900_000),
    "spam-1.9-cp312-cp312-macosx_10_13_universal2.whl": Listed(sha256="", size=500_000),
    "spam-1.9-cp312-cp312-win_amd64.whl": Listed(sha256="", size=400_000),
    "spam-1.9.tar.gz": Listed(sha256="", size=100_000),
    "spam-2.0rc1.tar.gz": Listed(sha256="", size=1),
    "spam-0.1.tar.gz": Listed(sha256="", size=1),
}


def file(name: str, size: int, version: str = "2.0") -> Distribution:
    return Distribution(path=Path(name), project="spam", version=version, size=size, sha256="", fields=())


def found(*files: Distribution) -> list[str]:
    version, before = release_before(OLD, files[0].version)
    return list(describe(version, differences(before, files)))


def test_what_is_new_and_gone_and_of_another_size() -> None:
    assert found(
        file("spam-2.0-cp312-cp312-manylinux_2_28_x86_64.whl", 1_600_000),
        file("spam-2.0-cp314-cp314-manylinux_2_28_x86_64.whl", 1_600_000),
        file("spam-2.0-cp312-cp312-macosx_11_0_universal2.whl", 510_000),
        file("spam-2.0-cp312-cp312-win_amd64.whl", 400_000),
        file("spam-2.0.tar.gz", 100_000),
    ) == [
        "beside 1.9, which is on the index:",
        "  gone: cp38 manylinux x86_64 (900 kB)",
        "  cp312 manylinux x86_64: 1.0 MB → 1.6 MB (+60 %)",
        "  new: cp314 manylinux x86_64 (1.6 MB)",
    ]


def test_a_few_of_each_kind_are_told() -> None:
    """A release of Linux wheels alone lacks all others of the one before."""
    platforms = ("macosx_11_0_arm64", "win_amd64", "win32")
    names = [f"spam-1.9-cp3{minor}-cp3{minor}-{platform}.whl" for minor in range(9, 15) for platform in platforms]
    new = [file(f"spam-2.0-cp3{minor}-cp3{minor}-manylinux_2_28_x86_64.whl", 5) for minor in range(9, 15)]
    changed = [f"spam-1.9-cp3{minor}-cp3{minor}-musllinux_1_2_x86_64.whl" for minor in range(9, 15)]
    larger = [file(name.replace("1.9", "2.0"), 500) for name in changed]
    told = describe(
        "1.9", differences({name: Listed(sha256="", size=100) for name in (*names, *changed)}, new + larger)
    )
    assert [line for line in told if "more" in line] == [
        "  gone: and 13 more", "  new: and 1 more", "  other size: and 1 more",
    ]  # fmt: skip
    assert len(told) == 1 + 3 * 6


def test_a_first_release_is_compared_with_nothing() -> None:
    assert release_before(OLD, "0.0.1") == ("", {})


def test_final_releases_are_compared_with_final_ones() -> None:
    assert release_before(OLD, "2.0")[0] == "1.9"
    assert release_before({"spam-2.0rc1.tar.gz": OLD["spam-2.0rc1.tar.gz"]}, "2.0")[0] == "2.0rc1"


@pytest.mark.parametrize("size", [95_000, 105_000])
def test_small_changes_are_not_told(size: int) -> None:
    listing = {"spam-1.9.tar.gz": Listed(sha256="", size=100_000)}
    assert describe("1.9", differences(listing, [file("spam-2.0.tar.gz", size)])) == ("the same files as 1.9",)


def test_an_index_that_lists_no_sizes_is_compared_by_names() -> None:
    listing = {"spam-1.9.tar.gz": Listed(sha256=""), "spam-1.9-py3-none-any.whl": Listed(sha256="")}
    (gone,) = differences(listing, [file("spam-2.0.tar.gz", 5)])
    assert str(gone).startswith("gone: py3")


def test_dependencies_that_appear_and_go() -> None:
    before = ["numpy>=1.20", 'tomli; python_version < "3.11"', "six"]
    now = ["numpy >= 1.20", "tomli ; python_version < '3.11'", "attrs>=23", "not a requirement !"]
    assert list(dependency_changes(before, now)) == [
        "new dependency: attrs>=23", "new dependency: not a requirement !", "no longer a dependency: six",
    ]  # fmt: skip


def test_hostile_names_and_requirements_stop_nothing() -> None:
    tags = ".".join(f"cp3{number}" for number in range(60))
    listing = {f"spam-1.9-{tags}-{tags}-{tags}.whl": Listed(sha256=""), "spam-1.9.tar.gz": Listed(sha256="", size=5)}
    strange = {"spam-1.9-cp3-none-x1²2.whl": Listed(sha256="")}
    assert len(describe("1.9", differences(strange, [file("spam-2.0.tar.gz", 5)]))) == 3
    assert release_before(listing, "2.0") == ("1.9", {"spam-1.9.tar.gz": listing["spam-1.9.tar.gz"]})
    nested = f"numpy; {'(' * 3_000}python_version > '3'{')' * 3_000}"
    assert len(list(dependency_changes([nested], []))) == 1
    many = describe("1.9", [f"new dependency: {number}{'x' * 1_000}" for number in range(10_000)])
    assert len(many) == 7
    assert many[-1] == "  new dependency: and 9995 more"
    assert max(map(len, many)) < 400
