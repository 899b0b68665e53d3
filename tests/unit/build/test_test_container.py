"""Tests in another image: which of its Pythons is taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from manywheels.build.stages.test_container import FIND_PYTHON, TestImage
from unit.helpers import target

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def found(folder: Path, wanted: str) -> str:
    """Return what the script takes for a Python where nothing but `folder` has any."""
    ran = subprocess.run(
        ["/bin/sh", "-c", f'{FIND_PYTHON} printf %s "$python"', "sh", wanted, "none"],
        env={"PATH": str(folder)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stdout


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("cp312", ("3.12", "cp312-cp312")),
        ("cp314t", ("3.14t", "cp314-cp314t")),
        ("pp311", ("pypy3.11", "pp311-pypy311_pp80")),
    ],
)
def test_a_python_is_looked_for_by_name_and_in_its_folder(tag: str, expected: tuple[str, str]) -> None:
    place = TestImage(image="image", target=target(tag), variables={}, environment=())
    assert place.python == expected


def test_another_python_of_the_same_version_will_not_do(tmp_path: Path) -> None:
    (tmp_path / "python3").symlink_to(os.path.realpath(sys.executable))
    assert found(tmp_path, HERE) == "python3"
    assert found(tmp_path, f"{HERE}t") == ""
    assert found(tmp_path, f"pypy{HERE}") == ""
    pypy = tmp_path / f"pypy{HERE}"
    pypy.write_text(f"#!/bin/sh\necho pypy{HERE}\n")
    pypy.chmod(0o755)
    assert found(tmp_path, f"pypy{HERE}") == f"pypy{HERE}"
