"""Packages that tests import from the project's folder in place of the wheel."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from manywheels.build.stages.source_imports import compiled_package, missed_package
from manywheels.errors import TestsFailed

CIRCULAR = (
    "cannot import name '_m' from partially initialized module 'flat' (most likely due to a circular import) "
    "(/run/source/flat/__init__.py)"
)
MEMBERS = ("flat/__init__.py", "flat/_m.cpython-312-x86_64-linux-gnu.so", "flat/sub/deep.py", "single.py",
           "space/inner/__init__.py")  # fmt: skip


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "flat-1.0-cp312-cp312-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member in MEMBERS:
            archive.writestr(member, "")
    return path


@pytest.mark.parametrize(
    ("line", "package"),
    [
        ("E   ModuleNotFoundError: No module named 'flat._m'", "flat"),
        ("ImportError: cannot import name '_m' from 'flat' (/run/source/flat/__init__.py)", "flat"),
        (CIRCULAR, "flat"),
        ("cannot import name '_m' from 'flat' (/venv/lib/python3.12/site-packages/flat/__init__.py)", ""),
        ("No module named 'flat.missing'", ""),
        ("No module named 'flat'", ""),  # the wheel is not installed at all
        ("No module named 'numpy.core'", ""),
        ("assert 42 == 41", ""),
    ],
)  # fmt: skip
def test_a_module_that_the_wheel_has_is_missed(wheel: Path, line: str, package: str) -> None:
    failure = TestsFailed("1 of 1 tests failed.", remedy="", excerpt=("tests/test_flat.py:", line))
    assert missed_package(wheel, failure) == package


@pytest.mark.parametrize(
    ("written", "package"),
    [
        ("flat/__pycache__/__init__.cpython-312.pyc", "flat"),
        ("src/flat/__pycache__/__init__.cpython-312.opt-1.pyc", "flat"),
        ("python/flat/sub/__pycache__/deep.pypy311.pyc", "flat"),
        ("__pycache__/single.cpython-313.pyc", "single"),
        ("space/inner/__pycache__/__init__.cpython-312.pyc", "space"),
        ("tests/__pycache__/test_flat.cpython-312-pytest-8.pyc", ""),
        ("flat/__pycache__/other.cpython-312.pyc", ""),
        ("flat/__init__.py", ""),
    ],
)
def test_bytecode_written_beside_the_source_tells_of_it(
    wheel: Path, tmp_path: Path, written: str, package: str
) -> None:
    since = time.time() - 1
    file = tmp_path / "source" / written
    file.parent.mkdir(parents=True)
    file.touch()
    assert compiled_package([tmp_path / "missing", tmp_path / "source"], wheel, since) == package
    assert compiled_package([tmp_path / "source"], wheel, time.time() + 60) == "", "what the build had left"


def test_links_are_not_followed(wheel: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "__pycache__"
    elsewhere.mkdir(parents=True)
    (elsewhere / "__init__.cpython-312.pyc").touch()
    (tmp_path / "source").mkdir()
    (tmp_path / "source/flat").symlink_to(elsewhere.parent)
    assert compiled_package([tmp_path / "source"], wheel, 0) == ""
