"""Well-known wheels from the index, for every Linux that they are published for: what verification says of them.

They are what millions install, so an error here is an error of the checks. Each warning is true and was looked at:
docs/verify.md explains it, and one that is not in the table below fails the test.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
from elftools.elf.sections import SymbolTableSection
from packaging.utils import parse_wheel_filename

from manywheels.wheels.elf import MAGIC, read_elf
from pypi.downloads import download

ROOT = Path(__file__).resolve().parents[2]
LARGE = 1_000_000  # bytes

COMMON = ("manylinux x86_64", "manylinux aarch64", "musllinux x86_64", "musllinux aarch64")


@dataclass(frozen=True, kw_only=True)
class Known:
    """A project of the index, where its wheels are for, and the warnings that are true of them.

    A place is a libc and an architecture. Those that a later release leaves out are passed over, but for the first.
    """

    name: str
    places: tuple[str, ...] = COMMON
    warnings: frozenset[str] = frozenset()
    python: str = "3.12"
    abis: tuple[str, ...] = ("cp312", "abi3")


KNOWN = (
    Known(name="numpy", warnings=frozenset({"MW254"})),
    Known(name="cryptography", places=(*COMMON, "manylinux armv7l", "manylinux ppc64le")),
    Known(name="lxml", warnings=frozenset({"MW246", "MW254"}),
          places=(*COMMON, "manylinux i686", "manylinux ppc64le", "manylinux armv7l", "manylinux riscv64",
                  "musllinux ppc64le", "musllinux armv7l", "musllinux riscv64")),
    Known(name="psycopg2-binary", warnings=frozenset({"MW246"}),
          places=(*COMMON, "manylinux ppc64le", "manylinux riscv64", "musllinux ppc64le", "musllinux riscv64")),
    Known(name="pillow"),
    Known(name="grpcio", places=(*COMMON, "manylinux i686", "musllinux i686"), warnings=frozenset({"MW254"})),
    Known(name="orjson", places=(*COMMON, "manylinux i686", "manylinux armv7l")),
    Known(name="pyovf", places=("manylinux x86_64",)),
    Known(name="markupsafe", warnings=frozenset({"MW254"}),
          places=(*COMMON, "manylinux ppc64le", "manylinux armv7l", "manylinux riscv64",
                  "musllinux ppc64le", "musllinux armv7l", "musllinux riscv64")),
)  # fmt: skip
# Releases that have been succeeded, for architectures that the newest ones are not published for.
OLDER = (
    pytest.param(
        Known(name="lxml==5.4.0", places=("manylinux s390x", "musllinux s390x"),
              warnings=frozenset({"MW246", "MW254"})),
        id="lxml",
    ),
    pytest.param(
        Known(name="markupsafe==3.0.2", places=("manylinux i686", "musllinux i686", "manylinux s390x"),
              warnings=frozenset({"MW201", "MW254"})),
        id="markupsafe",
    ),
    pytest.param(
        Known(name="orjson==3.11.9",
              places=("manylinux s390x", "manylinux ppc64le", "musllinux i686", "musllinux armv7l")),
        id="orjson",
    ),
)  # fmt: skip


# Small ones of other kinds: for any Python, for one without the GIL, with libraries alone, with machine code for any
# platform.
ONE = ("manylinux x86_64",)
FREE_THREADED = ("cp314t",)
OTHER_KINDS = (
    Known(name="ninja", places=ONE),
    Known(name="soundfile", places=ONE, warnings=frozenset({"MW203"})),
    Known(name="nvidia-nvtx-cu12", places=ONE, warnings=frozenset({"MW203", "MW246"})),
    Known(name="selenium", places=ONE, warnings=frozenset({"MW251"})),
    Known(name="markupsafe", places=ONE, warnings=frozenset({"MW254"}), python="3.14", abis=FREE_THREADED),
    Known(name="msgpack", places=ONE, python="3.14", abis=FREE_THREADED),
)


def download_all(project: Known, folder: Path) -> None:
    """Download the newest release's wheels: the first place tells which release that is."""

    def fetch(requirement: str, place: str) -> bool:
        return download([requirement], place, folder, python=project.python, abis=project.abis)

    first, *others = project.places
    assert fetch(project.name, first), f"there is no wheel of {project.name} for {first}"
    (wheel,) = folder.iterdir()
    requirement = f"{project.name.partition('==')[0]}=={parse_wheel_filename(wheel.name)[1]}"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda place: fetch(requirement, place), others))


# Tests of these are one worker's.
of_the_newest = pytest.mark.xdist_group("newest-wheels")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    """The wheels, each project's in a folder of its own; a quarter of a gigabyte, so nothing of it is kept."""
    root = tmp_path_factory.mktemp("known-wheels")
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(download_all, project, new_folder(root / project.name)) for project in KNOWN]:
            future.result()
    yield sorted(root.glob("*/*.whl"))
    shutil.rmtree(root)


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


def verify(paths: Sequence[Path], folder: Path) -> tuple[int, dict[str, Any]]:
    """Run the program over wheels; return its exit status and its verdict."""
    done = subprocess.run(
        [sys.executable, "-m", "manywheels", "verify", "--format", "json", *paths],
        capture_output=True, text=True, check=False, cwd=folder, timeout=600,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    verdict: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, verdict


def errors_in(verdict: dict[str, Any]) -> list[str]:
    found = [finding for report in verdict["wheels"] for finding in report["findings"]] + verdict["set"]
    return [
        f"{finding['wheel']}: {finding['code']} {finding['member'] or ''} {finding['message']}"
        for finding in found
        if finding["severity"] == "error"
    ]


def warnings_in(verdict: dict[str, Any]) -> dict[str, set[str]]:
    """Return the codes of the warnings by the wheels' projects."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for report in verdict["wheels"]:
        project = str(parse_wheel_filename(report["wheel"])[0])
        codes[project] |= {finding["code"] for finding in report["findings"] if finding["severity"] == "warning"}
    return dict(codes)


@of_the_newest
def test_the_newest_wheels_have_no_error_and_no_warning_that_is_not_known(wheels: list[Path], tmp_path: Path) -> None:
    status, verdict = verify(wheels, tmp_path)

    assert errors_in(verdict) == []
    assert status == 0
    assert verdict["passed"] is True
    assert [report["wheel"] for report in verdict["wheels"]] == [wheel.name for wheel in wheels]
    codes = warnings_in(verdict)
    new = {project.name: sorted(codes[project.name] - project.warnings) for project in KNOWN}
    assert not any(new.values()), f"look at these warnings, and enter what is true: {new}"


def as_pyelftools_reads(content: bytes) -> dict[str, Any]:
    """Return the dynamic interface by another reader, which goes by the section headers."""
    file = ELFFile(BytesIO(content))
    found: dict[str, Any] = {
        "soname": None,
        "needed": [],
        "run_paths": [],
        "needs": {},
        "exports": set(),
        "imports": set(),
    }
    for section in file.iter_sections():
        if isinstance(section, DynamicSection):
            for tag in section.iter_tags():
                kind = str(tag.entry.d_tag).removeprefix("DT_").lower()
                value = getattr(tag, kind, "")  # of those tags that hold a name
                match kind:
                    case "soname":
                        found["soname"] = value
                    case "needed":
                        found["needed"].append(value)
                    case "rpath" | "runpath":
                        found["run_paths"] += value.split(":")
        elif isinstance(section, GNUVerNeedSection):
            found["needs"] = {
                library.name: {version.name for version in versions} for library, versions in section.iter_versions()
            }
        elif isinstance(section, SymbolTableSection) and section.name == ".dynsym":
            for symbol in section.iter_symbols():
                if symbol.name and symbol["st_info"]["bind"] != "STB_LOCAL":
                    found["imports" if symbol["st_shndx"] == "SHN_UNDEF" else "exports"].add(symbol.name)
    return found


def as_read_here(content: bytes) -> dict[str, Any]:
    elf = read_elf("x", BytesIO(content))
    assert elf is not None
    return {
        "soname": elf.soname,
        "needed": list(elf.needed),
        "run_paths": list(elf.run_paths),
        "needs": {library: set(versions) for library, versions in elf.needs.items()},
        "exports": set(elf.exports),
        "imports": {symbol.name for symbol in elf.imports},
    }


@of_the_newest
def test_the_reader_of_elf_files_agrees_with_pyelftools(wheels: list[Path]) -> None:
    """On every smaller shared library of all these architectures; pyelftools takes long for large ones."""
    seen, differing = 0, []
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                if ".so" not in member.filename or member.file_size > LARGE:
                    continue
                content = archive.read(member)
                if not content.startswith(MAGIC):
                    continue
                seen += 1
                if as_read_here(content) != as_pyelftools_reads(content):
                    differing.append(f"{wheel.name}: {member.filename}")
    assert not differing
    assert seen > len(wheels)


@pytest.mark.parametrize("project", OLDER)
def test_older_wheels_of_rare_architectures_have_no_error(project: Known, tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "wheels")
    download_all(project, folder)
    _, verdict = verify(sorted(folder.glob("*.whl")), tmp_path)

    assert errors_in(verdict) == []
    assert set().union(*warnings_in(verdict).values()) <= project.warnings


def test_wheels_of_other_kinds_have_no_error(tmp_path: Path) -> None:
    folders = [new_folder(tmp_path / f"{number}") for number in range(len(OTHER_KINDS))]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(download_all, OTHER_KINDS, folders))
    _, verdict = verify(sorted(tmp_path.glob("*/*.whl")), tmp_path)
    assert errors_in(verdict) == []
    codes = warnings_in(verdict)
    assert not {project.name: codes[project.name] - project.warnings for project in OTHER_KINDS
                if codes.get(project.name, set()) - project.warnings}  # fmt: skip


@of_the_newest
def test_the_wheels_are_of_every_architecture(wheels: list[Path]) -> None:
    """Nobody notices otherwise that the platform tags that are asked for have grown old."""
    platforms = {tag.platform for wheel in wheels for tag in parse_wheel_filename(wheel.name)[3]}
    for arch in ("x86_64", "aarch64", "i686", "ppc64le", "armv7l", "riscv64"):
        for libc in ("manylinux", "musllinux"):
            assert any(name.startswith(libc) and name.endswith(f"_{arch}") for name in platforms), f"{libc} {arch}"


@pytest.mark.parametrize("project", [project for project in KNOWN if project.warnings], ids=lambda known: known.name)
def test_the_documentation_explains_each_warning(project: Known) -> None:
    """Each has a row in the table between the marks."""
    text = (ROOT / "docs/verify.md").read_text("utf-8") if (ROOT / "docs/verify.md").is_file() else ""
    _, begin, section = text.partition("<!-- wheels: begin -->")
    if not begin:
        pytest.skip("docs/verify.md has no section about known wheels")
    rows = [line for line in section.splitlines() if line.startswith(f"| {project.name} ")]
    assert not [code for code in project.warnings if not any(f"| {code}:" in row for row in rows)]
