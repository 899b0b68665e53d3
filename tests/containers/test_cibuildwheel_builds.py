"""By the same configuration, cibuildwheel and manywheels make the same wheels and come to the same verdict."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import BASE_IMAGE, ROOT
from containers.beside_cibuildwheel import CIBUILDWHEEL, MANYWHEELS, PYTHONS, Outcome, run

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = [pytest.mark.docker, pytest.mark.network]

CONFIGURATION = """
[tool.cibuildwheel]
build-frontend = "build[uv]"
before-all = "echo all > {project}/before-all"
test-requires = ["pytest"]
test-extras = ["ini"]
test-sources = ["tests"]
test-command = ["python -c 'import iniconfig'", "pytest tests"]
before-test = "test $(cat {project}/before-all) = all && touch {project}/before-test"

[tool.cibuildwheel.linux]
before-build = [
    "pip install -q iniconfig && test -f {package}/pyproject.toml && test $(cat before-all) = all",
    "test -f {project}/pyproject.toml && test $(pwd) -ef {project}",
    "test $LIB = $(pwd)/lib && test $VERSION = $(python -c 'import sys; print(sys.version_info[1])')",
]
environment.ANSWER = "42"
environment.LIB = "$(pwd)/lib"
environment.VERSION = "$(python -c 'import sys; print(sys.version_info[1])')"

[[tool.cibuildwheel.overrides]]
select = "cp313-*"
inherit.environment = "append"
environment = { EXPECTED = "$ANSWER" }
"""
FAILING = """
[tool.cibuildwheel]
build-frontend = "build[uv]"
test-requires = "pytest"
test-command = "pytest {project}/tests"
environment = { ANSWER = "42" }

[[tool.cibuildwheel.overrides]]
select = "cp313-*"
test-environment = { ANSWER = "41" }
"""


def project(folder: Path, configuration: str) -> Path:
    """Return a copy of the corpus project `tested`, configured, below the top of a repository."""
    copied = folder / "repository/packages/tested"
    shutil.copytree(ROOT / "tests/projects/tested", copied)
    subprocess.run(["git", "init", "-q", folder / "repository"], check=True)
    with (copied / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(configuration)
    return copied


def both(source: Path, folder: Path) -> tuple[Outcome, Outcome]:
    """Return what comes of cibuildwheel, and of manywheels."""
    return run(CIBUILDWHEEL, source, folder / "theirs"), run(MANYWHEELS, source, folder / "ours")


def test_hooks_and_tests_come_to_the_same(tmp_path: Path) -> None:
    theirs, ours = both(project(tmp_path, CONFIGURATION), tmp_path)

    assert theirs.passed, theirs.said[-3000:]
    assert ours.passed, ours.said[-3000:]
    assert ours.wheels == theirs.wheels
    assert len(ours.wheels) == 2


def test_a_local_image_and_its_containers_are_as_asked_for(tmp_path: Path, client: DockerClient) -> None:
    source = project(tmp_path, "")
    (source / "ci.toml").write_text(
        '[tool.cibuildwheel]\nbuild-frontend = "build[uv]"\n'
        'before-build = "test $(hostname) = built-here && test $ANSWER = 42 && test $(stat -f -c %T /made) = tmpfs"\n'
    )
    name = f"manywheels-test-{secrets.token_hex(4)}"  # no tag, and no registry has it
    client.images.get(BASE_IMAGE).tag(name)
    asked = "docker; create_args: --hostname=built-here --env ANSWER=42 --tmpfs /made"
    try:
        for tool in (CIBUILDWHEEL, MANYWHEELS):
            outcome = run(
                (*tool, "--config-file", "{package}/ci.toml"), source, tmp_path / tool[2], image=name,
                pythons=PYTHONS[:1], variables={"CIBW_CONTAINER_ENGINE": asked},
            )  # fmt: skip
            assert outcome.passed, outcome.said[-3000:]
            assert len(outcome.wheels) == 1
    finally:
        client.images.remove(name)


def test_a_test_that_fails_does_so_with_both(tmp_path: Path) -> None:
    theirs, ours = both(project(tmp_path, FAILING), tmp_path)

    assert not theirs.passed
    assert not ours.passed
    for outcome in (theirs, ours):
        assert "assert 42 == 41" in outcome.said
    # cibuildwheel copies nothing out if one test fails; here the others' wheels are kept.
    assert not theirs.wheels
    assert [sorted({tag.interpreter for tag in tags}) for tags in ours.wheels] == [["cp312"]]
