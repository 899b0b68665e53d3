"""Compare the time of `manywheels verify` and `auditwheel show`: same large wheels, alternating runs.

    python benchmarks/bench_verify.py                         a wheel of 97 MB and one of 55 MB from the index
    python benchmarks/bench_verify.py --rounds 9 WHEEL …      other wheels

auditwheel only reads the ELF files; `verify` also hashes every byte, and asks pip and uv whether they choose the wheel.
The checks are also measured without the installers. Printed are medians: seconds, CPU seconds of all processes, and
the memory of the largest process. The exit status is 1 if the checks take more than LONGEST times as long as
auditwheel, or more memory than MOST.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

LONGEST: Final = 2.0  # times auditwheel's seconds
MOST: Final = 200  # MB
REQUIREMENTS: Final = ("catboost==1.2.10", "pyarrow==26.0.1")
PLATFORMS: Final = ("manylinux2014_x86_64", "manylinux_2_28_x86_64")
CHECKS_ALONE: Final = """
import sys
from pathlib import Path
from manywheels.report.findings import render
from manywheels.verify.rules import Rules
from manywheels.verify.run import verify_wheels
verdict = verify_wheels([Path(sys.argv[1])], Rules())
print(render(verdict, "text"))
sys.exit(0 if verdict.passed else 3)
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The figures of one run: wall-clock seconds, CPU seconds, megabytes of the largest process."""

    wall: float
    processor: float
    memory: float


@dataclass(kw_only=True)
class Contestant:
    """A command that takes a wheel, with the figures of its counted runs."""

    name: str
    command: tuple[str, ...]
    samples: list[Sample] = field(default_factory=list)

    @property
    def median(self) -> Sample:
        """The medians of the times, and the maximum of the memory."""
        return Sample(
            wall=statistics.median(sample.wall for sample in self.samples),
            processor=statistics.median(sample.processor for sample in self.samples),
            memory=max(sample.memory for sample in self.samples),
        )


def main() -> None:
    """Run the benchmark and print it as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("wheels", nargs="*", type=Path, metavar="WHEEL")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="manywheels-bench-") as name:
        wheels = options.wheels or [fetch(requirement, Path(name)) for requirement in REQUIREMENTS]
        print("| wheel | command | seconds | times auditwheel | processor seconds | memory |")
        print("| --- | --- | --- | --- | --- | --- |", flush=True)
        within = [measure(wheel.resolve(), options.rounds, Path(name)) for wheel in wheels]
    if not all(within):
        sys.exit(f"the checks may take at most {LONGEST} times auditwheel's time, and {MOST} MB")


def fetch(requirement: str, folder: Path) -> Path:
    """Download a wheel for CPython 3.12 and return its path."""
    place = folder / requirement
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--python-version",
         "3.12", *platforms, "--dest", place, requirement],
        check=True,
    )  # fmt: skip
    return next(place.glob("*.whl"))


def measure(wheel: Path, rounds: int, folder: Path) -> bool:
    """Run each contestant once uncounted, then `rounds` times; print; return whether the checks are within bounds."""
    auditwheel = Contestant(name="auditwheel show", command=("-m", "auditwheel", "show"))
    checks = Contestant(name="the checks alone", command=("-c", CHECKS_ALONE))
    verify = Contestant(name="manywheels verify", command=("-m", "manywheels", "verify"))
    contestants = (auditwheel, checks, verify)
    for number in range(rounds + 1):
        for contestant in contestants:
            sample = run((sys.executable, *contestant.command, str(wheel)), folder)
            if number:
                contestant.samples.append(sample)
    title = f"{wheel.name.split('-')[0]}, {wheel.stat().st_size / 1e6:.0f} MB"
    for contestant in contestants:
        median = contestant.median
        print(f"| {title} | {contestant.name} | {median.wall:.2f} | {median.wall / auditwheel.median.wall:.2f} | "
              f"{median.processor:.2f} | {median.memory:.0f} MB |", flush=True)  # fmt: skip
    return checks.median.wall <= LONGEST * auditwheel.median.wall and checks.median.memory < MOST


def run(command: tuple[str, ...], folder: Path) -> Sample:
    """Run a command. Findings are ignored; exits if the command crashes."""
    with (folder / "output").open("w+b") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode("utf-8", "replace")
    if process.returncode not in {0, 3} or "Traceback" in text:
        sys.exit(f"{' '.join(command)} failed (exit status {process.returncode}):\n{text[-4000:]}")
    return Sample(wall=wall, processor=usage.ru_utime + usage.ru_stime, memory=usage.ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
