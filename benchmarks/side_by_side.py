"""The projects of the comparison, and how each is measured: cold, with one file changed, with nothing changed."""

from __future__ import annotations

import secrets
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from compiler_limit import Limit, measure_limit
from containers.pypi_projects import fetch_source
from contestants import Contestant, binary_wheels, manywheels, told_compilations
from generated_cpp import write_project
from measuring import Run, measured

_KEEP = ("--compiler-cache", "keep")
_SUFFIXES = (".c", ".cc", ".cpp", ".cxx")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project to build; `changed` is the source file that somebody edits.

    `has_limit` is whether the compilers' commands alone are measured, too, as CMake can write them down.
    """

    name: str
    fetch: Callable[[Path], Path]
    changed: str
    has_limit: bool = False


@dataclass
class Figures:
    """All counted runs of a project; `cold` by contestant, `changed` and `unchanged` those of manywheels."""

    wheels: int = 0
    cold: dict[str, list[Run]] = field(default_factory=dict)
    changed: list[Run] = field(default_factory=list)
    unchanged: list[Run] = field(default_factory=list)
    limit: Limit | None = None


def from_index(requirement: str, changed: str, *, has_limit: bool = False) -> Project:
    """Return a project whose sdist is on the index, unmodified."""
    return Project(
        name=requirement.replace("==", " "),
        fetch=lambda folder: fetch_source(requirement, folder),
        changed=changed,
        has_limit=has_limit,
    )


def from_folder(source: Path) -> Project:
    """Return a project on this machine. Its largest C or C++ file is what changes."""
    files = [file for file in source.rglob("*") if file.suffix in _SUFFIXES]
    if not files:
        sys.exit(f"{source} has no C or C++ source that could be changed")
    largest = max(files, key=lambda file: file.stat().st_size)
    return Project(
        name=source.resolve().name,
        fetch=lambda folder: Path(shutil.copytree(source, folder / "source")),
        changed=str(largest.relative_to(source)),
    )


PROJECTS = (
    from_index("pyovf==0.3.0", "src/pyovf/ovf-rw/src_c++/OVF_File.cpp", has_limit=True),
    from_index("lz4==4.4.5", "lz4libs/lz4hc.c"),
    from_index("brotli==1.2.1", "c/enc/encode.c"),
    from_index("pycares==5.2.1", "deps/c-ares/src/lib/ares_init.c"),
    from_index("h3==4.5.0", "src/h3lib/src/h3lib/lib/algos.c"),
    Project(
        name="generated C++",
        fetch=lambda folder: write_project(folder / "manyunits"),
        changed="src/unit_07.cpp",
    ),
)


class Measurement:
    """Measures one project in a folder of its own."""

    def __init__(self, project: Project, folder: Path) -> None:
        folder.mkdir()
        self._project, self._folder = project, folder
        self._source = project.fetch(folder)
        self._count = 0
        self.figures = Figures()

    def measure(self, contestants: Sequence[Contestant], rounds: int) -> Figures:
        """Measure everything there is of the project; the last contestant is manywheels."""
        self._cold(contestants, rounds)
        self._changed(rounds)
        if self._project.has_limit:
            self.figures.limit = measure_limit(self._source, self._folder, rounds)
        return self.figures

    def _cold(self, contestants: Sequence[Contestant], rounds: int) -> None:
        """Run each contestant once uncounted, then `rounds` times, alternating, each time into a new folder."""
        for number in range(rounds + 1):
            for contestant in contestants:
                run = self._run(contestant, self._source, self._new_output(), _label(number))
                if number:
                    self.figures.cold.setdefault(contestant.short, []).append(run)

    def _changed(self, rounds: int) -> None:
        """Have manywheels keep its objects; then, again and again, change a file, build, and build once more."""
        contestant = manywheels()
        source = Path(shutil.copytree(self._source, self._folder / "changed"))
        self._run(contestant, source, self._new_output(), "objects kept", *_KEEP)
        for number in range(1, rounds + 1):
            change(source / self._project.changed)
            output = self._new_output()
            run = self._run(contestant, source, output, f"{_label(number)}, one file changed", *_KEEP)
            self.figures.changed.append(run)
            run = self._run(contestant, source, output, f"{_label(number)}, nothing changed", *_KEEP)
            self.figures.unchanged.append(run)

    def _new_output(self) -> Path:
        self._count += 1
        output = self._folder / f"output-{self._count}"
        output.mkdir()
        return output

    def _run(self, contestant: Contestant, source: Path, output: Path, label: str, *more: str) -> Run:
        log = output.with_suffix(".log")
        run = measured(lambda: contestant.run(source, output, log, *more))
        self._check_wheels(contestant, output, log)
        run = replace(run, told=told_compilations(output))
        print(f"{self._project.name}: {label}: {contestant.name}: {run.seconds:.1f} s", flush=True)
        return run

    def _check_wheels(self, contestant: Contestant, output: Path, log: Path) -> None:
        """All runs must make the same number of wheels with compiled modules."""
        wheels = binary_wheels(output)
        self.figures.wheels = self.figures.wheels or wheels
        if not wheels or wheels != self.figures.wheels:
            sys.exit(f"{contestant.name}: {wheels} wheels with compiled modules, not {self.figures.wheels or 'any'}; "
                     f"see {shutil.copy(log, '.')}")  # fmt: skip


def _label(number: int) -> str:
    return f"round {number}" if number else "warm-up"


def change(file: Path) -> None:
    """Append a function that no compiler has ever seen."""
    number = secrets.randbelow(1 << 31)
    with file.open("a", encoding="utf-8") as text:
        text.write(f"\nint changed_{number}(void);\nint changed_{number}(void) {{ return {number}; }}\n")
