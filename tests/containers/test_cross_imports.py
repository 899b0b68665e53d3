"""Cross-built wheels in the Pythons that they are for: installed by the target's pip, and imported there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

PYTHON = "/opt/python/cp312-cp312/bin/python"
LIMIT = 400  # seconds; a shell under qemu once waited for ever
# The modules, and what one that is there does.
CHECKS = {"c_setuptools": "import c_setuptools._core", "meson_ext": "import meson_ext", "abi3": "import abi3"}
SCRIPT = f"""
for name in {" ".join(CHECKS)}; do
    timeout 120 {PYTHON} -m pip install -q --no-deps --no-index --target /tmp/$name /w/$name/*.whl || exit 1
done
"""

pytestmark = pytest.mark.docker


@pytest.mark.parametrize(
    ("policy", "arch", "image"),
    [
        ("manylinux_2_28", "aarch64", "quay.io/pypa/manylinux_2_28_aarch64:latest"),
        ("musllinux_1_2", "x86_64", "quay.io/pypa/musllinux_1_2_x86_64:latest"),
    ],
)
def test_the_targets_python_imports_them(tmp_path: Path, policy: str, arch: str, image: str) -> None:
    require_image(image)
    for name in CHECKS:
        command = (
            sys.executable, "-m", "manywheels", "build", str(ROOT / "tests/projects" / name), "--engine", "host",
            "--platform", policy, "--archs", arch, "--build", "cp312", "--output-dir", str(tmp_path / name),
            "--test-skip", "*",
        )  # fmt: skip
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stdout + built.stderr
    imports = "".join(
        f"PYTHONPATH=/tmp/{name} timeout 60 {PYTHON} -c '{check}; print(\"imported {name}\")' || exit 1\n"
        for name, check in CHECKS.items()
    )
    container = ("docker", "run", "--rm", "--volume", f"{tmp_path}:/w:ro", image, "sh", "-c", SCRIPT + imports)
    done = subprocess.run(container, capture_output=True, text=True, check=False, timeout=LIMIT)
    assert done.stdout.split("\n")[:-1] == [f"imported {name}" for name in CHECKS], done.stdout + done.stderr


def require_image(image: str) -> None:
    """Skip without the image; fail where MANYWHEELS_REQUIRE says that Docker's tests must run."""
    asked = subprocess.run(("docker", "image", "inspect", image), capture_output=True, text=True, check=False)
    if asked.returncode == 0:
        return
    if "docker" in os.environ.get("MANYWHEELS_REQUIRE", "").split():
        pytest.fail(f"{image} must be here", pytrace=False)
    pytest.skip(f"{image} is not here")
