"""Many cases in little time: targets with settings of their own in one run, and what starts nothing in this process."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from fetched import no_index
from host.conftest import NOT_INHERITED, Finished, Program
from manywheels.build.compilers.choice import Machine
from manywheels.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    from manywheels.plan.interpreters import Interpreter


@dataclass(frozen=True, kw_only=True)
class InProcess:
    """A command in this process instead of one of its own: for what is refused, or told, before anything is started."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(
        self, *arguments: str | Path, output: Path | None = None, caller: Mapping[str, str] | None = None
    ) -> Finished:
        """Run a command to its end; `caller` adds to the environment."""
        with self.monkeypatch.context() as patch:
            for name in NOT_INHERITED:
                patch.delenv(name, raising=False)
            for name, value in {"COLUMNS": "200", **(caller or {})}.items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            try:
                status = main([os.fspath(argument) for argument in arguments])
            except SystemExit as error:  # argparse's
                status = int(error.code or 0)
        told = self.capsys.readouterr()
        return Finished(status=status, seconds=0, stdout=told.out, stderr=told.err, output=output or self.folder)

    def build(
        self, project: Path, *options: str | Path, output: Path | None = None, caller: Mapping[str, str] | None = None
    ) -> Finished:
        """Build a project, which is expected to be refused."""
        output = output or self.folder / "never"
        return self("build", project, "--output-dir", output, *options, output=output, caller=caller)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A target of a finished run."""

    finished: Finished
    tag: str

    @property
    def target(self) -> dict[str, Any]:
        """The target in the manifest."""
        return self.finished.targets[self.tag]

    @property
    def log(self) -> str:
        """The log of its build."""
        return self.finished.log(self.tag).read_text("utf-8")

    @property
    def wheels(self) -> list[Path]:
        """Its wheels in the output folder."""
        return [wheel for wheel in self.finished.wheels if f"-{self.tag}-" in wheel.name]


def build_cases(
    program: Program,
    project: Path,
    cases: Mapping[str, Mapping[str, str]],
    *options: str | Path,
    caller: Mapping[str, str] | None = None,
) -> dict[str, Case]:
    """Build a project once for all cases, each with the options that it gives; again where there are too few Pythons.

    What is given on the command line would win over what cases give.
    """
    # Newest first; the system's own last, for with one of these every Python that pyenv has is asked.
    tags = sorted(program.interpreters, key=lambda tag: (not _of_pyenv(program.interpreters[tag]), -int(tag[2:])))
    if not tags:
        pytest.skip("there is no Python to build for on this machine")
    found: dict[str, Case] = {}
    for names in _batches(cases, len(tags)):
        given = dict(zip(names, tags, strict=False))
        copied = program.new_folder("cases") / project.name
        shutil.copytree(project, copied)
        with (copied / "pyproject.toml").open("a", encoding="utf-8") as file:
            file.writelines(_override(tag, cases[name]) for name, tag in given.items())
        finished = program.build(copied, *options, tags=" ".join(given.values()), caller=caller)
        found |= {name: Case(finished=finished, tag=tag) for name, tag in given.items()}
    return found


def _of_pyenv(interpreter: Interpreter) -> bool:
    return ".pyenv" in interpreter.path.parts


def _batches(cases: Mapping[str, object], size: int) -> Iterator[tuple[str, ...]]:
    names = list(cases)
    for start in range(0, len(names), size):
        yield tuple(names[start : start + size])


def _override(tag: str, settings: Mapping[str, str]) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(["[[tool.manywheels.overrides]]", f'select = "{tag}-*"', *lines, ""])


def program_in(folder: Path, interpreters: Mapping[str, Interpreter]) -> Program:
    """Return the program, for a fixture that several tests share; the fixture `program` is each test's own."""
    if Machine.here().zig is None:
        pytest.skip("ziglang is not installed")
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environment = {**inherited, **no_index(), "UV_PYTHON_DOWNLOADS": "never", "COLUMNS": "200"}
    return Program(folder=folder, environment=environment, interpreters=interpreters)
