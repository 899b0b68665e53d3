"""The checks of ELF files on what real compilers and linkers make, each beside what comes close to it."""

from __future__ import annotations

import json
import platform as machine
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest

from host.conftest import Program
from manywheels.build.compilers.choice import Machine
from manywheels.data import table
from manywheels.verify.checks import libraries, loading, platform, symbols
from manywheels.verify.model import Problem, open_wheel
from unit.helpers import write_wheel

pytestmark = [
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on this machine"),
    pytest.mark.skipif(machine.machine() != "x86_64", reason="the sources are for x86_64"),
]
CHECKS = (*platform.CHECKS, *symbols.CHECKS, *libraries.CHECKS, *loading.CHECKS)
EXTENSION = "demo/_core.cpython-312-x86_64-linux-gnu.so"
PLAIN = "int f(void) { return 1; }\n"
WANTS_CLOSE_RANGE = """
{attribute} int close_range(unsigned first, unsigned last, int flags);
int f(void) {{ return close_range(3, 3, 0); }}
"""
IN_THE_TEXT = """
.text
.globl f
f: movabs $value, %rax
ret
.data
.globl value
value: .quad 1
.section .note.GNU-stack,"",@progbits
"""
# Written without Python.h, so that it is the same for every Python that runs the tests.
READS_A_TEXT = """
extern const char *PyUnicode_AsUTF8AndSize(void *, long *);
extern void *PyUnicode_FromString(const char *);
void *PyInit__core(void) { return PyUnicode_FromString(PyUnicode_AsUTF8AndSize((void *) 0, (long *) 0)); }
"""


def compiled(folder: Path, source: str, *options: str | Path, suffix: str = ".c", name: str = "made.so") -> Path:
    """Return a shared object as gcc makes it."""
    (folder / f"{name}{suffix}").write_text(source)
    made = folder / name
    command = ["gcc", "-shared", "-fPIC", "-o", str(made), str(folder / f"{name}{suffix}"), *map(str, options)]
    subprocess.run(command, check=True, capture_output=True)
    return made


def zig_compiled(folder: Path, source: str, *options: str) -> Path:
    """Return a shared object as zig links it for glibc 2.28."""
    zig = Machine.here().zig
    if zig is None:
        pytest.skip("ziglang is not installed")
    (folder / "made.c").write_text(source)
    command = [
        str(zig),
        "cc",
        "-target",
        "x86_64-linux-gnu.2.28",
        "-shared",
        "-fPIC",
        *options,
        "-o",
        "made.so",
        "made.c",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder / "made.so"


def problems(folder: Path, files: Mapping[str, Path] | Path, *, tags: str = "cp312-cp312") -> list[tuple[str, Problem]]:
    given = {EXTENSION: files} if isinstance(files, Path) else files
    members = {name: path.read_bytes() for name, path in given.items()}
    with open_wheel(write_wheel(folder, tags=f"{tags}-manylinux_2_28_x86_64", members=members)) as wheel:
        return [(check.code, problem) for check in CHECKS for problem in check.run(wheel)]


def codes(found: list[tuple[str, Problem]]) -> list[str]:
    return [code for code, _ in found]


# --- symbols without a version ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_mw211_zig_leaves_what_the_policy_lacks_without_a_version(program: Program) -> None:
    finished = program.build("new_symbol", "--toolchain", "zig", tags="cp311")

    assert finished.status == 3, finished.text
    assert finished.wheels == []
    assert "close_range" in finished.failure("cp311")["problem"]
    assert "2.34" in finished.failure("cp311")["problem"]
    assert "MW211" in finished.text


@pytest.mark.parametrize(("attribute", "found"), [("", ["MW211"]), ("__attribute__((weak))", [])])
def test_mw211_strong_and_weak(tmp_path: Path, attribute: str, found: list[str]) -> None:
    made = zig_compiled(tmp_path, WANTS_CLOSE_RANGE.format(attribute=attribute))
    assert codes(problems(tmp_path, made)) == found


def test_mw211_the_versions_are_those_of_this_machines_glibc() -> None:
    """The table gives each name of this glibc the lowest version that its libraries give it."""
    lowest: dict[str, tuple[int, ...]] = {}
    for library in ("libc.so.6", "libm.so.6", "libresolv.so.2", "libpthread.so.0"):
        for name, version in versions_defined(library):
            lowest[name] = min(version, lowest.get(name, version))
    known = {
        name: tuple(map(int, version.split("."))) for version, names in table("glibc_symbols").items()
        for name in names.split()
    }  # fmt: skip
    newest = max(known.values())
    expected = {name: max(version, (2, 17)) for name, version in lowest.items() if version <= newest}
    assert len(expected) > 2000
    assert {name: known.get(name) for name in expected} == expected


def versions_defined(library: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return the symbols of one of glibc's libraries with the versions that readelf tells of them."""
    folders = [Path(name) for name in ("/lib/x86_64-linux-gnu", "/lib64")]
    path = next((folder / library for folder in folders if (folder / library).exists()), None)
    if path is None:
        pytest.skip(f"{library} is not where it was looked for")
    printed = subprocess.check_output(["readelf", "--wide", "--dyn-syms", path], text=True)
    found = re.findall(r" (?:GLOBAL|WEAK) +\w+ +\d+ (\w+)@@?GLIBC_([\d.]+)$", printed, re.MULTILINE)
    return [(name, tuple(map(int, version.split(".")))) for name, version in found]


def test_mw229_a_function_that_was_not_linked_in(tmp_path: Path) -> None:
    found = problems(tmp_path, compiled(tmp_path, "int spam_new(void); int f(void) { return spam_new(); }"))
    assert codes(found) == ["MW229"]
    assert "`spam_new`" in found[0][1].message


# --- how files want to be loaded --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("option", "found"), [("-Wl,-z,execstack", ["MW212"]), ("-Wl,-z,noexecstack", [])])
def test_mw212_executable_stacks(tmp_path: Path, option: str, found: list[str]) -> None:
    assert codes(problems(tmp_path, compiled(tmp_path, PLAIN, option))) == found


def test_mw212_a_file_that_says_nothing(tmp_path: Path) -> None:
    """Some tools overwrite the entry: x86-64's default is a stack that is executable."""
    made = compiled(tmp_path, PLAIN)
    content = bytearray(made.read_bytes())
    place = content.index(b"\x51\xe5\x74\x64")  # PT_GNU_STACK
    content[place : place + 4] = bytes(4)  # PT_NULL
    made.write_bytes(content)
    assert codes(problems(tmp_path, made)) == ["MW212"]


def test_mw212_programs_are_started(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("int main(void) { return 0; }")
    command = ["gcc", "-o", "program", "main.c", "-Wl,-z,execstack", "-nostartfiles", "-Wl,-emain"]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert codes(problems(tmp_path, {"demo/bin/program": tmp_path / "program"})) == []


def test_mw213_text_relocations(tmp_path: Path) -> None:
    made = compiled(tmp_path, IN_THE_TEXT, "-Wl,-z,notext", suffix=".s")
    assert codes(problems(tmp_path, made)) == ["MW213"]
    asks_the_table = IN_THE_TEXT.replace("movabs $value, %rax", "mov value@GOTPCREL(%rip), %rax")
    assert codes(problems(tmp_path, compiled(tmp_path, asks_the_table, suffix=".s"))) == []


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["-march=x86-64-v3", "-Wl,-z,x86-64-v3"], ["MW214"]),
        (["-march=x86-64-v3"], []),  # says nothing: the file may look at the processor itself
        (["-march=x86-64-v3", "-Wa,-mx86-used-note=yes"], []),  # used, but not needed
    ],
)
def test_mw214_processor_levels(tmp_path: Path, options: list[str], found: list[str]) -> None:
    assert codes(problems(tmp_path, compiled(tmp_path, PLAIN, *options))) == found


# --- libraries --------------------------------------------------------------------------------------------------------


def test_mw215_two_copies_of_a_runtime(tmp_path: Path) -> None:
    copy = compiled(
        tmp_path, "int spam(void) { return 1; }", "-Wl,-soname,libstdc++-1a2b3c4d.so.6.0.33", name="libcopy.so"
    )
    uses = "int spam(void); int f(void) { return spam(); }"
    one = compiled(tmp_path, uses, copy, "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN/../demo.libs", name="one.so")
    other = compiled(tmp_path, PLAIN, "-Wl,--no-as-needed", "-l:libstdc++.so.6", name="other.so")
    grafted = {"demo.libs/libstdc++-1a2b3c4d.so.6.0.33": copy, "demo/_one.so": one}
    assert codes(problems(tmp_path, {**grafted, "demo/_other.so": other})) == ["MW215"]
    assert codes(problems(tmp_path, grafted)) == []


def test_mw217_an_extension_module_with_libpython(tmp_path: Path) -> None:
    library = compiled(tmp_path, PLAIN, "-Wl,-soname,libpython3.12.so.1.0", name="libpython3.12.so")
    found = problems(tmp_path, compiled(tmp_path, PLAIN, "-Wl,--no-as-needed", library))
    assert codes(found) == ["MW217"]
    assert codes(problems(tmp_path, compiled(tmp_path, PLAIN, "-Wl,--as-needed", library))) == []


def test_mw219_a_library_without_a_soname(tmp_path: Path) -> None:
    shout = compiled(tmp_path, "int shout(void) { return 1; }", name="libshout.so")
    uses = "int shout(void); int f(void) { return shout(); }"
    by_path = compiled(tmp_path, uses, shout, name="by-path.so")
    by_name = compiled(tmp_path, uses, f"-L{tmp_path}", "-lshout", "-Wl,-rpath,$ORIGIN", name="by-name.so")
    found = problems(tmp_path, {EXTENSION: by_path, "demo/libshout.so": shout})
    assert codes(found) == ["MW219"]
    assert f"`{shout}`" in found[0][1].message
    assert codes(problems(tmp_path, {EXTENSION: by_name, "demo/libshout.so": shout})) == []


# --- Python's own symbols ---------------------------------------------------------------------------------------------


def test_mw216_a_module_of_the_free_threaded_python(tmp_path: Path) -> None:
    source = "void _Py_DecRefShared(void *); void f(void *one) { _Py_DecRefShared(one); }"
    made = compiled(tmp_path, source)
    assert codes(problems(tmp_path, {"demo/_core.so": made})) == ["MW216"]
    assert codes(problems(tmp_path, {"demo/_core.so": made}, tags="cp313-cp313t")) == []


def test_mw216_this_python_does_not_export_those_symbols() -> None:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this Python is the free-threaded one")
    import ctypes

    exported = [name for name in symbols.FREE_THREADED if hasattr(ctypes.pythonapi, name)]
    assert exported == []


def test_mw218_agrees_with_abi3audit(tmp_path: Path) -> None:
    cases = [
        ("cp39-abi3", READS_A_TEXT, "PyUnicode_AsUTF8AndSize"),
        ("cp310-abi3", READS_A_TEXT, None),
        ("cp39-abi3", READS_A_TEXT.replace("PyUnicode_AsUTF8AndSize", "PyBytes_FromStringAndSize"), None),
        ("cp312-abi3", READS_A_TEXT.replace("PyUnicode_AsUTF8AndSize", "_PyUnicode_AsString"), "_PyUnicode_AsString"),
    ]
    folders = [tmp_path / str(number) for number in range(len(cases))]
    for folder, (tag, source, bad) in zip(folders, cases, strict=True):
        folder.mkdir()
        found = problems(folder, {"demo/_core.abi3.so": compiled(folder, source)}, tags=tag)
        assert codes(found) == (["MW218"] if bad else []), tag
        assert all(f"`{bad}`" in problem.message for _, problem in found)

    wheels = [str(next(folder.glob("*.whl"))) for folder in folders]
    command = [sys.executable, "-m", "abi3audit", "--report", *wheels]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    audited = [report["specs"][wheel]["wheel"][0]["result"] for wheel in wheels]
    refused = [[*result["non_abi3_symbols"], *result["future_abi3_objects"]] for result in audited]
    assert refused == [[bad] if bad else [] for _, _, bad in cases]
