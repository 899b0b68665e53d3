"""What is new, gone or of another size beside the release before."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.deliver.index.differences import described, differences
from manywheels.deliver.index.simple_api import Listed
from manywheels.verify.distributions import Distribution

OLD = {
    "spam-1.9-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": Listed(size=1_000_000),
    "spam-1.9-cp38-cp38-manylinux_2_17_x86_64.whl": Listed(size=900_000),
    "spam-1.9-cp312-cp312-macosx_10_13_universal2.whl": Listed(size=500_000),
    "spam-1.9-cp312-cp312-win_amd64.whl": Listed(size=400_000),
    "spam-1.9.tar.gz": Listed(size=100_000),
    "spam-2.0rc1.tar.gz": Listed(size=1),
    "spam-0.1.tar.gz": Listed(size=1),
}


def file(name: str, size: int, version: str = "2.0") -> Distribution:
    return Distribution(path=Path(name), project="spam", version=version, size=size, sha256="", fields=())


def found(*files: Distribution) -> list[str]:
    return list(described(*differences(OLD, files)))


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


def test_a_first_release_is_compared_with_nothing() -> None:
    assert found(file("spam-0.0.1.tar.gz", 1, "0.0.1")) == []


def test_nothing_to_publish_is_nothing_to_compare() -> None:
    assert found() == []


@pytest.mark.parametrize("size", [95_000, 105_000])
def test_small_changes_are_not_told(size: int) -> None:
    listing = {"spam-1.9.tar.gz": Listed(size=100_000)}
    lines = list(described(*differences(listing, [file("spam-2.0.tar.gz", size)])))
    assert lines == ["the same files as 1.9, of like sizes"]
