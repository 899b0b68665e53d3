"""Compare manywheels with cibuildwheel: same projects, same image, alternating runs.

    make bench                                       all projects, three rounds: some hours
    make bench BENCH_ARGS="--only lz4 --rounds 1"    one of them, one round
    make bench BENCH_ARGS="--project path/to/project"

cibuildwheel (the newest release) runs with its default front end, pip, and with `build[uv]`; manywheels with
`--engine container`. A warm-up run fills the caches that each tool keeps. README.md says what is measured, and how. The
machine must be quiet.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from comparison_tables import Results, tables
from contestants import cibuildwheel, install_cibuildwheel, manywheels
from side_by_side import PROJECTS, Figures, Measurement, Project, from_folder


def main() -> None:
    """Run the benchmark and print it as Markdown tables."""
    options = parsed(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what runs is ended before
    with tempfile.TemporaryDirectory(prefix="manywheels-bench-") as name:
        folder = Path(name)
        program = install_cibuildwheel(folder)
        contestants = [cibuildwheel(program, "pip"), cibuildwheel(program, "build[uv]"), manywheels()]
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}", flush=True)
        results: dict[str, Figures] = {}
        for number, project in enumerate(chosen(options)):
            measurement = Measurement(project, folder / str(number))
            results[project.name] = measurement.measure(contestants, options.rounds)
            if options.json:
                write_json(results, options.json)
        print("\n" + "\n".join(tables(results, contestants)))


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="counted rounds after the warm-up (default: 3)")
    parser.add_argument("--only", action="append", metavar="NAME", choices=[first_word(one) for one in PROJECTS],
                        help="only this project: %(choices)s; may be given again")  # fmt: skip
    parser.add_argument("--project", type=Path, help="a project's folder, instead of those of the table")
    parser.add_argument("--json", type=Path, help="also write the figures to this file, after each project")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: one at least")
    return options


def chosen(options: argparse.Namespace) -> list[Project]:
    """Return the projects that the options ask for."""
    if options.project:
        return [from_folder(options.project)]
    return [project for project in PROJECTS if not options.only or first_word(project) in options.only]


def first_word(project: Project) -> str:
    """Return what a project is called on the command line."""
    return project.name.split()[0]


def write_json(results: Results, file: Path) -> None:
    figures = {name: asdict(one) for name, one in results.items()}
    file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted")
