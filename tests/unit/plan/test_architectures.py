"""Architectures by the names that Docker, Debian, GitHub and people give them."""

from __future__ import annotations

import pytest

from manywheels.data import table
from manywheels.errors import InputError
from manywheels.plan.architectures import canonical, runner
from manywheels.plan.option_types import ARCHS


@pytest.mark.parametrize(
    ("name", "arch"),
    [
        ("arm64", "aarch64"), ("ARM64", "aarch64"), ("arm64v8", "aarch64"), ("linux/arm64/v8", "aarch64"),
        ("amd64", "x86_64"), ("x64", "x86_64"), ("x86", "i686"), ("i386", "i686"), ("linux/386", "i686"),
        ("arm/v7", "armv7l"), ("linux/arm/v7", "armv7l"), ("ppc64el", "ppc64le"),
        *((arch, arch) for arch in ARCHS),
    ],
)  # fmt: skip
def test_names_of_architectures(name: str, arch: str) -> None:
    assert canonical(name) == arch


def test_no_name_has_two_meanings() -> None:
    names = [name for arch in ARCHS for name in (arch, *table("machines")[arch].get("names", ()))]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("name", "near"), [("arch64", "aarch64"), ("amd46", "amd64"), ("vax", "")])
def test_an_unknown_one_is_refused_with_the_nearest_and_all_names(name: str, near: str) -> None:
    with pytest.raises(InputError, match=rf"--archs: there is no architecture `{name}`") as caught:
        canonical(name, "--archs")
    assert ("did you mean" in caught.value.message) == bool(near)
    assert near in caught.value.message
    assert all(arch in caught.value.remedy for arch in ARCHS)


def test_runners_are_native_where_there_are_some() -> None:
    assert [runner(arch) for arch in ("x86_64", "i686", "aarch64", "armv7l", "s390x")] == [
        "ubuntu-24.04", "ubuntu-24.04", "ubuntu-24.04-arm", "ubuntu-24.04-arm", "ubuntu-24.04",
    ]  # fmt: skip
    assert runner("aarch64", "gitlab") == "saas-linux-small-arm64"
