"""pip and uv, asked for real; wheels imported with this machine's interpreters, good ones and broken ones."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from uv import find_uv_bin

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled
from manywheels.plan.interpreters import Interpreter
from manywheels.verify.installs import chosen_by_installers, imports, interpreter_for
from manywheels.verify.model import Finding, Severity
from manywheels.verify.places import UvPlatform, _uv_platforms
from manywheels.wheels.wheelfile import parse_name
from unit.helpers import METADATA, write_wheel

if TYPE_CHECKING:
    from host.conftest import Program

ROOT = Path(__file__).resolve().parent.parent.parent
ARCH = os.uname().machine
OFFLINE = {**os.environ, "UV_OFFLINE": "1"}
RECORD = {"demo-1.0.dist-info/RECORD": b""}
EXTENSIONS = {
    "abort": "#include <stdlib.h>\nvoid *PyInit__core(void) { abort(); }",
    "hang": "#include <unistd.h>\nvoid *PyInit__core(void) { for (;;) pause(); }",
    "symbol": "extern long nowhere(void);\nvoid *PyInit__core(void) { return (void *)nowhere(); }",
    "library": "extern long gone(void);\nvoid *PyInit__core(void) { return (void *)gone(); }",
    "raise": "extern void *PyExc_ValueError; extern void PyErr_SetString(void *, const char *);\n"
    'void *PyInit__core(void) { PyErr_SetString(PyExc_ValueError, "not today"); return 0; }',
    "optional": "extern void *PyImport_ImportModule(const char *);\n"
    'void *PyInit__core(void) { return PyImport_ImportModule("nowhere"); }',
}


@pytest.fixture
def cp312(interpreters: dict[str, Interpreter]) -> Interpreter:
    if "cp312" not in interpreters:
        pytest.skip("there is no cp312 on this machine")
    return interpreters["cp312"]


def broken(folder: Path, compiler: str, kind: str) -> Path:
    """Write a wheel whose only extension module, `demo._core`, is broken in one way."""
    source, library = folder / "core.c", folder / "_core.so"
    source.write_text(EXTENSIONS[kind])
    options = []
    if kind == "library":
        (folder / "gone.c").write_text("long gone(void) { return 0; }")
        subprocess.run([compiler, "-shared", "-fPIC", "gone.c", "-o", "libgone.so"], cwd=folder, check=True)
        options = ["-L.", "-lgone"]
    subprocess.run([compiler, "-shared", "-fPIC", source, "-o", library, *options], cwd=folder, check=True)
    members = {
        "demo/__init__.py": b"",
        f"demo/_core.cpython-312-{ARCH}-linux-gnu.so": library.read_bytes(),
        "eggs.py": b"",
        **RECORD,
    }
    return write_wheel(folder, tags=f"cp312-cp312-linux_{ARCH}", members=members)


def pure(folder: Path, code: str, *, metadata: str = METADATA, start: str = "demo-1.0") -> Path:
    name = start.partition("-")[0]
    members = {f"{name}/__init__.py": code.encode(), f"{start}.dist-info/RECORD": b""}
    return write_wheel(folder, tags="py3-none-any", members=members, metadata=metadata, start=start)


def the_one(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, [str(finding) for finding in findings]
    return findings[0]


# --- what installers choose


@pytest.mark.slow
def test_what_the_program_builds_is_chosen_and_can_be_imported(
    program: Program, interpreters: dict[str, Interpreter]
) -> None:
    tags = [tag for tag in ("cp311", "cp312") if tag in interpreters]
    finished = program.build(ROOT / "examples/spam", tags=" ".join(tags))
    assert len(finished.wheels) == len(tags)
    for wheel in finished.wheels:
        interpreter = interpreter_for(parse_name(wheel.name), interpreters.values())
        assert interpreter is not None
        assert interpreter.abi in wheel.name
        assert chosen_by_installers(wheel) == ()
        assert imports(wheel, interpreter, Cancellation()) == ()


@pytest.mark.parametrize(
    "tags",
    [
        "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",
        "cp312-cp312-manylinux1_x86_64.manylinux_2_28_x86_64.manylinux_2_5_x86_64",
        "cp311.cp312-cp311.cp312-manylinux_2_28_aarch64",
        "cp313-cp313t-musllinux_1_2_x86_64",
        "cp39-abi3-manylinux_2_34_aarch64",
        "cp312-cp312-manylinux_2_39_riscv64",
        "cp312-cp312-manylinux_2_17_s390x.manylinux2014_s390x",
        "cp312-cp312-manylinux_2_28_ppc64le",
        "cp312-cp312-musllinux_1_2_armv7l",
        "pp311-pypy311_pp73-manylinux_2_28_x86_64",
        "py3-none-manylinux2014_i686",
        "py2.py3-none-any",
    ],
)
@pytest.mark.slow(
    "cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64", "cp311.cp312-cp311.cp312-manylinux_2_28_aarch64",
    "cp312-cp312-manylinux_2_39_riscv64", "cp312-cp312-manylinux_2_28_ppc64le", "cp312-cp312-musllinux_1_2_armv7l",
    "py3-none-manylinux2014_i686",
)  # fmt: skip
def test_wheels_for_every_architecture_are_chosen(tmp_path: Path, tags: str) -> None:
    assert chosen_by_installers(write_wheel(tmp_path, tags=tags)) == ()


@pytest.mark.parametrize("start", ["demo-1.0rc1", "demo-1.0+local.1", "demo_of_more-1!2.0.dev3"])
@pytest.mark.slow("demo-1.0rc1")
def test_versions_that_installers_take_only_where_they_are_named(tmp_path: Path, start: str) -> None:
    assert chosen_by_installers(write_wheel(tmp_path, start=start)) == ()


@pytest.mark.parametrize(
    ("tags", "metadata", "words"),
    [
        ("cp312-cp311-manylinux_2_28_x86_64", METADATA, "tag"),
        pytest.param("cp313-cp312t-manylinux_2_28_x86_64", METADATA, "tag", id="free-threaded"),
        ("cp38-cp38-manylinux_2_28_x86_64", METADATA.replace("\n\n", "\nRequires-Python: >=3.9\n\n"), ">=3.9"),
        ("cp312-cp312-manylinux_2_28_x86_64", METADATA.replace("{name}", "other"), "other"),
    ],
)
@pytest.mark.slow("free-threaded")
def test_wheels_that_contradict_themselves_are_refused_by_both(
    tmp_path: Path, tags: str, metadata: str, words: str
) -> None:
    pip, uv = chosen_by_installers(write_wheel(tmp_path, tags=tags, metadata=metadata))
    assert (pip.code, uv.code) == ("MW270", "MW271")
    for finding in (pip, uv):
        assert finding.severity is Severity.ERROR
        assert words in finding.problem.message
        assert str(tmp_path) not in finding.problem.message
        assert "/tmp" not in finding.problem.message


def test_a_riscv_wheel_that_uv_passes_over(tmp_path: Path) -> None:
    finding = the_one(chosen_by_installers(write_wheel(tmp_path, tags="cp312-cp312-manylinux_2_28_riscv64")))
    assert finding.code == "MW271"
    assert "platform tag" in finding.problem.message


def test_the_caller_s_index_settings_have_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel that only the caller's settings lead to is not chosen in place of the one that is asked about."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_wheel(elsewhere, tags="cp312-cp312-manylinux_2_28_x86_64")
    for name in ("PIP_FIND_LINKS", "UV_FIND_LINKS"):
        monkeypatch.setenv(name, str(elsewhere))
    pip, uv = chosen_by_installers(write_wheel(tmp_path, tags="cp312-cp311-manylinux_2_28_x86_64"))
    assert (pip.code, uv.code) == ("MW270", "MW271")


@pytest.fixture(scope="module")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What uv knows of the Python that it is given: to find this out takes most of its time."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.mark.parametrize("platform", list(_uv_platforms()), ids=lambda platform: str(platform.name))
def test_uv_knows_the_platforms_of_the_table_and_what_they_take(
    tmp_path: Path, uv_cache: Path, platform: UvPlatform
) -> None:
    """Of two wheels it takes the older one: the newer one needs the next version of the libc."""
    family = "manylinux" if platform.place.libc == "glibc" else "musllinux"
    major, minor = platform.place.version
    for version, libc in (("1.0", f"{major}_{minor}"), ("2.0", f"{major}_{minor + 1}")):
        write_wheel(tmp_path, start=f"demo-{version}", tags=f"py3-none-{family}_{libc}_{platform.place.arch}")
    asked = subprocess.run(
        [find_uv_bin(), "pip", "install", "--dry-run", "--no-config", "--cache-dir", uv_cache, "--offline", "--no-deps",
         "--no-index", "--find-links", tmp_path, "--target", tmp_path / "site", "--python", sys.executable,
         "--python-version", "3.12", "--python-platform", platform.name, "demo"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert re.findall(r"^ \+ (\S+)", asked.stderr, re.MULTILINE) == ["demo==1.0"]


# --- imports, for real


@pytest.mark.parametrize(
    ("kind", "words", "remedy"),
    [
        ("abort", "killed by SIGABRT", "faulthandler"),
        ("symbol", "undefined symbol: nowhere", "Link"),
        ("library", "ImportError: libgone.so: cannot open shared object file", "Graft"),
        ("raise", "ValueError: not today", "python -c"),
        ("optional", "ModuleNotFoundError: No module named 'nowhere'", "extra"),
    ],
)
def test_an_extension_module_that_cannot_be_imported(  # noqa: PLR0917 - three of them are fixtures
    tmp_path: Path, compiler: str, cp312: Interpreter, kind: str, words: str, remedy: str
) -> None:
    finding = the_one(imports(broken(tmp_path, compiler, kind), cp312, Cancellation()))
    assert finding.code == "MW272"
    assert finding.severity is (Severity.WARNING if kind == "optional" else Severity.ERROR)
    assert finding.problem.message.startswith(f"`demo._core` cannot be imported with Python {cp312.version}: ")
    assert words in finding.problem.message
    assert remedy in finding.problem.remedy
    assert finding.problem.member == f"demo/_core.cpython-312-{ARCH}-linux-gnu.so"


def test_a_crash_leaves_its_trace_in_the_log(tmp_path: Path, compiler: str, cp312: Interpreter) -> None:
    log = tmp_path / "log"
    imports(broken(tmp_path, compiler, "abort"), cp312, Cancellation(), log=log)
    assert "Fatal Python error: Aborted" in log.read_text()


def test_an_import_that_does_not_end_is_ended(tmp_path: Path, compiler: str, cp312: Interpreter) -> None:
    started = time.monotonic()
    finding = the_one(imports(broken(tmp_path, compiler, "hang"), cp312, Cancellation(), timeout=2.0))
    assert time.monotonic() - started < 60
    assert "`demo._core` cannot be imported" in finding.problem.message
    assert "does not end" in finding.problem.message


def test_imports_can_be_cancelled(tmp_path: Path, compiler: str, cp312: Interpreter) -> None:
    cancellation = Cancellation()
    wheel = broken(tmp_path, compiler, "hang")
    threading.Timer(1.0, cancellation.request).start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        imports(wheel, cp312, cancellation)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(3)", "exits with status 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("class E(Exception):\n  def __str__(self): 1/0\nraise E", "E"),
        ("print('x' * 100_000); raise ValueError('loud')", "ValueError: loud"),
        ("import yaml", "No module named 'yaml'"),
        ("import demo.gone", "No module named 'demo.gone'"),
        ("import os; assert 'SECRET_TOKEN' not in os.environ; 1/0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_module_that_cannot_be_imported(
    tmp_path: Path, cp312: Interpreter, code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    finding = the_one(imports(pure(tmp_path, code), cp312, Cancellation()))
    assert finding.severity is Severity.ERROR
    assert finding.problem.message.startswith("`demo` cannot be imported")
    assert finding.problem.message.endswith(words)


def test_threads_that_go_on_do_not_keep_the_imports_from_ending(tmp_path: Path, cp312: Interpreter) -> None:
    code = "import threading, time; threading.Thread(target=time.sleep, args=(600,)).start()"
    assert imports(pure(tmp_path, code), cp312, Cancellation(), timeout=30) == ()


def test_namespace_packages_and_data_folders_are_imported(tmp_path: Path, cp312: Interpreter) -> None:
    members = {"space/demo/inner.py": b"", "demo-1.0.data/purelib/eggs.py": b"", **RECORD}
    assert imports(write_wheel(tmp_path, tags="py3-none-any", members=members), cp312, Cancellation()) == ()


def test_dependencies_are_installed(tmp_path: Path, cp312: Interpreter) -> None:
    pure(tmp_path, "", start="helper-2.0")
    needs = METADATA.replace("\n\n", "\nRequires-Dist: helper>=2\n\n")
    wheel = pure(tmp_path, "import helper", metadata=needs)
    assert imports(wheel, cp312, Cancellation(), environment={**OFFLINE, "UV_FIND_LINKS": str(tmp_path)}) == ()


def test_without_its_dependencies_a_wheel_is_tried_alone(tmp_path: Path, cp312: Interpreter) -> None:
    needs = METADATA.replace("\n\n", "\nRequires-Dist: helper-that-is-nowhere\n\n")
    alone, failed = imports(pure(tmp_path, "1/0", metadata=needs), cp312, Cancellation(), environment=OFFLINE)
    assert alone.severity is Severity.WARNING
    assert "without its dependencies" in alone.problem.message
    assert "helper-that-is-nowhere" in alone.problem.message
    assert "ZeroDivisionError" in failed.problem.message


def test_a_wheel_that_cannot_be_installed(tmp_path: Path, cp312: Interpreter) -> None:
    metadata = METADATA.replace("\n\n", "\nRequires-Python: >=3.13\n\n")
    finding = the_one(imports(pure(tmp_path, "", metadata=metadata), cp312, Cancellation(), environment=OFFLINE))
    assert finding.severity is Severity.ERROR
    assert "cannot be installed" in finding.problem.message
