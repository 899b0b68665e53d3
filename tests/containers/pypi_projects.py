"""Real projects, as their sdists stand on the index, built in the container for every CPython that they allow.

python tests/containers/pypi_projects.py      builds all of them and prints the table of benchmarks/README.md
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASE_IMAGE = "quay.io/pypa/manylinux_2_28_x86_64:2026.08.15-1"
SIX = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314")


@dataclass(frozen=True, kw_only=True)
class IndexProject:
    """A project of the index: what it is there for, its Pythons, and code that proves that its core is loaded."""

    name: str
    version: str
    why: str
    pythons: tuple[str, ...]
    proof: str

    @property
    def requirement(self) -> str:
        """The one release of it that is meant."""
        return f"{self.name}=={self.version}"


PROJECTS = (
    IndexProject(name="pyovf", version="0.3.0", why="pybind11, CMake, setuptools-scm", pythons=SIX,
                 proof="import pyovf, pyovf._ovf_core as core; assert core.__file__.endswith('.so')"),
    IndexProject(name="markupsafe", version="3.0.4", why="C, setuptools", pythons=SIX,
                 proof="from markupsafe import _speedups, escape; assert str(escape('<')) == '&lt;'"),
    IndexProject(name="msgpack", version="1.2.4", why="Cython", pythons=SIX[1:],
                 proof="from msgpack import _cmsgpack, packb; assert packb([1]) == b'\\x91\\x01'"),
    IndexProject(name="kiwisolver", version="1.5.1", why="C++, cppy", pythons=SIX[1:],
                 proof="import kiwisolver._cext as core; from kiwisolver import Variable; assert core.__file__"),
    IndexProject(name="zstandard", version="0.25.0", why="C, large; cffi", pythons=SIX,
                 proof="import zstandard as z; assert z.backend == 'cext'; z.ZstdCompressor().compress(b'a')"),
    IndexProject(name="psutil", version="7.2.2", why="C, abi3", pythons=SIX,
                 proof="import psutil; assert psutil.Process().pid"),
)  # fmt: skip


def project_named(name: str) -> IndexProject:
    """Return one of the projects."""
    (found,) = (project for project in PROJECTS if project.name == name)
    return found


def download_sdist(project: IndexProject | str, folder: Path) -> Path:
    """Download the sdist of a project or of `name==version`, and nothing else; return its path."""
    requirement = project if isinstance(project, str) else project.requirement
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary",
         requirement.partition("==")[0], "--dest", folder, requirement],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(folder.glob("*.tar.gz"))


def fetch_source(requirement: str, folder: Path) -> Path:
    """Download the sdist of `name==version`; return its folder, extracted."""
    sdist = download_sdist(requirement, folder)
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def build(sdist: Path, output: Path, pythons: Iterable[str] = SIX) -> dict[str, Any]:
    """Build in the container; return the manifest. A failing run raises AssertionError with its output.

    Which targets, and that no tests are run, is said here: the projects' `[tool.cibuildwheel]` may want more.
    """
    ran = subprocess.run(
        [sys.executable, "-m", "manywheels", "build", sdist, "--output-dir", output, "--engine", "container",
         "--build", " ".join(f"{tag}-manylinux_*" for tag in pythons), "--test-skip", "*"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-6000:] + ran.stderr[-2000:]
    manifest: dict[str, Any] = json.loads((output / "manywheels.json").read_text("utf-8"))
    return manifest


def prove(project: IndexProject, manifest: dict[str, Any], output: Path) -> None:
    """Install each target's wheel into its interpreter, in a fresh container, and run the project's proof."""
    steps = [
        f"uv venv -q -p /opt/python/{tag}-{tag}/bin/python /tmp/{tag}"
        f" && uv pip install -q -p /tmp/{tag} /wheels/{wheel}"
        f' && /tmp/{tag}/bin/python -I -W error::RuntimeWarning -c "$PROOF"'
        for tag, wheel in (
            (target["identifier"].partition("-")[0], target["wheel"]["name"]) for target in manifest["targets"]
        )
    ]
    ran = subprocess.run(
        ["docker", "run", "--rm", "-v", f"{output}:/wheels:ro", "-e", f"PROOF={project.proof}", BASE_IMAGE,
         "sh", "-euc", "\n".join(steps)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def main() -> None:
    """Build and prove every project, and print the table."""
    print("| project | what it is | wheels | Pythons | lowest glibc | size | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for project in PROJECTS:
        with tempfile.TemporaryDirectory(prefix="manywheels-projects-") as name:
            output = Path(name, "dist")
            manifest = build(download_sdist(project, Path(name)), output)
            prove(project, manifest, output)
            wheels = {target["wheel"]["name"]: target["wheel"] for target in manifest["targets"]}
            size = sum(wheel["size"] for wheel in wheels.values()) / len(wheels) / 1000
            glibc = " ".join(sorted({wheel["glibc"] or "any" for wheel in wheels.values()}))
            pythons = " ".join(target["identifier"].partition("-")[0] for target in manifest["targets"])
            print(f"| {project.name} {project.version} | {project.why} | {len(wheels)} | {pythons} | {glibc} | "
                  f"{size:.0f} kB | {manifest['seconds']:.1f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
