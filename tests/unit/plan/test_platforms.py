"""The platforms of a run: policies and architectures as lists, and the image of each target."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

import pytest

from manywheels.errors import InputError
from manywheels.plan import architectures
from manywheels.plan.option_types import ARCHS, IMAGE_OPTION, IMAGE_OPTIONS
from manywheels.plan.options import Options, resolve
from manywheels.plan.policies import default_policies, policies, policy_named
from manywheels.plan.targets import Target
from unit.helpers import given, project

MACHINE = os.uname().machine


def options(own: dict[str, Any] | None = None, /, **values: str) -> Options:
    """Resolve `[tool.manywheels]`, and options of the command line."""
    words = {name.replace("_", "-"): given(value, f"--{name.replace('_', '-')}") for name, value in values.items()}
    return resolve(words, replace(project(), settings=own or {}), environment={})


def tags(made: Options) -> list[str]:
    return [platform.tag for platform in made.platforms]


def known(made: Options, identifier: str) -> Target:
    return next(target for target in made.known_targets if target.identifier == identifier)


def place(made: Options, identifier: str) -> tuple[str, str]:
    """Return a target's policy and image."""
    platform = made.platform_of(known(made, identifier))
    return platform.policy.name, platform.image_name


# --- lists ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("platform", "archs", "expected"),
    [
        ("manylinux_2_28", "x86_64", ["manylinux_2_28_x86_64"]),
        ("manylinux_2_28 musllinux_1_2", "x86_64", ["manylinux_2_28_x86_64", "musllinux_1_2_x86_64"]),
        ("musllinux_1_2 manylinux_2_28", "x86_64", ["manylinux_2_28_x86_64", "musllinux_1_2_x86_64"]),
        ("manylinux_2_28", "x86_64 aarch64", ["manylinux_2_28_x86_64", "manylinux_2_28_aarch64"]),
        ("manylinux_2_28", "aarch64,x86_64", ["manylinux_2_28_aarch64", "manylinux_2_28_x86_64"]),
        ("manylinux_2_28, musllinux_1_2", "x86_64", ["manylinux_2_28_x86_64", "musllinux_1_2_x86_64"]),
        ("manylinux_2_28 musllinux_1_2", "s390x i686",
         ["manylinux_2_28_s390x", "musllinux_1_2_s390x", "manylinux_2_28_i686", "musllinux_1_2_i686"]),
        ("manylinux_2_17", "x86_64", ["manylinux2014_x86_64"]),
        ("manylinux_2_17 manylinux2014", "x86_64", ["manylinux2014_x86_64"]),  # two names of one policy
        ("manylinux_2_28 manylinux_2_31", "x86_64 armv7l", ["manylinux_2_28_x86_64", "manylinux_2_31_armv7l"]),
        ("manylinux_2_31 manylinux_2_28", "x86_64 armv7l", ["manylinux_2_28_x86_64", "manylinux_2_31_armv7l"]),
        ("musllinux_1_2", "riscv64 armv7l", ["musllinux_1_2_riscv64", "musllinux_1_2_armv7l"]),
        ("manylinux_2_34 musllinux_1_2", "x86_64 riscv64",  # manylinux of riscv64 is not asked for, musllinux is
         ["manylinux_2_34_x86_64", "musllinux_1_2_x86_64", "musllinux_1_2_riscv64"]),
        ("manylinux_2_28", "x86_64 x86_64 AMD64", ["manylinux_2_28_x86_64"]),
    ],
)  # fmt: skip
def test_lists_of_policies_and_architectures(platform: str, archs: str, expected: list[str]) -> None:
    assert tags(options(platform=platform, archs=archs)) == expected
    assert tags(options({"platform": re.split(r",? ", platform), "archs": archs})) == expected


@pytest.mark.parametrize(
    ("arch", "expected"),
    [
        *((arch, f"manylinux_2_28_{arch}") for arch in ("x86_64", "i686", "aarch64", "ppc64le", "s390x")),
        ("armv7l", "manylinux_2_31_armv7l"),
        ("riscv64", "manylinux_2_39_riscv64"),
    ],
)
def test_the_default_is_the_first_policy_that_exists_for_an_architecture(arch: str, expected: str) -> None:
    assert tags(options(archs=arch)) == [expected]
    for linux in ("linux", "auto"):
        assert tags(options(archs=arch, platform=linux)) == [expected]


def test_of_every_family_and_architecture_there_is_a_default() -> None:
    for arch in ARCHS:
        found = [policy.family for policy in default_policies() if arch in policy.archs]
        assert set(found) == {"manylinux", "musllinux"}
    assert {arch for policy in policies() for arch in policy.archs} == set(ARCHS)


def test_targets_stand_platform_by_platform() -> None:
    made = options(platform="manylinux_2_28 musllinux_1_2", archs="aarch64 x86_64", build="cp312 cp39")
    assert [target.identifier for target in made.selected] == [
        f"{tag}-{family}_{arch}"
        for arch in ("aarch64", "x86_64")
        for family in ("manylinux", "musllinux")
        for tag in ("cp39", "cp312")
    ]


@pytest.mark.parametrize(
    ("platform", "archs", "message"),
    [
        ("manylinux_2_28 manylinux2014", "x86_64 aarch64", "manylinux2014 builds nothing"),
        ("manylinux_2_28 manylinux_2_31", "x86_64", "manylinux_2_31 builds nothing: it exists for armv7l"),
        ("manylinux_2_28", "x86_64 riscv64", "there is no policy for riscv64 in `platform` (manylinux_2_28)"),
        ("manylinux_2_31", "x86_64", "manylinux_2_31 builds nothing: it exists for armv7l"),
    ],
)
def test_a_policy_or_an_architecture_without_a_platform_is_refused_by_name(
    platform: str, archs: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        options(platform=platform, archs=archs)
    assert message in caught.value.message
    assert caught.value.message.startswith(("--platform: ", "--archs: "))
    assert caught.value.remedy


def test_the_remedy_names_the_policies_of_the_architecture() -> None:
    with pytest.raises(InputError) as caught:
        options(platform="manylinux_2_28", archs="x86_64 riscv64")
    assert caught.value.remedy == "For riscv64 there are manylinux_2_39, musllinux_1_2: name one of them, too."


@pytest.mark.parametrize("platform", ["", "'", "manylinux_2_28 windows", "manylinux_2_28_x86_64", "manylinux_2_82"])
def test_what_is_no_policy_is_refused(platform: str) -> None:
    with pytest.raises(InputError, match=r"--platform: `.*` is not a value of `platform`"):
        options(platform=platform)


# --- architectures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("machine", "archs", "expected"),
    [
        ("x86_64", "auto", ["x86_64"]),
        ("x86_64", "native", ["x86_64"]),
        ("x86_64", "auto64", ["x86_64"]),
        ("x86_64", "auto32", ["i686"]),
        ("x86_64", "auto auto32", ["x86_64", "i686"]),
        ("aarch64", "auto32 auto64", ["armv7l", "aarch64"]),
        ("i686", "auto", ["i686"]),
        ("i686", "auto32", ["i686"]),
        ("armv7l", "auto32", ["armv7l"]),
        ("s390x", "auto64", ["s390x"]),
        ("s390x", "auto auto32", ["s390x"]),
        ("ppc64le", "all", list(ARCHS)),
        ("x86_64", "aarch64 all", ["aarch64", *(arch for arch in ARCHS if arch != "aarch64")]),
        ("x86_64", "arm64 AMD64 RISCV64", ["aarch64", "x86_64", "riscv64"]),
    ],
)
def test_words_for_architectures(
    monkeypatch: pytest.MonkeyPatch, machine: str, archs: str, expected: list[str]
) -> None:
    monkeypatch.setattr(architectures, "machine", lambda: machine)
    assert [platform.arch for platform in options(archs=archs).platforms] == expected


@pytest.mark.parametrize(
    ("machine", "archs", "message"),
    [
        ("x86_64", "sparc", "there is no architecture `sparc`"),
        ("x86_64", "native sparc", "there is no architecture `sparc`"),
        ("x86_64", "ALL", "there is no architecture `ALL`"),
        ("x86_64", "", "`` is not a value of `archs`"),
        ("x86_64", " , ", "` , ` is not a value of `archs`"),
        ("i686", "auto64", "`auto64` is not a value of `archs`"),
        ("s390x", "auto32", "`auto32` is not a value of `archs`"),
    ],
)
def test_words_that_name_no_architecture(
    monkeypatch: pytest.MonkeyPatch, machine: str, archs: str, message: str
) -> None:
    monkeypatch.setattr(architectures, "machine", lambda: machine)
    with pytest.raises(InputError) as caught:
        options(archs=archs)
    assert caught.value.message == f"--archs: {message}."
    assert "riscv64" in caught.value.remedy


# --- `only` -----------------------------------------------------------------------------------------------------------


def test_only_decides_family_and_architecture() -> None:
    assert tags(options(only="cp312-musllinux_armv7l")) == ["musllinux_1_2_armv7l"]
    assert tags(options(only="cp312-manylinux_riscv64")) == ["manylinux_2_39_riscv64"]
    lists = {"platform": "manylinux_2_34 manylinux_2_31 musllinux_1_2", "archs": "x86_64 armv7l"}
    assert tags(options(lists, only="cp312-manylinux_x86_64")) == ["manylinux_2_34_x86_64"]
    assert tags(options(lists, only="cp312-manylinux_armv7l")) == ["manylinux_2_31_armv7l"]
    assert tags(options(lists, only="cp312-musllinux_x86_64")) == ["musllinux_1_2_x86_64"]


def test_only_with_policies_that_do_not_have_it() -> None:
    with pytest.raises(InputError, match="`manylinux_2_28` is not a value of `platform`") as caught:
        options(only="cp312-musllinux_x86_64", platform="manylinux_2_28")
    assert "a musllinux policy" in caught.value.remedy
    with pytest.raises(InputError, match="there is no policy for riscv64 in `platform`"):
        options(only="cp312-manylinux_riscv64", platform="manylinux_2_28")


# --- images -----------------------------------------------------------------------------------------------------------


def test_a_policys_own_images_have_the_architecture_in_their_names() -> None:
    made = options(platform="manylinux2014 musllinux_1_2", archs="aarch64")
    policy = policy_named("manylinux2014")
    assert place(made, "cp312-manylinux_aarch64")[1] == policy.image_name("aarch64")
    assert "musllinux_1_2_aarch64" in place(made, "cp312-musllinux_aarch64")[1]


def test_images_by_family_and_architecture() -> None:
    made = options({
        "platform": "manylinux_2_28 musllinux_1_2", "archs": "x86_64 aarch64",
        "manylinux-x86_64-image": "example.org/a:1", "musllinux-aarch64-image": "example.org/b:1",
    })  # fmt: skip
    assert place(made, "cp312-manylinux_x86_64") == ("manylinux_2_28", "example.org/a:1")
    assert place(made, "cp312-musllinux_aarch64") == ("musllinux_1_2", "example.org/b:1")
    assert "pypa/manylinux_2_28_aarch64" in place(made, "cp312-manylinux_aarch64")[1]
    assert "pypa/musllinux_1_2_x86_64" in place(made, "cp312-musllinux_x86_64")[1]
    assert len(made.platforms) == 4


@pytest.mark.parametrize(
    ("image", "policy", "own"),
    [
        ("manylinux2014", "manylinux2014", False),
        ("manylinux_2_17", "manylinux2014", False),
        ("example.org/manylinux_2_34_x86_64:7", "manylinux_2_34", True),
        ("example.org/manylinux_2_39_x86_64:7", "manylinux_2_39", True),  # one's own, for an architecture without one
        ("example.org/manylinux_2_34_aarch64:7", "manylinux_2_28", True),  # another architecture's says nothing
        ("example.org/tools:7", "manylinux_2_28", True),
    ],
)
def test_an_image_by_architecture_may_name_the_policy(image: str, policy: str, *, own: bool) -> None:
    made = options({"archs": "x86_64", "manylinux-x86_64-image": image})
    expected = image if own else policy_named(policy).image_name("x86_64")
    assert place(made, "cp312-manylinux_x86_64") == (policy, expected)
    named = options({"archs": "x86_64", "manylinux-x86_64-image": image, "platform": "manylinux_2_28"})
    if own:  # a policy that is given is what counts
        assert place(named, "cp312-manylinux_x86_64") == ("manylinux_2_28", image)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("manylinux-x86_64-image", "manylinux2010", "`manylinux2010` is not a value of `platform`"),
        ("manylinux-x86_64-image", "manylinux_2_31", "manylinux_2_31 does not exist for manylinux on x86_64"),
        ("musllinux-x86_64-image", "manylinux_2_28", "manylinux_2_28 does not exist for musllinux on x86_64"),
        ("musllinux-x86_64-image", "example.org/manylinux_2_28_x86_64", "manylinux_2_28 does not exist for musllinux"),
        ("manylinux-x86_64-image", "a b", "`a b` is not a value of `image`"),
    ],
)
def test_images_that_cannot_be(name: str, image: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve({}, replace(project(), cibuildwheel={"archs": "x86_64", name: image}), environment={})
    assert f"[tool.cibuildwheel] {name}: {message}" in caught.value.message
    assert caught.value.remedy.startswith("Allowed: ")


def test_an_override_names_an_image_for_its_targets() -> None:
    made = options({
        "archs": "x86_64 aarch64", "platform": "manylinux_2_28 musllinux_1_2",
        "overrides": [
            {"select": "*-musllinux_x86_64", "image": "example.org/musl:1"},
            {"select": "cp312-manylinux_x86_64", "image": "example.org/many:1"},
        ],
    })  # fmt: skip
    assert place(made, "cp311-musllinux_x86_64") == ("musllinux_1_2", "example.org/musl:1")
    assert place(made, "cp312-manylinux_x86_64") == ("manylinux_2_28", "example.org/many:1")
    assert "pypa/manylinux_2_28_x86_64" in place(made, "cp311-manylinux_x86_64")[1]
    assert [(one.tag, one.image) for one in made.platforms] == [
        ("manylinux_2_28_x86_64", ""), ("manylinux_2_28_x86_64", "example.org/many:1"),
        ("musllinux_1_2_x86_64", "example.org/musl:1"),
        ("manylinux_2_28_aarch64", ""), ("musllinux_1_2_aarch64", ""),
    ]  # fmt: skip


def test_one_image_is_not_for_several_platforms() -> None:
    for lists in ({"platform": "manylinux_2_28 musllinux_1_2", "archs": "x86_64"}, {"archs": "x86_64 aarch64"}):
        with pytest.raises(InputError) as caught:
            options(image="example.org/m:1", **lists)
        assert caught.value.message.startswith("--image: `image` names one image, but this run builds for manylinux_2_")
        assert "`manylinux-x86_64-image`" in caught.value.remedy


def test_one_image_is_for_one_platform_and_overrides_name_the_others() -> None:
    both = {"platform": "manylinux_2_28 musllinux_1_2", "archs": "x86_64", "image": "example.org/many:1"}
    made = options({**both, "overrides": [{"select": "*-musllinux_*", "image": "example.org/musl:1"}]})
    assert [(one.tag, one.image) for one in made.platforms] == [
        ("manylinux_2_28_x86_64", "example.org/many:1"), ("musllinux_1_2_x86_64", "example.org/musl:1"),
    ]  # fmt: skip
    assert tags(options({**both, "skip": "*-musllinux_*"})) == ["manylinux_2_28_x86_64"]


def test_platforms_are_those_of_the_selected_targets() -> None:
    made = options(platform="manylinux_2_28 musllinux_1_2", archs="x86_64 aarch64", build="cp312-*_x86_64 cp311-many*")
    assert tags(made) == ["manylinux_2_28_x86_64", "musllinux_1_2_x86_64", "manylinux_2_28_aarch64"]


def test_options_of_images_are_those_that_the_pattern_takes() -> None:
    assert all(IMAGE_OPTION.fullmatch(name) for name in IMAGE_OPTIONS)
    for name in ("musllinux-pypy_x86_64-image", "manylinux-pypy_s390x-image", "manylinux-sparc-image", "image"):
        assert not IMAGE_OPTION.fullmatch(name)


def test_a_job_with_one_image_builds_what_that_is_for_and_notes_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "libc", lambda: "musl")
    theirs = replace(project(), cibuildwheel={"build": "cp312-*"})
    made = resolve({}, theirs, environment={}, one_image=True)
    assert {target.family for target in made.known_targets} == {"musllinux"}
    assert any("a job with `platform: manylinux_" in note for note in made.notes)
    asked = resolve({"platform": given("manylinux_2_28 musllinux_1_2")}, theirs, environment={}, one_image=True)
    assert {target.family for target in asked.known_targets} == {"manylinux", "musllinux"}
    assert not any("a job with `platform" in note for note in asked.notes)
