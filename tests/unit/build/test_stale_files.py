"""Files of an earlier build in the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.build.stale_files import hint
from manywheels.core.cancellation import Cancellation


@pytest.mark.parametrize(
    ("name", "is_stale"),
    [
        ("demo/_core.cpython-311-x86_64-linux-gnu.so", True),
        ("demo/_core.cpython-313t-x86_64-linux-gnu.so", True),
        ("demo/_core.abi3.so", True),
        ("demo/_core.pypy311-pp73-x86_64-linux-gnu.so", True),
        ("demo/_core.cp312-win_amd64.pyd", True),
        ("build/temp.linux-x86_64-cpython-311/demo/core.o", True),
        ("build/CMakeCache.txt", True),
        ("vendored/libcore.so", False),
        ("vendored/libcore.so.1", False),
        ("demo/core.c", False),
        (".git/objects/core.o", False),
        (".venv/lib/python3.12/site-packages/other/_x.abi3.so", False),
    ],
)
def test_what_an_earlier_build_leaves_is_named(tmp_path: Path, name: str, *, is_stale: bool) -> None:
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    assert (name in hint(tmp_path, Cancellation())) is is_stale


def test_many_are_counted(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.o").touch()
    assert "(0.o, 1.o, 2.o and 2 more)" in hint(tmp_path, Cancellation())


def test_a_clean_source_has_no_hint(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    assert not hint(tmp_path, Cancellation())
