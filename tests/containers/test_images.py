"""`--engine container --platform …` in each policy's image, over the corpus: the tags, and whether they hold."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from packaging.utils import parse_wheel_filename

from manywheels.plan.policies import Policy, policy_named
from runner import copied_program, removed_afterwards

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[2]
PROJECTS = ROOT / "tests/projects"
ARCH = os.uname().machine
POLICIES = ("manylinux2014", "manylinux_2_28", "manylinux_2_34")
SUPPORTED = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314")
OLDEST_AND_NEWEST = ("cp39", "cp314")
LEGACY = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}  # PEP 600
TAGS_OF = """
import os, sys
from manywheels import image, policies
for name in sys.argv[1:]:
    print(image.image_tag(policies.policy_named(name), os.uname().machine, image.image_context()))
"""

pytestmark = [pytest.mark.docker, pytest.mark.network]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A project of the corpus, the targets that are asked for, and the interpreter and ABI tags of its wheels.

    `tags` are None where each interpreter has a wheel of its own.
    """

    name: str
    builds: str = " ".join(OLDEST_AND_NEWEST)
    tags: frozenset[tuple[str, str]] | None = None


CORPUS = (
    Corpus(name="c_setuptools", builds="all"),
    Corpus(name="cpp_cmake"),
    Corpus(name="cython_ext"),
    Corpus(name="meson_ext"),
    Corpus(name="abi3", tags=frozenset({("cp39", "abi3")})),
    Corpus(name="py3_none", tags=frozenset({("py3", "none")})),
)


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A copy of the program with a file of its own, so that the images that it makes are nobody else's."""

    path: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return self._python("-m", "manywheels", *arguments)

    def image_tags(self) -> list[str]:
        """Return the name of each policy's image."""
        return self._python("-c", TAGS_OF, *POLICIES).stdout.split()

    def _python(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment: Mapping[str, str] = {
            **os.environ, "PYTHONPATH": str(self.path / "src"), "PYTHONDONTWRITEBYTECODE": "1",
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-P", *arguments], env=environment, cwd=self.path, capture_output=True, text=True,
            check=False, timeout=600,
        )  # fmt: skip


@pytest.fixture(scope="module")
def checkout(client: DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    checkout = Checkout(path=copied_program(tmp_path_factory.mktemp("checkout")))
    tags = checkout.image_tags()
    assert len(tags) == len(POLICIES)
    with removed_afterwards(client, tags):
        yield checkout


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


@pytest.mark.parametrize("project", CORPUS, ids=[project.name for project in CORPUS])
@pytest.mark.parametrize("platform", POLICIES)
def test_the_wheels_meet_the_policy_of_the_image(
    client: DockerClient, checkout: Checkout, tmp_path: Path, platform: str, project: Corpus
) -> None:
    policy = policy_named(platform)
    require_image(client, policy)
    source, output = tmp_path / project.name, tmp_path / "dist"
    shutil.copytree(PROJECTS / project.name, source)

    built = checkout.run("build", source, "--output-dir", output, "--build", project.builds,
                         "--platform", platform, "--engine", "container")  # fmt: skip
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-2000:]

    targets: list[dict[str, Any]] = json.loads((output / "manywheels.json").read_text("utf-8"))["targets"]
    pythons = [target["identifier"].partition("-")[0] for target in targets]
    if project.builds == "all":
        assert set(pythons) >= set(SUPPORTED)
    else:
        assert pythons == project.builds.split()
    assert {target["state"] for target in targets} <= {"built", "reused"}

    wheels = sorted(output.glob("*.whl"))
    assert {wheel.name for wheel in wheels} == {target["wheel"]["name"] for target in targets}
    tags = [tag for wheel in wheels for tag in parse_wheel_filename(wheel.name)[3]]
    assert {(tag.interpreter, tag.abi) for tag in tags} == (project.tags or {(python, python) for python in pythons})
    for tag in tags:
        assert glibc_of(tag.platform) <= policy.version, f"{tag} asks for more than {platform} promises"

    verified = checkout.run("verify", output, "--format", "json")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    verdict = json.loads(verified.stdout)
    assert verdict["passed"] is True
    assert len(verdict["wheels"]) == len(wheels)
    for report in verdict["wheels"]:
        assert tuple(map(int, (report["glibc"] or "0.0").split(".")))[:2] <= policy.version
