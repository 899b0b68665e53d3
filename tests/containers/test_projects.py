"""Real projects from the index, unmodified: built in the container, installed and imported in each interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest

from containers.pypi_projects import PROJECTS, IndexProject, build, fetch, prove

pytestmark = [pytest.mark.docker, pytest.mark.network]


@pytest.mark.parametrize("project", PROJECTS, ids=[project.name for project in PROJECTS])
def test_builds_and_imports_for_every_python_that_it_allows(project: IndexProject, tmp_path: Path) -> None:
    output = tmp_path / "dist"
    manifest = build(fetch(project, tmp_path), output)
    assert [target["identifier"].partition("-")[0] for target in manifest["targets"]] == list(project.pythons)
    assert {target["state"] for target in manifest["targets"]} <= {"built", "reused"}
    for target in manifest["targets"]:
        assert (output / target["wheel"]["name"]).is_file()
        assert any(tag.endswith("manylinux_2_28_x86_64") for tag in target["wheel"]["tags"])
    prove(project, manifest, output)
