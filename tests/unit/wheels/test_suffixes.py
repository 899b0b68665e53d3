"""The file names of extension modules."""

from __future__ import annotations

import pytest
from packaging.tags import Tag

from manywheels.wheels.wheelfile import is_tagged, suffix_of


@pytest.mark.parametrize(
    ("file", "abi", "triplet"),
    [
        ("_core.cpython-312-x86_64-linux-gnu.so", "cp312", "x86_64-linux-gnu"),
        ("_core.cpython-314t-aarch64-linux-musl.so", "cp314t", "aarch64-linux-musl"),
        ("_core.cpython-314td-x86_64-linux-gnu.so", "cp314td", "x86_64-linux-gnu"),
        ("_core.cpython-37m-i386-linux-gnu.so", "cp37m", "i386-linux-gnu"),
        ("_core.cpython-312.so", "cp312", ""),
        ("_core.abi3.so", "abi3", ""),
        ("_core.abi3t.so", "abi3t", ""),
        ("_core.pypy311-pp73-x86_64-linux-gnu.so", "pypy311_pp73", "x86_64-linux-gnu"),
        ("_core.so", "", ""),
        ("_core.1.so", "", ""),
    ],
)
def test_what_a_suffix_says(file: str, abi: str, triplet: str) -> None:
    found = suffix_of(f"demo/{file}")
    assert found is not None
    assert (found.abi, found.triplet) == (abi, triplet)
    assert found.module.startswith("demo/_core")
    assert is_tagged(file) is bool(abi)


@pytest.mark.parametrize("file", ["libx.so.1", "_core.pyd", "_core.so.bak", "core", ""])
def test_other_files_have_none(file: str) -> None:
    assert suffix_of(file) is None


@pytest.mark.parametrize(
    ("file", "tag", "loads"),
    [
        ("x.cpython-312-x86_64-linux-gnu.so", "cp312-cp312", True),
        ("x.cpython-312-x86_64-linux-gnu.so", "cp312-none", True),
        ("x.cpython-312-x86_64-linux-gnu.so", "cp311-none", False),
        ("x.cpython-312-x86_64-linux-gnu.so", "py3-none", False),
        ("x.cpython-313t-x86_64-linux-gnu.so", "cp313-none", True),
        ("x.cpython-313t-x86_64-linux-gnu.so", "cp313-cp313", False),
        ("x.cpython-37m-x86_64-linux-gnu.so", "cp37-cp37m", True),
        ("x.abi3.so", "cp39-abi3", True),
        ("x.abi3.so", "cp312-cp312", True),
        ("x.abi3.so", "cp312-none", True),
        ("x.abi3.so", "cp313-cp313t", False),
        ("x.abi3.so", "py3-none", False),
        ("x.abi3.so", "cp315-abi3t", False),
        ("x.abi3t.so", "cp315-abi3t", True),
        ("x.abi3t.so", "cp315-cp315t", True),
        ("x.abi3t.so", "cp315-abi3", True),  # CPython with the GIL looks for both (PEP 803)
        ("x.abi3t.so", "cp316-cp316", True),
        ("x.abi3t.so", "cp315-none", True),
        ("x.abi3t-x86_64-linux-gnu.so", "cp315-abi3t", True),
        ("x.abi3t.so", "cp314-abi3", False),
        ("x.abi3t.so", "cp314-cp314t", False),
        ("x.abi3t.so", "py3-none", False),
        ("x.abi3t.so", "pp311-pypy311_pp73", False),
        ("x.pypy311-pp73-x86_64-linux-gnu.so", "pp311-pypy311_pp73", True),
        ("x.pypy311-pp73-x86_64-linux-gnu.so", "pp311-none", True),
        ("x.pypy311-pp73-x86_64-linux-gnu.so", "cp311-cp311", False),
        ("x.so", "pp311-pypy311_pp73", True),
    ],
)
def test_who_loads_it(file: str, tag: str, loads: bool) -> None:  # noqa: FBT001
    suffix = suffix_of(file)
    assert suffix is not None
    interpreter, abi = tag.split("-")
    assert suffix.loads(Tag(interpreter, abi, "any")) is loads
