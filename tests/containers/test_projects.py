"""Real projects from the index, unmodified: built in the container, installed and imported in each interpreter.

Only those that show what no project of the corpus does; one that is built for all six is in test_action.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from containers.pypi_projects import build, download_sdist, project_named, prove

pytestmark = [pytest.mark.docker, pytest.mark.network, pytest.mark.usefixtures("program_image")]


@pytest.mark.parametrize(
    ("name", "pythons"),
    [
        ("zstandard", ["cp314"]),  # large C, and a second extension that cffi writes
        ("kiwisolver", ["cp310"]),  # C++ by setuptools, with headers from a build requirement
        ("psutil", ["cp39", "cp314"]),  # its own setup.py asks for the stable ABI: one wheel for both
    ],
)
def test_builds_and_imports(name: str, pythons: list[str], tmp_path: Path) -> None:
    project, output = project_named(name), tmp_path / "dist"
    manifest = build(download_sdist(project, tmp_path), output, pythons)
    assert [target["identifier"].partition("-")[0] for target in manifest["targets"]] == pythons
    assert {target["state"] for target in manifest["targets"]} <= {"built", "reused"}
    for target in manifest["targets"]:
        assert (output / target["wheel"]["name"]).is_file()
        assert any(tag.endswith("manylinux_2_28_x86_64") for tag in target["wheel"]["tags"])
    prove(project, manifest, output)
