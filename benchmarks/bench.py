"""Compare the time of manywheels and cibuildwheel: same project, same image, alternating runs.

    make bench                       pyovf, three rounds
    make bench BENCH_ARGS="--rounds 1 --project path/to/project"

cibuildwheel (the newest release) runs with its default front end, pip, and with `build[uv]`; manywheels with
`--engine container`. A warm-up run fills the caches that each tool keeps. Printed are the medians, the ratios, the
share of the time without a running compiler, and the memory of manywheels.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from uv import find_uv_bin

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from containers.pypi_projects import BASE_IMAGE, fetch_source

PROJECT = "pyovf==0.3.0"
BUILDS = "cp39-* cp310-* cp311-* cp312-* cp313-* cp314-*"


@dataclass
class Contestant:
    """One tool in one configuration, with its seconds in each counted round."""

    name: str
    run: Callable[[Path, Path], None]
    seconds: list[float] = field(default_factory=list)
    samplers: list[Sampler] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the rounds, in seconds."""
        return statistics.median(self.seconds)


def main() -> None:
    """Run the benchmark and print it as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--project", type=Path, help="a project's folder; default: pyovf's sdist from the index")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="manywheels-bench-") as name:
        folder = Path(name)
        project = options.project or fetch_source(PROJECT, folder)
        cibuildwheel = install_cibuildwheel(folder)
        contestants = [
            Contestant("cibuildwheel, default (pip)", cibuildwheel_runner(cibuildwheel, "pip")),
            Contestant("cibuildwheel, build[uv]", cibuildwheel_runner(cibuildwheel, "build[uv]")),
            Contestant("manywheels --engine container", run_manywheels),
        ]
        measure(contestants, project, folder, options.rounds)
        report(contestants, options.json)


def install_cibuildwheel(folder: Path) -> Path:
    """Install the newest cibuildwheel into a new environment; return the program's path."""
    venv = folder / "cibuildwheel"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, venv], check=True)
    subprocess.run([find_uv_bin(), "pip", "install", "--quiet", "--python", venv, "cibuildwheel"], check=True)
    return venv / "bin" / "cibuildwheel"


def cibuildwheel_runner(program: Path, frontend: str) -> Callable[[Path, Path], None]:
    """Return a function that builds a project with cibuildwheel and one front end."""
    environment = os.environ | {
        "CIBW_BUILD": BUILDS.replace("-*", "-manylinux_x86_64"),  # without musllinux
        "CIBW_BUILD_FRONTEND": frontend,
        "CIBW_ARCHS": "x86_64",
        "CIBW_MANYLINUX_X86_64_IMAGE": BASE_IMAGE,
        "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]),
    }

    def run(project: Path, output: Path) -> None:
        with (output / "log").open("wb") as log:
            subprocess.run([program, "--platform", "linux", "--output-dir", output, "."],
                           check=True, cwd=project, env=environment, stdout=log, stderr=log)  # fmt: skip

    return run


def run_manywheels(project: Path, output: Path) -> None:
    """Build a project with manywheels in a container."""
    with (output / "log").open("wb") as log:
        subprocess.run([sys.executable, "-m", "manywheels", "build", project, "--build", BUILDS, "--output-dir", output,
                        "--engine", "container"], check=True, stdout=log, stderr=log)  # fmt: skip


def measure(contestants: list[Contestant], project: Path, folder: Path, rounds: int) -> None:
    """Run each contestant once uncounted, then `rounds` times, alternating. Each run must make six wheels."""
    for number in range(rounds + 1):
        for contestant in contestants:
            output = folder / f"{number}-{contestants.index(contestant)}"
            output.mkdir()
            sampler = Sampler()
            started = time.monotonic()
            try:
                contestant.run(project, output)
            except subprocess.CalledProcessError as error:
                log = (output / "log").read_text("utf-8", "replace")
                sys.exit(f"{contestant.name} failed (exit status {error.returncode}):\n{log[-4000:]}")
            seconds = time.monotonic() - started
            sampler.stop()
            wheels = len(list(output.glob("*.whl")))
            if wheels != len(BUILDS.split()):
                sys.exit(f"{contestant.name}: {wheels} wheels; see {shutil.copy(output / 'log', '.')}")
            print(f"{'warm-up' if number == 0 else f'round {number}'}: {contestant.name}: {seconds:.1f} s", flush=True)
            if number:
                contestant.seconds.append(seconds)
                contestant.samplers.append(sampler)


class Sampler:
    """Samples the machine's processes ten times a second: running compilers, and the memory of manywheels."""

    _COMPILERS = ("zig", "clang", "cc1", "cc1plus", "ld", "ld.lld", "as", "lto1", "collect2", "rustc")

    def __init__(self) -> None:
        self.samples = self.compiling = self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self.samples += 1
            compiling, memory = self._sample()
            self.compiling += compiling
            self.peak = max(self.peak, memory)

    def _sample(self) -> tuple[bool, int]:
        compiling, memory = False, 0
        for process in Path("/proc").iterdir():
            if not process.name.isdigit():
                continue
            try:
                name = (process / "comm").read_text("utf-8").strip()
                compiling = compiling or name in self._COMPILERS
                if name.startswith("python"):
                    command = (process / "cmdline").read_bytes()
                    if b"manywheels" in command and b"sandbox_init" not in command:
                        memory += resident(process)
            except (OSError, ValueError):
                continue
        return compiling, memory


def resident(process: Path) -> int:
    """Return a process's resident memory in bytes."""
    pages = int((process / "statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def report(contestants: list[Contestant], file: Path | None) -> None:
    """Print the medians as a Markdown table; write the figures as JSON to `file`, if given."""
    ours = contestants[-1].median
    print("\n| tool | seconds | median | manywheels is faster by | no compiler running | memory of the tool |")
    print("| --- | --- | --- | --- | --- | --- |")
    figures = {}
    for contestant in contestants:
        idle = statistics.median(1 - sampler.compiling / sampler.samples for sampler in contestant.samplers)
        peak = max(sampler.peak for sampler in contestant.samplers)
        rounds = ", ".join(f"{seconds:.1f}" for seconds in contestant.seconds)
        memory = f"{peak / 1e6:.0f} MB" if contestant is contestants[-1] else ""
        ratio = f"{contestant.median / ours:.2f} x"
        print(f"| {contestant.name} | {rounds} | {contestant.median:.1f} | {ratio} | {idle:.0%} | {memory} |")
        figures[contestant.name] = {"seconds": contestant.seconds, "idle": idle, "peak": peak}
    if file:
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
