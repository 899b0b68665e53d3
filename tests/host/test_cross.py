"""Wheels for machines that cannot run here: each of these fails where a build sees this machine for the target."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from elftools.elf.elffile import ELFFile
from packaging.utils import parse_wheel_filename

from host.cases import program_in
from host.conftest import Finished, Program
from manywheels.build.compilers.choice import Machine
from manywheels.build.compilers.target import CompileTarget
from manywheels.build.cross.facts import TargetFacts
from manywheels.core.files import cache_dir
from manywheels.data import table
from manywheels.plan.interpreters import discover
from manywheels.plan.option_types import ARCHS
from manywheels.plan.policies import policy_named
from manywheels.plan.targets import known_targets

OTHER = "aarch64" if Machine.here().arch == "x86_64" else "x86_64"
PYPROJECT = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "face"
version = "1.0"
requires-python = ">=3.9"
"""
# Writes what Python, and a Python that it starts, say of the machine.
SETUP = """\
import json, os, pathlib, platform, subprocess, sys, sysconfig
from setuptools import Extension, setup
ask = "import os, platform, sysconfig; print(sysconfig.get_platform(), platform.machine(), os.uname().machine)"
run = lambda python: subprocess.run([python, "-c", ask], capture_output=True, text=True).stdout.split()
pathlib.Path("face").mkdir(exist_ok=True)
pathlib.Path("face/__init__.py").write_text("")
pathlib.Path("face/seen.json").write_text(json.dumps({
    "own": [sysconfig.get_platform(), platform.machine(), os.uname().machine], "child": run(sys.executable),
    "natives": run(sys._base_executable), "suffix": sysconfig.get_config_var("EXT_SUFFIX"), "libc": platform.libc_ver(),
    "include": [sysconfig.get_path("include"), sysconfig.get_config_var("INCLUDEPY")], "cross": sys.cross_compiling,
}))
pathlib.Path("core.c").write_text('''
#include <Python.h>
_Static_assert(SIZEOF_VOID_P == sizeof(void *) && SIZEOF_LONG == sizeof(long), "pyconfig.h is this machine's");
#ifdef HAVE_GCC_ASM_FOR_X64
_Static_assert(EXPECT_X64, "pyconfig.h is this machine's");
#endif
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "face._core"};
PyMODINIT_FUNC PyInit__core(void) { return PyModule_Create(&module); }
''')
x64 = "1" if platform.machine() == "x86_64" else "0"
setup(packages=["face"], package_data={"face": ["seen.json"]},
      ext_modules=[Extension("face._core", ["core.c"], define_macros=[("EXPECT_X64", x64)])])
"""
RUNS = """\
import subprocess
from setuptools import setup
with open("gen.c", "w") as file:
    file.write("int main(void) { return 0; }")
subprocess.run("$CC gen.c -o gen", shell=True, check=True)
subprocess.run(["./gen"], check=True)
setup()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    found = {one.abi: one for one in discover().interpreters}
    return program_in(tmp_path_factory.mktemp("cross"), found)


def project(program: Program, setup: str) -> Path:
    folder = program.new_folder("project")
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "setup.py").write_text(setup)
    return folder


def module_of(finished: Finished) -> tuple[str, ELFFile, zipfile.ZipFile]:
    archive = zipfile.ZipFile(finished.wheel)
    (name,) = (name for name in archive.namelist() if name.endswith(".so"))
    return name, ELFFile(io.BytesIO(archive.read(name))), archive


@pytest.mark.parametrize(
    ("policy", "arch", "suffix"),
    [
        ("manylinux_2_28", OTHER, f"cpython-312-{OTHER}-linux-gnu.so"),
        ("musllinux_1_2", Machine.here().arch, f"cpython-312-{Machine.here().arch}-linux-musl.so"),
    ],
)
def test_the_back_end_sees_the_target_and_its_wheel_is_the_targets(
    program: Program, policy: str, arch: str, suffix: str
) -> None:
    finished = program.build(
        project(program, SETUP), "--engine", "host", "--platform", policy, "--archs", arch,
        "--test-command", "python -c 'import face'",
    )  # fmt: skip
    assert finished.status == 0, finished.text
    name, elf, archive = module_of(finished)
    assert finished.wheel.name.endswith(f"{policy}_{arch}.whl")
    assert name == f"face/_core.{suffix}"
    assert elf.header["e_machine"] == table("machines")[arch]["machine"]
    seen: dict[str, Any] = json.loads(archive.read("face/seen.json"))
    here = Machine.here().arch
    assert seen["own"] == seen["child"] == [f"linux-{arch}", arch, arch]
    assert seen["natives"] == [f"linux-{here}", here, here]  # a Python that is not the build's
    assert seen["suffix"] == f".{suffix}"
    assert seen["libc"] == (["", ""] if policy.startswith("musl") else ["glibc", "2.28"])
    assert len(set(seen["include"])) == 1
    assert "cross-cp312" in seen["include"][0]
    assert seen["cross"] is True
    target = finished.targets["cp312"]
    assert "The tests were not run" in target["tests_not_run"]
    assert target["tests_not_run"] in target["warnings"]
    assert target["tests"] is None
    verified = program("verify", finished.output, output=finished.output)
    assert verified.status == 0, verified.text


@pytest.mark.slow
def test_all_architectures_and_both_c_libraries_come_from_one_call(program: Program) -> None:
    finished = program.build(
        "tested", "--engine", "host", "--archs", "all",
        "--platform", "manylinux_2_28 manylinux_2_31 manylinux_2_39 musllinux_1_2",
    )  # fmt: skip
    assert finished.status == 0, finished.text
    wheels = sorted(finished.output.glob("*.whl"))
    platforms = {tag.platform for wheel in wheels for tag in parse_wheel_filename(wheel.name)[3]}
    policies = {**dict.fromkeys(ARCHS, "manylinux_2_28"), "armv7l": "manylinux_2_31", "riscv64": "manylinux_2_39"}
    assert len(wheels) == 2 * len(ARCHS)
    assert platforms >= {f"{policy}_{arch}" for arch in ARCHS for policy in (policies[arch], "musllinux_1_2")}
    verified = program("verify", finished.output, output=finished.output)
    assert verified.status == 0, verified.text


def test_a_back_end_of_the_projects_own_needs_no_requirements(program: Program) -> None:
    finished = program.build("tested", "--engine", "host", "--platform", "manylinux_2_28", "--archs", OTHER)
    assert finished.status == 0, finished.text
    _name, elf, _archive = module_of(finished)
    assert elf.header["e_machine"] == table("machines")[OTHER]["machine"]


def test_a_build_system_without_requirements_is_refused_by_name(program: Program) -> None:
    source = project(program, "")
    (source / "pyproject.toml").write_text(PYPROJECT.replace('requires = ["setuptools"]', ""))
    finished = program.build(source, "--engine", "host", "--platform", "manylinux_2_28", "--archs", OTHER)
    assert finished.status == 1
    assert "[build-system] has no `requires`" in finished.text
    assert "Traceback" not in finished.text


def test_what_runs_what_it_built_is_told_so(program: Program) -> None:
    finished = program.build(
        project(program, RUNS), "--engine", "host", "--platform", "manylinux_2_28", "--archs", OTHER
    )
    assert finished.status == 1
    assert "cannot be cross-built" in finished.failure()["remedy"], finished.failure()
    assert "--engine container" in finished.failure()["remedy"]


def test_meson_builds_for_the_target(program: Program) -> None:
    finished = program.build(
        "meson_ext", "--engine", "host", "--platform", "manylinux_2_28", "--archs", OTHER, "--test-skip", "*"
    )
    assert finished.status == 0, finished.text
    name, elf, _archive = module_of(finished)
    assert name == f"meson_ext/_core.cpython-312-{OTHER}-linux-gnu.so"
    assert elf.header["e_machine"] == table("machines")[OTHER]["machine"]
    assert finished.targets["cp312"]["tests_not_run"] == ""


CMAKE = """\
cmake_minimum_required(VERSION 3.15)
project(cmade LANGUAGES C)
find_package(Python REQUIRED COMPONENTS Interpreter Development.Module)
Python_add_library(_core MODULE WITH_SOABI core.c)
message(STATUS "includes: ${Python_INCLUDE_DIRS}, suffix: ${Python_SOABI}")
"""


@pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
def test_cmake_finds_the_targets_python(program: Program) -> None:
    """FindPython asks no interpreter for the suffix where it builds for another machine."""
    setup = (
        "import os, pathlib, subprocess, sys\nfrom setuptools import Extension, setup\n"
        f"pathlib.Path('CMakeLists.txt').write_text({CMAKE!r})\n"
        "pathlib.Path('core.c').write_text('#include <Python.h>\\nint x;')\n"
        "subprocess.run(['cmake', '-G', 'Unix Makefiles', f'-DPython_EXECUTABLE={sys.executable}', '-B', 'made', '.'],"
        " check=True)\n"
        "subprocess.run(['cmake', '--build', 'made'], check=True)\n"
        "print('made:', sorted(os.listdir('made')))\n"
        "pathlib.Path('x.c').write_text('#include <Python.h>\\nPyMODINIT_FUNC PyInit__x(void) { return 0; }')\n"
        "setup(packages=[], ext_modules=[Extension('_x', ['x.c'])])\n"
    )
    finished = program.build(
        project(program, setup), "--engine", "host", "--platform", "manylinux_2_28", "--archs", OTHER
    )
    assert finished.status == 0, finished.text
    log = finished.log("cp312").read_text()
    assert f"_core.cpython-312-{OTHER}-linux-gnu.so" in log
    assert "cross-cp312" in log.partition("includes: ")[2].partition("\n")[0]


# --- the facts, by the compilers --------------------------------------------------------------------------------------

_EXPRESSIONS = {
    "ALIGNOF_LONG": "_Alignof(long)", "ALIGNOF_SIZE_T": "_Alignof(size_t)",
    "ALIGNOF_MAX_ALIGN_T": "_Alignof(max_align_t)",
    "SIZEOF_LONG": "sizeof(long)", "SIZEOF_LONG_DOUBLE": "sizeof(long double)", "SIZEOF_PTHREAD_T": "sizeof(pthread_t)",
    "SIZEOF_SIZE_T": "sizeof(size_t)", "SIZEOF_TIME_T": "sizeof(time_t)", "SIZEOF_UINTPTR_T": "sizeof(uintptr_t)",
    "SIZEOF_VOID_P": "sizeof(void *)",
}  # fmt: skip


@pytest.mark.parametrize("arch", table("cross")["arch"])
def test_the_facts_are_those_of_the_compilers(arch: str, tmp_path: Path) -> None:
    zig = Machine.here().zig
    if zig is None:
        pytest.skip("ziglang is not installed")
    for policy in ("manylinux_2_34", "musllinux_1_2"):
        compiled = CompileTarget(arch=arch, policy=policy_named(policy))
        macros = TargetFacts(target=known_targets("manylinux", arch)[4], compiled=compiled).macros
        # gcc, which makes i686's Pythons, aligns to 16 there for its __float128.
        known = {name: text for name, text in _EXPRESSIONS.items() if (arch, name) != ("i686", "ALIGNOF_MAX_ALIGN_T")}
        claims = [f"{expression} == {macros[name]}" for name, expression in known.items()]
        claims.append(f"((wchar_t)-1 > 0) == {macros['HAVE_USABLE_WCHAR_T'] or 0}")
        claims.append(f"(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) == {macros['WORDS_BIGENDIAN'] or 0}")
        lines = ["#include <stddef.h>", "#include <stdint.h>", "#include <time.h>", "#include <pthread.h>"]
        lines += [f'_Static_assert({claim}, "{policy}");' for claim in claims]
        lines += [f"#if defined __SIZEOF_INT128__ != {macros['HAVE_GCC_UINT128_T'] or 0}", "#error int128", "#endif"]
        (tmp_path / "facts.c").write_text("\n".join([*lines, ""]))
        command = [str(zig), "cc", "-std=c11", "-target", compiled.zig, "-c", "facts.c", "-o", "facts.o"]
        cache = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache_dir() / "zig")}  # the builds' own: it has the libcs
        done = subprocess.run(command, cwd=tmp_path, env=cache, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
