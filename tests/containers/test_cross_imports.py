"""Cross-built wheels in the Pythons that they are for: installed by the target's pip, and imported there."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import parse_wheel_filename

from conftest import ROOT
from containers.test_platforms import manywheels
from manywheels.wheels.manifest import read_manifest

PYTHON: Final = "/opt/python/cp312-cp312/bin/python"
LIMIT: Final = 400  # seconds; a shell under qemu once waited for ever
# An image for each platform that one call builds for; nothing here has the Pythons of the fourth, musl on aarch64.
IMAGES: Final = {
    "manylinux_2_28_x86_64": "quay.io/pypa/manylinux_2_28_x86_64:latest",
    "manylinux_2_28_aarch64": "quay.io/pypa/manylinux_2_28_aarch64:latest",
    "musllinux_1_2_x86_64": "quay.io/pypa/musllinux_1_2_x86_64:latest",
}
# What a module that is there does.
CHECKS: Final = {
    "c_setuptools": "import c_setuptools._core",
    "abi3": "import abi3",
    "cpp_cmake": "import cpp_cmake",
    "cython_ext": "import cython_ext",
    "meson_ext": "import meson_ext",
}

pytestmark = pytest.mark.docker


def require_image(image: str) -> None:
    """Skip without the image; fail where MANYWHEELS_REQUIRE says that Docker's tests must run."""
    asked = subprocess.run(("docker", "image", "inspect", image), capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return
    if "docker" in os.environ.get("MANYWHEELS_REQUIRE", "").split():
        pytest.fail(f"{image} must be here", pytrace=False)
    pytest.skip(f"{image} is not here")


def import_in(image: str, wheel: Path, check: str) -> None:
    script = (
        f"timeout 120 {PYTHON} -m pip install -q --no-deps --no-index --target /tmp/w /w/{wheel.name} && "
        f"PYTHONPATH=/tmp/w timeout 60 {PYTHON} -c '{check}; print(\"imported\")'"
    )
    container = ("docker", "run", "--rm", "--volume", f"{wheel.parent}:/w:ro", image, "sh", "-c", script)
    done = subprocess.run(container, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.stdout.endswith("imported\n"), done.stdout + done.stderr


@pytest.mark.parametrize("project", list(CHECKS))
@pytest.mark.slow("abi3", "cpp_cmake", "cython_ext")  # C++ for three targets: its library is built for each
def test_one_call_builds_for_two_architectures_and_c_libraries(tmp_path: Path, project: str) -> None:
    for image in IMAGES.values():
        require_image(image)
    built = manywheels(
        "build", ROOT / "tests/projects" / project, "--engine", "host", "--output-dir", tmp_path, "--build", "cp312",
        "--platform", "manylinux_2_28 musllinux_1_2", "--archs", "x86_64 aarch64", "--test-skip", "*",
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    found = sorted(tmp_path.glob("*.whl"))
    wheels = {tag.platform: wheel for wheel in found for tag in parse_wheel_filename(wheel.name)[3]}
    assert len(found) == 4
    assert set(wheels) >= {*IMAGES, "musllinux_1_2_aarch64"}
    for platform, image in IMAGES.items():
        import_in(image, wheels[platform], CHECKS[project])
    verified = manywheels("verify", tmp_path)
    assert verified.returncode == 0, verified.stdout + verified.stderr


@pytest.mark.slow
def test_a_cross_built_wheel_is_tested_in_an_image_of_its_architecture(tmp_path: Path) -> None:
    image = IMAGES["manylinux_2_28_aarch64"]
    require_image(image)
    project = shutil.copytree(ROOT / "tests/projects/tested", tmp_path / "tested")
    built = manywheels(
        "build", project, "--engine", "host", "--output-dir", tmp_path / "dist", "--build", "cp312",
        "--archs", "aarch64", "--test-in", image,
        "--test-command", "python -c 'import platform, tested._core; print(platform.machine())'",
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    (record,) = read_manifest(tmp_path / "dist").targets
    assert record.tests
    assert record.tests.passed
    assert (tmp_path / "dist" / record.tests.log).read_text("utf-8").splitlines().count("aarch64") == 1
