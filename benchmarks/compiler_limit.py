"""How fast a CMake project could be built if nothing but its compilers ran: their commands alone, on all cores.

The project is built once for each Python in the image, which leaves the commands in CMake's compile_commands.json. Then
those that are needed run in a new container, with no build around them, as many at once as there are cores. Needed are
those whose source includes Python.h, for each Python; of all others one is enough.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from containers.pypi_projects import BASE_IMAGE, SIX
from contestants import LABEL, run_logged

# For a Python: an environment with the project's build requirements, then a build in a copy of the source, which stays.
_PREPARE = """
tag=$1; shift
export PATH=/limit/$tag/env/bin:$PATH CMAKE_EXPORT_COMPILE_COMMANDS=ON
uv venv -q -p "/opt/python/$tag-$tag/bin/python" "/limit/$tag/env"
uv pip install -q -p "/limit/$tag/env" "$@"
cp -r /limit/source "/limit/$tag/source"
uv build --wheel --no-build-isolation -p "/limit/$tag/env/bin/python" -o "/limit/$tag/dist" "/limit/$tag/source"
"""
_RUN_ALL = """
begin=$(date +%s%N)
xargs -0 -n 1 -P "$(nproc)" sh -ec </limit/commands
end=$(date +%s%N)
echo "$((end - begin))" >/limit/nanoseconds
"""


@dataclass(frozen=True)
class Limit:
    """The seconds of each round, for this many commands."""

    seconds: list[float]
    commands: int
    cores: int


@dataclass(frozen=True)
class Command:
    """A compiler's command in the container; `unit` is the source, whichever Python it is compiled for."""

    unit: str
    folder: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command for a shell."""
        return f"cd {shlex.quote(self.folder)} && {shlex.join(self.words)}"

    def preprocessing_to(self, file: str) -> Command:
        """Return the command that writes the preprocessed text instead of an object."""
        words = ["-E" if word == "-c" else word for word in self.words]
        words[words.index("-o") + 1] = file
        return Command(self.unit, self.folder, tuple(words))


def measure_limit(project: Path, folder: Path, rounds: int) -> Limit:
    """Measure in new containers; `folder` is for files."""
    shared = folder / "limit"
    shared.mkdir()
    shutil.copytree(project, shared / "source")
    requires = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    for tag in SIX:
        _in_container(shared, _PREPARE, tag, *requires)
    needed = list(_needed(shared, [command for tag in SIX for command in _commands(shared, tag)]))
    return Limit([_run_all(shared, needed) for _ in range(rounds)], len(needed), os.cpu_count() or 1)


def _commands(shared: Path, tag: str) -> Iterator[Command]:
    """Yield what a build compiled."""
    for file in sorted((shared / tag / "source").rglob("compile_commands.json")):
        for entry in json.loads(file.read_text("utf-8")):
            unit = entry["file"].removeprefix(f"/limit/{tag}/")
            yield Command(unit, entry["directory"], tuple(shlex.split(entry["command"])))


def _needed(shared: Path, commands: list[Command]) -> Iterator[Command]:
    """Yield those that include Python.h, and of the others the first one of each unit."""
    (shared / "texts").mkdir()
    _run_all(shared, [command.preprocessing_to(f"/limit/texts/{place}") for place, command in enumerate(commands)])
    seen = set()
    for place, command in enumerate(commands):
        if b'/Python.h"' in (shared / "texts" / str(place)).read_bytes():  # in a line marker
            yield command
        elif command.unit not in seen:
            seen.add(command.unit)
            yield command


def _run_all(shared: Path, commands: Iterable[Command]) -> float:
    """Run commands in a new container, side by side; return the seconds from the first one's start on."""
    (shared / "commands").write_text("\0".join(command.line for command in commands), encoding="utf-8")
    _in_container(shared, _RUN_ALL)
    return int((shared / "nanoseconds").read_text("ascii")) / 1e9


def _in_container(shared: Path, script: str, *arguments: str) -> None:
    command = (
        "docker", "run", "--rm", "--label", LABEL, "--volume", f"{shared}:/limit", BASE_IMAGE,
        "sh", "-euc", script, "sh", *arguments,
    )  # fmt: skip
    log = shared / "log"
    if status := run_logged(command, log):
        sys.exit(f"The compilers alone failed (exit status {status}):\n{log.read_text('utf-8', 'replace')[-4000:]}")
