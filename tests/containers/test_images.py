"""`--engine container --platform …` in each policy's image, over the corpus: the tags, and whether they hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import parse_wheel_filename

from manywheels.plan.policies import Policy, policy_named
from manywheels.plan.targets import known_targets
from runner.images import ARCH

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[2]
PROJECTS = ROOT / "tests/projects"
SUPPORTED = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t", "pp311")  # of 2_28's
OWN_TAGS = {known.tag: (known.tag.removesuffix("t"), known.abi) for known in known_targets("manylinux", ARCH)}
LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}  # PEP 600

pytestmark = [pytest.mark.docker, pytest.mark.network, pytest.mark.usefixtures("program_image")]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A project of the corpus in a policy's image: the targets, and the interpreter and ABI tags of its wheels.

    `tags` are None where each interpreter has a wheel of its own. Every wheel is imported in the image, too.
    """

    platform: str
    project: str
    builds: str
    tags: frozenset[tuple[str, str]] | None = None


# Every way to build in one image, and a compiler for each language in the others: they differ in nothing else.
CASES = (
    Case(platform="manylinux_2_28", project="c_setuptools", builds="all"),
    Case(platform="manylinux_2_28", project="cpp_cmake", builds="cp39 cp314"),
    Case(platform="manylinux_2_28", project="cython_ext", builds="cp314"),
    Case(platform="manylinux_2_28", project="meson_ext", builds="cp314"),
    Case(platform="manylinux_2_28", project="abi3_undeclared", builds="cp310 cp314 cp314t cp315",
         tags=frozenset({("cp310", "abi3"), ("cp314", "cp314t")})),
    Case(platform="manylinux_2_28", project="abi3t", builds="cp315 cp315t",
         tags=frozenset({("cp315", "abi3"), ("cp315", "abi3t")})),
    Case(platform="manylinux_2_28", project="py3_none", builds="cp39 cp314", tags=frozenset({("py3", "none")})),
    Case(platform="manylinux2014", project="c_setuptools", builds="cp39"),
    Case(platform="manylinux2014", project="cpp_cmake", builds="cp314"),
    Case(platform="manylinux_2_34", project="c_setuptools", builds="cp39"),
    Case(platform="manylinux_2_34", project="cpp_cmake", builds="cp314"),
)  # fmt: skip


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "manywheels", *arguments], capture_output=True, text=True, check=False, timeout=600
    )


def require_image(client: DockerClient, policy: Policy) -> None:
    """Skip the test where the policy's image is not here: pulling one is no part of a test."""
    from docker.errors import ImageNotFound

    try:
        client.images.get(policy.image_name(ARCH))
    except ImageNotFound:
        reason = f"the image {policy.image_name(ARCH)} is not here"
        if "docker" in os.environ.get("MANYWHEELS_REQUIRE", "").split():
            pytest.fail(reason)
        pytest.skip(reason)


def glibc_of(platform: str) -> tuple[int, int]:
    """Return the glibc that a platform tag of this machine's architecture asks for."""
    name = platform.removesuffix(f"_{ARCH}")
    assert name != platform, f"{platform} is not for {ARCH}"
    if name in LEGACY:
        return LEGACY[name]
    family, major, minor = name.split("_")
    assert family == "manylinux"
    return int(major), int(minor)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.platform}-{case.project}" for case in CASES])
def test_the_wheels_meet_the_policy_of_the_image(client: DockerClient, tmp_path: Path, case: Case) -> None:
    policy = policy_named(case.platform)
    require_image(client, policy)
    source, output = tmp_path / case.project, tmp_path / "dist"
    shutil.copytree(PROJECTS / case.project, source)

    built = run("build", source, "--output-dir", output, "--build", case.builds,
                "--platform", case.platform, "--engine", "container",
                "--test-command", f"python -c 'import {case.project}'")  # fmt: skip
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-2000:]

    targets: list[dict[str, Any]] = json.loads((output / "manywheels.json").read_text("utf-8"))["targets"]
    pythons = [target["identifier"].partition("-")[0] for target in targets]
    if case.builds == "all":
        assert set(pythons) >= set(SUPPORTED)
    else:
        assert pythons == case.builds.split()
    assert {target["state"] for target in targets} <= {"built", "reused"}

    wheels = sorted(output.glob("*.whl"))
    assert {wheel.name for wheel in wheels} == {target["wheel"]["name"] for target in targets}
    tags = [tag for wheel in wheels for tag in parse_wheel_filename(wheel.name)[3]]
    assert {(tag.interpreter, tag.abi) for tag in tags} == (case.tags or {OWN_TAGS[python] for python in pythons})
    for tag in tags:
        assert glibc_of(tag.platform) <= policy.version, f"{tag} asks for more than {case.platform} promises"

    verified = run("verify", output, "--format", "json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    verdict = json.loads(verified.stdout)
    assert verdict["passed"] is True
    assert len(verdict["wheels"]) == len(wheels)
    for report in verdict["wheels"]:
        assert tuple(map(int, (report["glibc"] or "0.0").split(".")))[:2] <= policy.version
