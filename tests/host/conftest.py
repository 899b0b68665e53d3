"""The real program, run as its users run it: as a process, on the corpus in tests/projects, with the Pythons found.

Tests see a run through `Finished`: exit status, what was printed, the manifest, the output folder.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from uv import find_uv_bin

from fetched import no_index
from manywheels.build.compilers.choice import Machine
from manywheels.core.files import cache_dir
from manywheels.plan.interpreters import Interpreter, discover
from manywheels.runtime.containers import engine

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECTS = ROOT / "tests" / "projects"
# What a CI would set, and what would keep this machine's index settings from being the only ones.
NOT_INHERITED = ("CI", "GITHUB_ACTIONS", "GITLAB_CI", "VIRTUAL_ENV", "PYTHONPATH")


@pytest.fixture(autouse=True)
def without_engine() -> Iterator[None]:
    """What runs in the tests' own process asks no container engine: this ring does without."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_SOCKET", Path("/nowhere/docker.sock"))
        patch.delenv("DOCKER_HOST", raising=False)
        yield


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run of the program that has ended."""

    status: int
    seconds: float
    stdout: str
    stderr: str
    output: Path

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.stdout + self.stderr

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest as JSON values."""
        loaded: dict[str, Any] = json.loads((self.output / "manywheels.json").read_text("utf-8"))
        return loaded

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """The manifest's targets by the first part of their identifier, as `cp312`."""
        return {target["identifier"].partition("-")[0]: target for target in self.manifest["targets"]}

    @property
    def states(self) -> dict[str, str]:
        """How each target ended, by its tag."""
        return {tag: target["state"] for tag, target in self.targets.items()}

    @property
    def wheels(self) -> list[Path]:
        """The wheels in the output folder."""
        return sorted(self.output.glob("*.whl"))

    @property
    def wheel(self) -> Path:
        """The only wheel in the output folder."""
        (wheel,) = self.wheels
        return wheel

    def failure(self, tag: str = "cp312") -> dict[str, Any]:
        """Return why a target failed."""
        failure: dict[str, Any] = self.targets[tag]["failure"]
        return failure

    def log(self, tag: str = "cp312") -> Path:
        """Return a target's log file."""
        return self.output / str(self.targets[tag]["log"])


@dataclass(frozen=True, kw_only=True)
class Program:
    """`python -m manywheels`, with a folder for what it makes."""

    folder: Path
    environment: Mapping[str, str]
    interpreters: Mapping[str, Interpreter]
    python: str = sys.executable
    _count: list[int] = field(default_factory=lambda: [0])

    def __call__(
        self,
        *arguments: str | Path,
        output: Path | None = None,
        caller: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Finished:
        """Run a command to its end; `caller` adds to the environment that it is called from."""
        started = time.monotonic()
        return self.end_of(self.start(*arguments, caller=caller, cwd=cwd), started, output or self.folder)

    def end_of(self, process: subprocess.Popen[str], started: float, output: Path) -> Finished:
        """Wait for the end of a command that was started."""
        try:
            stdout, stderr = process.communicate(timeout=300)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.monotonic() - started
        return Finished(status=process.returncode, seconds=seconds, stdout=stdout, stderr=stderr, output=output)

    def start(
        self,
        *arguments: str | Path,
        caller: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        program: Sequence[str] = ("-m", "manywheels"),
    ) -> subprocess.Popen[str]:
        """Start a command, in the program's folder if no other is given."""
        return subprocess.Popen(
            [self.python, *program, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=cwd or self.folder,
            env={**self.environment, **(caller or {})},
            preexec_fn=_ignore_nothing,  # noqa: PLW1509 - the tests start no threads
        )  # fmt: skip

    def build(
        self,
        project: str | Path,
        *options: str | Path,
        tags: str | None = "cp312",
        output: Path | None = None,
        caller: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Finished:
        """Build a project, of the corpus where only its name is given, for some targets, None for the default ones.

        It is started in the project's folder, which `{project}` then is.
        """
        for tag in (tags or "").split():
            self.require(tag)
        output = output or self.new_folder("dist")
        selected = ["--build", tags] if tags else []
        source = self.copy(project) if isinstance(project, str) else project
        caller = {**(self.pyenv_of(tags.split()) if tags else {}), **(caller or {})}
        cwd = cwd or (source if source.is_dir() else None)
        arguments = ("build", source, "--output-dir", output, *selected, *options)
        return self(*arguments, output=output, caller=caller, cwd=cwd)

    def pyenv_of(self, tags: Sequence[str]) -> dict[str, str]:
        """Return variables with which pyenv has the Pythons for these tags alone: to ask each takes its time.

        Its shims are not on PATH: the program passes over those of PYENV_ROOT alone, and each takes longer still.
        """
        root = Path(self.environment.get("PYENV_ROOT") or Path.home() / ".pyenv")
        homes = [self.interpreters[tag].path.parent.parent for tag in tags]
        if not all(home.parent == root / "versions" for home in homes):
            return {}
        few = self.folder / f"pyenv-{'-'.join(tags)}"
        (few / "versions").mkdir(parents=True, exist_ok=True)
        for home in homes:
            if not (link := few / "versions" / home.name).is_symlink():
                link.symlink_to(home)
        path = self.environment["PATH"].split(os.pathsep)
        return {
            "PYENV_ROOT": str(few),
            "PATH": os.pathsep.join(folder for folder in path if folder != str(root / "shims")),
        }

    def require(self, tag: str) -> Interpreter:
        """Return this machine's interpreter for a tag; skip the test where there is none."""
        if tag not in self.interpreters:
            pytest.skip(f"there is no {tag} on this machine")
        return self.interpreters[tag]

    def copy(self, name: str) -> Path:
        """Return a fresh copy of a corpus project, outside of this repository."""
        copied = self.new_folder("source") / name
        shutil.copytree(PROJECTS / name, copied, ignore=shutil.ignore_patterns("__pycache__"))
        return copied

    def new_folder(self, name: str) -> Path:
        """Make an empty folder."""
        self._count[0] += 1
        folder = self.folder / f"{name}-{self._count[0]}"
        folder.mkdir()
        return folder

    def run_in(self, tag: str, wheel: Path, code: str) -> str:
        """Install a wheel, by itself, for one interpreter, run code in that interpreter, and return what it prints."""
        interpreter, site = self.require(tag), self.new_folder("site")
        subprocess.run(
            [find_uv_bin(), "pip", "install", "--quiet", "--offline", "--no-deps", "--target", site,
             "--python", interpreter.path, wheel],
            check=True, capture_output=True,
        )  # fmt: skip
        start = f"import sys; sys.path.insert(0, {str(site)!r})\n"
        done = subprocess.run(
            [interpreter.path, "-I", "-c", start + code], capture_output=True, text=True, check=False, cwd=site
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def _ignore_nothing() -> None:
    """Undo what nohup or a script has these tests ignore: their programs would go on ignoring it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in no_index().items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def interpreters() -> dict[str, Interpreter]:
    """This machine's interpreters by ABI, those that manywheels builds for by default."""
    found = {interpreter.abi: interpreter for interpreter in discover().interpreters}
    return {abi: found[abi] for abi in ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314") if abi in found}


@pytest.fixture
def program(tmp_path: Path, interpreters: dict[str, Interpreter]) -> Program:
    """The program with the embedded toolchain."""
    if Machine.here().zig is None:
        pytest.skip("ziglang is not installed")
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    return Program(
        folder=tmp_path,
        environment={**inherited, "UV_PYTHON_DOWNLOADS": "never", "COLUMNS": "200"},
        interpreters=interpreters,
    )


@pytest.fixture
def private_cache(tmp_path: Path) -> Path:
    """A cache folder for one test's runs alone, to be given as MANYWHEELS_CACHE.

    What is warm is shared, and so are the locks by which runs side by side take different users.
    """
    folder = tmp_path / "cache"
    folder.mkdir()
    for name in ("uv", "zig", "c++", "users"):
        (cache_dir() / name).mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(cache_dir() / name)
    return folder


@pytest.fixture
def compiler() -> str:
    """The machine's own C compiler."""
    found = shutil.which("cc")
    if found is None:
        pytest.skip("there is no cc on this machine")
    return found


@pytest.fixture
def libshout(program: Program, compiler: str) -> Path:
    """The library of the project `graft`, made by the machine's own compiler, where no loader looks for it."""
    source, folder = program.copy("graft") / "libshout", program.new_folder("shout")
    (folder / "lib").mkdir()
    (folder / "include").mkdir()
    library = folder / "lib" / "libshout.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wl,-soname,libshout.so.1", "-o", library, source / "shout.c"], check=True
    )
    (folder / "lib" / "libshout.so").symlink_to(library.name)
    (folder / "include" / "shout.h").write_bytes((source / "shout.h").read_bytes())
    return folder


@pytest.fixture
def git() -> Callable[..., str]:
    """Run git in a folder and return what it prints; the caller's settings have no part in it."""
    if shutil.which("git") is None:
        pytest.skip("there is no git on this machine")

    def run(folder: Path, *arguments: str) -> str:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", f"safe.directory={folder}"]
        done = subprocess.run(
            ["git", *identity, "-c", "init.defaultBranch=main", *arguments],
            check=True, capture_output=True, text=True, cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null"},
        )  # fmt: skip
        return done.stdout

    return run


@dataclass(frozen=True)
class Processes:
    """Processes that carry a marker in their arguments or environment."""

    marker: str

    def alive(self) -> list[int]:
        """Return the ids of those that live, this process aside."""
        return [pid for pid in _pids() if pid != os.getpid() and self._carries(pid)]

    def wait_until_there(self, count: int = 1, *, within: float = 30.0) -> list[int]:
        """Wait until there are that many."""
        return self._wait(lambda alive: len(alive) >= count, within)

    def wait_until_gone(self, *, within: float = 30.0) -> None:
        """Wait until there is none."""
        self._wait(lambda alive: not alive, within)

    def _wait(self, holds: Callable[[Sequence[int]], bool], within: float) -> list[int]:
        end = time.monotonic() + within
        while not holds(alive := self.alive()):
            assert time.monotonic() < end, f"after {within} s there are {alive} with {self.marker}"
            time.sleep(0.02)
        return alive

    def _carries(self, pid: int) -> bool:
        try:
            if Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z":
                return False
            seen = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
        except OSError:
            return False
        return any(self.marker.encode() in text for text in seen)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A marker of this test's own; whatever carries it is killed at the end."""
    found = Processes(f"marker-{os.getpid()}-{tmp_path.name}-{time.monotonic_ns()}")
    yield found
    for pid in found.alive():
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class WheelContents:
    """What is in wheels."""

    def members(self, wheel: Path) -> dict[str, bytes]:
        """Return every file of a wheel by its name."""
        with zipfile.ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}

    def places_of(self, wheel: Path, text: bytes) -> list[str]:
        """Return the members that hold some bytes, also in compressed debug sections, or in their names."""
        return [
            name
            for name, content in self.members(wheel).items()
            if text in content or text in name.encode() or any(text in part for part in _compressed_sections(content))
        ]

    def run_paths(self, wheel: Path) -> list[str]:
        """Return every RPATH and RUNPATH of a wheel's ELF files."""
        found: list[str] = []
        for content in self.members(wheel).values():
            dynamic = ELFFile(BytesIO(content)).get_section_by_name(".dynamic") if _is_elf(content) else None
            for tag in dynamic.iter_tags() if isinstance(dynamic, DynamicSection) else ():
                attribute = {"DT_RPATH": "rpath", "DT_RUNPATH": "runpath"}.get(tag.entry.d_tag)
                found += getattr(tag, attribute).split(":") if attribute else []
        return found


def _is_elf(content: bytes) -> bool:
    return content.startswith(b"\x7fELF")


def _compressed_sections(content: bytes) -> Iterator[bytes]:
    if _is_elf(content):
        yield from (section.data() for section in ELFFile(BytesIO(content)).iter_sections() if section.compressed)


@pytest.fixture(scope="session")
def contents() -> WheelContents:
    """What is in wheels."""
    return WheelContents()
