"""`--engine container` for musl, and for an architecture that the kernel emulates: from the image to a delivery.

What works in one image of a kind works in all: few builds, each with all that differs there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import parse_wheel_filename

from conftest import ROOT
from manywheels.plan import architectures
from manywheels.plan.policies import policy_named
from manywheels.runtime.containers.interpreters import image_interpreters
from runner import image_of
from runner.images import ARCH

if TYPE_CHECKING:
    from docker import DockerClient

PROJECTS = ROOT / "tests/projects"
MODULES = {"c_setuptools": "c_setuptools._core"}  # where the package alone would import without it
MUSL = policy_named("musllinux_1_2")
FOREIGN = "aarch64" if ARCH == "x86_64" else "x86_64"
BASE = {"musl": MUSL.image_name(ARCH), "foreign": policy_named("manylinux_2_28").image_name(FOREIGN)}

pytestmark = [pytest.mark.docker, pytest.mark.network, pytest.mark.xdist_group("platforms")]


def manywheels(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "manywheels", *arguments], capture_output=True, text=True, check=False, timeout=900
    )


def build(name: str, folder: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Build a copy of the project, without the tests' own settings around it, into `folder/dist`."""
    project, output = shutil.copytree(PROJECTS / name, folder / name), folder / "dist"
    done = manywheels("build", project, "--output-dir", output, "--engine", "container", *options)
    assert (output / "manywheels.json").exists(), done.stdout + done.stderr
    return done, json.loads((output / "manywheels.json").read_text("utf-8"))["targets"]


@pytest.fixture(scope="module")
def cleared(client: DockerClient) -> Iterator[None]:
    """Remove the images that these tests make."""
    import docker

    before = {tag for found in client.images.list("manywheels") for tag in found.tags}
    yield
    ours = {image_of(client, MUSL.name), image_of(client, "manylinux_2_28", arch=FOREIGN)} - before - {""}
    for name in sorted(ours):
        with contextlib.suppress(docker.errors.APIError):
            client.images.remove(name, force=True)


@pytest.fixture
def base(client: DockerClient, cleared: None, request: pytest.FixtureRequest) -> str:
    """The name of a base image: pulling one is no part of a test."""
    from docker.errors import ImageNotFound

    name = BASE[request.param]
    try:
        client.images.get(name)
    except ImageNotFound:
        reason = f"the image {name} is not here"
        if "docker" in os.environ.get("MANYWHEELS_REQUIRE", "").split():
            pytest.fail(reason)
        pytest.skip(reason)
    return name


@pytest.mark.parametrize("base", ["musl"], indirect=True)
def test_wheels_for_musl_are_built_tested_and_imported_there(base: str, tmp_path: Path) -> None:
    done, targets = build(
        "tested", tmp_path, "--platform", "musllinux_1_2", "--build", "cp312 cp314t", "--test-in", base,
        "--test-requires", "pytest", "--test-command", "pytest {project}/tests",
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "not isolated" not in done.stderr
    assert [target["tests"]["passed"] for target in targets] == [True, True]
    wheels = sorted((tmp_path / "dist").glob("*.whl"))
    assert [wheel.name.split("-", 2)[2] for wheel in wheels] == [
        f"cp312-cp312-musllinux_1_2_{ARCH}.whl", f"cp314-cp314t-musllinux_1_2_{ARCH}.whl",
    ]  # fmt: skip
    # Wheels for a free-threaded Python need one here, by which uv chooses what they depend on.
    verified = manywheels("verify", wheels[0], "--import-in", base)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize("base", ["musl"], indirect=True)
@pytest.mark.parametrize("project", ["c_setuptools", "abi3", "cpp_cmake", "cython_ext", "meson_ext"])
@pytest.mark.slow("abi3-musl", "cython_ext-musl", "meson_ext-musl")
def test_one_call_builds_for_both_c_libraries(base: str, tmp_path: Path, project: str) -> None:
    """Each wheel is installed in its own image's Python, and imported there."""
    # Free-threaded CPython 3.14 has no stable ABI.
    pythons, abis = (("cp311", "cp312"), ["abi3"]) if project == "abi3" else (("cp312", "cp314t"), ["cp312", "cp314t"])
    done, targets = build(
        project, tmp_path, "--platform", "manylinux_2_28 musllinux_1_2", "--build", " ".join(pythons),
        "--test-command", f"python -c 'import {MODULES.get(project, project)}'",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(target["identifier"], target["tests"]["passed"]) for target in targets] == [
        (f"{python}-{family}_{ARCH}", True) for family in ("manylinux", "musllinux") for python in pythons
    ]
    wheels = [parse_wheel_filename(wheel.name)[3] for wheel in (tmp_path / "dist").glob("*.whl")]
    assert len(wheels) == 2 * len(abis)
    for policy in ("manylinux_2_28", MUSL.name):
        assert sorted({tag.abi for wheel in wheels for tag in wheel if tag.platform == f"{policy}_{ARCH}"}) == abis


@pytest.mark.parametrize("base", ["foreign"], indirect=True)
def test_a_wheel_for_an_emulated_architecture(base: str, tmp_path: Path) -> None:
    """The emulator lacks PR_SET_CHILD_SUBREAPER: the targets' users stand in for it, and isolation holds."""
    done, (target,) = build("c_setuptools", tmp_path, "--archs", FOREIGN, "--build", "cp312")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"note: {architectures.emulation_note(FOREIGN)}" in done.stderr
    assert "not isolated" not in done.stderr
    assert target["wheel"]["name"].endswith(f"manylinux_2_28_{FOREIGN}.whl")
    verified = manywheels("verify", tmp_path / "dist", "--import-in", base)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.parametrize("base", ["musl", "foreign"], indirect=True)
def test_an_images_pythons_are_read_without_starting_it(
    client: DockerClient, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path))
    found = {one.abi: one for one in image_interpreters(client, base)}
    assert {"cp311", "cp312", "cp313", "cp314", "cp314t"} <= set(found)
    assert found["cp314t"].version == found["cp314"].version
    assert found["cp314t"].version.startswith("3.14.")
    assert str(found["cp314t"].path) == "/opt/python/cp314-cp314t/bin/python"


@pytest.mark.parametrize("base", ["musl"], indirect=True)
def test_a_python_that_an_image_lacks_is_named_with_what_gives_it(base: str, tmp_path: Path) -> None:
    done = manywheels(
        "build", PROJECTS / "c_setuptools", "--output-dir", tmp_path / "dist", "--engine", "container",
        "--platform", "musllinux_1_2", "--build", "cp310",
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error MW004: No interpreter in this image for cp310" in done.stderr, base
    assert "`RUN manylinux-interpreters ensure cp310-cp310`" in done.stderr
