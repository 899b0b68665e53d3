"""Build and test projects with `[tool.cibuildwheel]` with cibuildwheel and manywheels, and compare the results.

    python benchmarks/compare_cibuildwheel.py              all projects: the table of README.md
    python benchmarks/compare_cibuildwheel.py httptools    one project

Both read the project's configuration, with its hooks and tests, and use the same image. They must make the same wheels,
with the same tags, and agree on the result. Needs Docker. Seconds are those of one run each.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from containers.beside_cibuildwheel import CIBUILDWHEEL, MANYWHEELS, Outcome, run
from containers.pypi_projects import fetch_source


@dataclass(frozen=True, kw_only=True)
class Project:
    """A requirement, and what its configuration tests here."""

    requirement: str
    why: str


PROJECTS = (
    Project(requirement="httptools==0.9.0", why="front end `build`, `test-command`"),
    Project(requirement="propcache==0.5.4", why="`build[uv]`, `test-requires` from a file, constraints"),
    Project(requirement="multidict==7.2.1", why="`before-all`, `build[uv]`, tests"),
    Project(requirement="yarl==1.25.1", why="`build[uv]`, constraints in `environment`, tests"),
    Project(requirement="kiwisolver==1.5.1", why="C++, tests in `{package}`"),
    Project(requirement="line-profiler==5.1.0", why="`test-extras`, tests that compile"),
    Project(requirement="levenshtein==0.27.5", why="C++ and Cython with CMake, tests"),
)  # fmt: skip


def main() -> int:
    """Compare, print a table; return 1 if the tools differ."""
    wanted = sys.argv[1:]
    print("| project | what it asks for | wheels | cibuildwheel | manywheels | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    differing = 0
    for project in PROJECTS:
        if wanted and project.requirement.partition("==")[0] not in wanted:
            continue
        with tempfile.TemporaryDirectory(prefix="manywheels-compare-") as name:
            source = fetch_source(project.requirement, Path(name))
            theirs = run(CIBUILDWHEEL, source, Path(name, "theirs"))
            ours = run(MANYWHEELS, source, Path(name, "ours"))
        agree = (theirs.wheels, theirs.passed) == (ours.wheels, ours.passed)
        differing += not agree
        seconds = f"{theirs.seconds:.0f} and {ours.seconds:.0f}"
        print(f"| {project.requirement.replace('==', ' ')} | {project.why} | {wheels(theirs, ours)} | "
              f"{verdict(theirs)} | {verdict(ours)} | {seconds} |", flush=True)  # fmt: skip
        if not agree or not ours.passed:
            for tool, outcome in (("cibuildwheel", theirs), ("manywheels", ours)):
                print(f"--- {tool}\n{outcome.said[-4000:]}", file=sys.stderr)
    return min(differing, 1)


def wheels(theirs: Outcome, ours: Outcome) -> str:
    """Return the number of wheels, or that they differ."""
    if theirs.wheels != ours.wheels:
        return "differ"
    return f"{len(ours.wheels)}, same tags" if ours.wheels else "none"


def verdict(outcome: Outcome) -> str:
    """Return a tool's result in one word."""
    return "passed" if outcome.passed else "failed"


if __name__ == "__main__":
    sys.exit(main())
