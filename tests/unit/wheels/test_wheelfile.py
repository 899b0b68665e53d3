"""A wheel's name, and its WHEEL file."""

from __future__ import annotations

import pytest

from manywheels.errors import WheelFileError
from manywheels.wheels.wheelfile import parse_name, parse_wheel_file


@pytest.mark.parametrize(
    ("tags", "pure", "stable", "platforms"),
    [
        ("py3-none-any", True, True, ("any",)),
        ("cp312-cp312-linux_x86_64", False, False, ("linux_x86_64",)),
        ("cp39-abi3-manylinux_2_17_x86_64", False, True, ("manylinux_2_17_x86_64",)),
        ("cp315-abi3t-linux_x86_64", False, True, ("linux_x86_64",)),
        ("cp39-abi3.abi3t-linux_x86_64", False, True, ("linux_x86_64",)),
        ("py3-none-linux_x86_64", False, True, ("linux_x86_64",)),
        ("py2.py3-none-any", True, True, ("any",)),
        ("cp313-cp313t-linux_x86_64", False, False, ("linux_x86_64",)),
        ("pp311-pypy311_pp73-linux_x86_64", False, False, ("linux_x86_64",)),
        (
            "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
            False,
            False,
            ("manylinux2014_x86_64", "manylinux_2_17_x86_64"),
        ),
    ],
)
def test_names(
    tags: str,
    pure: bool,  # noqa: FBT001
    stable: bool,  # noqa: FBT001
    platforms: tuple[str, ...],
) -> None:
    name = parse_name(f"Demo_Kit-1.0.post1-{tags}.whl")
    assert (name.name, name.version) == ("demo-kit", "1.0.post1")
    assert (name.is_pure, name.is_stable_abi, name.platforms) == (pure, stable, platforms)


def test_a_build_number_is_no_version() -> None:
    assert parse_name("demo-1.0-7-py3-none-any.whl").version == "1.0"


@pytest.mark.parametrize(
    "name", ["demo.whl", "demo-1.0.whl", "demo-x-py3-none-any.whl", "demo-1.0-py3-none-any.zip", "", "-----.whl"]
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(WheelFileError) as caught:
        parse_name(name)
    assert f"`{name}`" in caught.value.message
    assert "name-version-python-abi-platform.whl" in caught.value.remedy


@pytest.mark.parametrize(
    ("content", "tags", "purelib"),
    [
        ("Root-Is-Purelib: false\nTag: cp312-cp312-linux_x86_64\n", {"cp312-cp312-linux_x86_64"}, False),
        ("Root-Is-Purelib: TRUE\nTag: py2.py3-none-any\n", {"py2-none-any", "py3-none-any"}, True),
        ("Tag: py3-none-any\nTag: py2-none-any\n", {"py2-none-any", "py3-none-any"}, False),
        ("Tag: cp39-abi3-a.b\r\n", {"cp39-abi3-a", "cp39-abi3-b"}, False),
        ("Tag: nonsense\n", set(), False),
        ("", set(), False),
    ],
)
def test_the_wheel_file(
    content: str,
    tags: set[str],
    purelib: bool,  # noqa: FBT001
) -> None:
    found = parse_wheel_file(content.encode())
    assert found.tags == tags
    assert found.root_is_purelib is purelib


def test_a_line_that_stands_for_millions_of_tags_is_none() -> None:
    many = ".".join(f"a{number}" for number in range(300))
    assert parse_wheel_file(f"Tag: {many}-{many}-{many}\n".encode()).tags == frozenset()


def test_a_file_of_tags_without_number_is_read_within_bounds() -> None:
    """Each line may stand for a thousand: two megabytes for thirty million, each a string of its own."""
    lines = (
        "Tag: " + "-".join(".".join(f"{part}{line}{letter}" for letter in "abcdefghij") for part in "pqr")
        for line in range(300)
    )
    assert len(parse_wheel_file("\n".join(lines).encode()).tags) <= 1_000
