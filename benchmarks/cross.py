"""Cross-build projects on this machine without Docker, and import what was made in the images of the targets.

    python benchmarks/cross.py                      all projects: the table of README.md
    python benchmarks/cross.py kiwisolver meson_ext some of them
    python benchmarks/cross.py --python cp311       for another Python than cp312
    python benchmarks/cross.py --emulated           build in the images of the targets as well, for comparison

Projects are those of tests/projects, and unmodified sdists from the index. Seconds are those of `manywheels build`, one
run each: with `--engine host`, and with `--engine container` where the target's programs run under emulation. What is
made once is made before: zig's libraries for a target, and the program's image. Importing needs Docker, with emulation
for aarch64; where an image is missing, the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from containers.pypi_projects import fetch_source  # noqa: E402

IMPORT_LIMIT = 900  # seconds for an image; emulated, an installation takes a minute


@dataclass(frozen=True, kw_only=True)
class Project:
    """A folder of tests/projects, or a requirement; `check` is what its wheel must do."""

    name: str
    why: str
    check: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """A platform that is built for, and the image that has its Pythons."""

    policy: str
    arch: str
    image: str

    @property
    def label(self) -> str:
        """For example `musllinux_1_2_aarch64`."""
        return f"{self.policy}_{self.arch}"


PROJECTS = (
    Project(name="c_setuptools", why="C, setuptools", check="import c_setuptools._core"),
    Project(name="meson_ext", why="C, meson", check="import meson_ext"),
    Project(name="cython_ext", why="Cython", check="import cython_ext"),
    Project(name="abi3", why="C, limited API", check="import abi3"),
    Project(name="cpp_cmake", why="C++, CMake, pybind11", check="import cpp_cmake"),
    Project(name="cxx_shared", why="C++, two modules, one library", check="import cxx_shared"),
    Project(name="markupsafe", why="C, setuptools", check="import markupsafe._speedups"),
    Project(name="msgpack", why="Cython", check="import msgpack._cmsgpack"),
    Project(name="multidict", why="C", check="import multidict._multidict"),
    Project(name="kiwisolver", why="C++, cppy", check="import kiwisolver; kiwisolver.Solver()"),
    Project(name="pyovf", why="C++, CMake, pybind11", check="import pyovf"),
    Project(name="bottleneck", why="C, numpy's headers", check="import bottleneck; bottleneck.nanmean([1.0])"),
    Project(name="contourpy", why="C++, meson, pybind11", check="import contourpy._contourpy"),
)  # fmt: skip
PLACES = (
    Place(policy="manylinux_2_28", arch="aarch64", image="quay.io/pypa/manylinux_2_28_aarch64"),
    Place(policy="musllinux_1_2", arch="x86_64", image="quay.io/pypa/musllinux_1_2_x86_64"),
    Place(policy="musllinux_1_2", arch="aarch64", image=""),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Built:
    """A project's wheel for a place, if there is one."""

    project: Project
    place: Place
    wheel: Path | None
    seconds: float
    emulated: float | None = None

    @property
    def title(self) -> str:
        """The project's name, for one of the index with its version."""
        is_own = (ROOT / "tests/projects" / self.project.name).is_dir()
        return self.project.name if is_own or not self.wheel else " ".join(self.wheel.name.split("-")[:2])


def main() -> int:
    """Build, import, print a table; return 1 if a wheel is missing or cannot be imported."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--python", default="cp312")
    parser.add_argument("--places", default="", help="only those whose label has this in it")
    parser.add_argument("--emulated", action="store_true")
    given = parser.parse_args()
    projects = [project for project in PROJECTS if not given.names or project.name in given.names]
    places = [place for place in PLACES if given.places in place.label]
    print(
        "| project | what it is | target | built | imported | seconds | emulated |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        sep="\n",
    )
    failed = 0
    with tempfile.TemporaryDirectory(prefix="manywheels-cross-") as name:
        sources = {project: source_of(project, Path(name)) for project in projects}
        for place in places:
            emulated = given.emulated and bool(place.image) and place.arch != os.uname().machine
            warm_up(place, given.python, Path(name), emulated=emulated)
            built = [
                build(project, sources[project], place, given.python, Path(name), emulated=emulated)
                for project in projects
            ]
            imported = import_all(built, place, given.python)
            for one in built:
                emulated_text = "" if one.emulated is None else f"{one.emulated:.0f}"
                answer = imported.get(one.project.name, "")
                failed += one.wheel is None or answer not in {"yes", "no image"}
                print(f"| {one.title} | {one.project.why} | {place.label} | {'yes' if one.wheel else 'no'} | "
                      f"{answer} | {one.seconds:.0f} | {emulated_text} |", flush=True)  # fmt: skip
    return min(failed, 1)


def source_of(project: Project, folder: Path) -> Path:
    """Return the project's folder or sdist."""
    own = ROOT / "tests/projects" / project.name
    return own if own.is_dir() else fetch_source(project.name, folder / f"source-{project.name}")


def warm_up(place: Place, python: str, folder: Path, *, emulated: bool) -> None:
    """Have zig build its C++ library for the target, and the engine the program's image."""
    for project in PROJECTS:
        if project.name in {"c_setuptools", "cpp_cmake"}:
            source = source_of(project, folder)
            run(source, place, python, folder / "warm" / place.label / project.name, engine="host")
            if emulated and project.name == "c_setuptools":
                run(source, place, python, folder / "warm" / place.label / "emulated", engine="container")


def build(project: Project, source: Path, place: Place, python: str, folder: Path, *, emulated: bool) -> Built:
    """Cross-build one wheel, and another one in the image of the target if that is asked for."""
    wheel, seconds = run(source, place, python, folder / place.label / project.name, engine="host")
    built = Built(project=project, place=place, wheel=wheel, seconds=seconds)
    if not emulated:
        return built
    output = folder / "emulated" / place.label / project.name
    wheel, seconds = run(source, place, python, output, engine="container")
    return replace(built, emulated=seconds if wheel else None)


def run(source: Path, place: Place, python: str, output: Path, *, engine: str) -> tuple[Path | None, float]:
    """Build for a place; return the wheel, if there is one, and the seconds."""
    command = (
        sys.executable, "-m", "manywheels", "build", str(source), "--engine", engine, "--platform", place.policy,
        "--archs", place.arch, "--build", python, "--output-dir", str(output), "--test-skip", "*",
    )  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    wheels = sorted(output.glob("*.whl"))
    if done.returncode == 0 and len(wheels) == 1:
        return wheels[0], seconds
    print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
    return None, seconds


def import_all(built: Iterable[Built], place: Place, python: str) -> dict[str, str]:
    """Install each wheel in the place's image, and import it there: one container for all."""
    checks = {one.project.name: (one.wheel, one.project.check) for one in built if one.wheel}
    if not place.image or not has_image(place.image):
        return dict.fromkeys(checks, "no image")
    script = "".join(
        f"$python -m pip install -q --no-cache-dir --target /tmp/{name} /w/{name}/{wheel.name} >&2 && "
        f"PYTHONPATH=/tmp/{name} $python -c '{check}' >&2 && echo {name} yes || echo {name} no\n"
        for name, (wheel, check) in checks.items()
    )  # fmt: skip
    folder = next(wheel for wheel, _check in checks.values()).parent.parent if checks else Path()
    python_variable = f"python='timeout 240 /opt/python/{python}-{python}/bin/python'\n"
    command = (
        "docker",
        "run",
        "--rm",
        "--volume",
        f"{folder}:/w:ro",
        place.image,
        "sh",
        "-c",
        python_variable + script,
    )
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=IMPORT_LIMIT)
    except subprocess.TimeoutExpired:
        return dict.fromkeys(checks, f"not within {IMPORT_LIMIT} s")
    if "no" in done.stdout.split():
        print(done.stderr[-3000:], file=sys.stderr)
    return dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.partition(" ")[0] in checks)


def has_image(image: str) -> bool:
    """Whether the engine has it."""
    asked = subprocess.run(("docker", "image", "inspect", image), capture_output=True, text=True, check=False)
    return asked.returncode == os.EX_OK and bool(json.loads(asked.stdout))


if __name__ == "__main__":
    sys.exit(main())
