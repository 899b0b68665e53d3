"""The tools that are compared, as commands, and a way to run a command that leaves nothing behind when interrupted."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from uv import find_uv_bin

from containers.pypi_projects import BASE_IMAGE, SIX

LABEL = f"org.manywheels.bench={secrets.token_hex(8)}"  # this benchmark's containers, but those of manywheels
_PATIENCE = 60  # seconds that a tool has to clean up when it is interrupted
_TAIL = 4000  # characters of a failed run's log


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """One tool in one configuration. In the command, `{output}` and `{project}` stand for folders."""

    name: str
    short: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self, project: Path, output: Path, log: Path, *more: str) -> None:
        """Build a project's wheels into a folder. A failed run ends the benchmark with the end of its log."""
        command = [word.format(output=output, project=project) for word in self.command]
        status = run_logged([*command, *more], log, folder=project, environment=self.environment)
        if status:
            sys.exit(f"{self.name} failed (exit status {status}):\n{log.read_text('utf-8', 'replace')[-_TAIL:]}")


def cibuildwheel(program: Path, frontend: str) -> Contestant:
    """Return cibuildwheel with one of its front ends. Projects' own tests and `before-all` are not run."""
    return Contestant(
        name=f"cibuildwheel, {'default (pip)' if frontend == 'pip' else frontend}",
        short=frontend,
        command=(str(program), "--platform", "linux", "--output-dir", "{output}", "."),
        environment={
            "CIBW_BUILD": " ".join(f"{tag}-manylinux_x86_64" for tag in SIX),
            "CIBW_BUILD_FRONTEND": frontend,
            "CIBW_ARCHS": "x86_64",
            "CIBW_MANYLINUX_X86_64_IMAGE": BASE_IMAGE,
            "CIBW_CONTAINER_ENGINE": f"docker; create_args: --label {LABEL}",
            "CIBW_BEFORE_ALL": "true",
            "CIBW_TEST_SKIP": "*",
            "PATH": os.pathsep.join([str(program.parent), os.environ["PATH"]]),
        },
    )


def manywheels() -> Contestant:
    """Return manywheels in a container, told the same as cibuildwheel."""
    return Contestant(
        name="manywheels --engine container",
        short="manywheels",
        command=(
            sys.executable, "-m", "manywheels", "build", "{project}", "--output-dir", "{output}",
            "--engine", "container", "--build", " ".join(f"{tag}-manylinux_x86_64" for tag in SIX),
            "--archs", "x86_64", "--image", BASE_IMAGE, "--before-all", "true", "--test-skip", "*",
        ),
    )  # fmt: skip


def install_cibuildwheel(folder: Path) -> Path:
    """Install the newest cibuildwheel into a new environment; return the program's path."""
    venv = folder / "cibuildwheel"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, venv], check=True)
    subprocess.run([find_uv_bin(), "pip", "install", "--quiet", "--python", venv, "cibuildwheel"], check=True)
    return venv / "bin" / "cibuildwheel"


def binary_wheels(output: Path) -> int:
    """Return how many wheels with a compiled module a folder has."""
    count = 0
    for wheel in output.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            count += any(name.endswith(".so") for name in archive.namelist())
    return count


def told_compilations(output: Path) -> int | None:
    """Return how many compilers ran, by manywheels' manifest; None if there is none, or nothing in it of that."""
    with suppress(FileNotFoundError):
        made = json.loads((output / "manywheels.json").read_text("utf-8")).get("compilations")
        if made:
            return int(made["compiled"]) + int(made["alone"])
    return None


def _environment() -> dict[str, str]:
    """Return this process's variables; as after an installation by pip, each tool has its modules compiled."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def run_logged(
    command: Sequence[str], log: Path, *, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> int:
    """Run a command with its output in a file; return its exit status. Whatever interrupts us ends it before."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment() | dict(environment or {}), stdin=subprocess.DEVNULL, stdout=file,
            stderr=file, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command as Ctrl-C would, so that it removes its containers; and what it left after that."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    left = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label={LABEL}"], capture_output=True, text=True, check=False
    ).stdout.split()
    if left:
        subprocess.run(["docker", "rm", "--force", "--volumes", *left], capture_output=True, check=False)
