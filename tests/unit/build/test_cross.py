"""What builds see of a target that is another machine: facts, files, and the front end's command."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from manywheels.build.compilers.target import CompileTarget
from manywheels.build.cross.command import CrossBuild, cross_files, idle_arguments
from manywheels.build.cross.facts import TargetFacts
from manywheels.build.cross.files import CrossFiles
from manywheels.build.cross.machine_python import MachinePython
from manywheels.build.logs import Excerpt, cross
from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.errors import ToolchainError
from manywheels.plan.policies import policy_named
from manywheels.plan.target_options import FrontEnd
from manywheels.plan.targets import Target, known_targets

DEBIANS = tomllib.loads((Path(__file__).parents[2] / "data" / "pyconfig.toml").read_text("utf-8"))
PYCONFIG = """\
#ifndef Py_PYCONFIG_H
#if defined AC_APPLE_UNIVERSAL_BUILD
# if defined __BIG_ENDIAN__
#  define WORDS_BIGENDIAN 1
# endif
#else
# ifndef WORDS_BIGENDIAN
/* #  undef WORDS_BIGENDIAN */
# endif
#endif
/* The size of `long', as computed by sizeof. */
#define SIZEOF_LONG 8
#define SIZEOF_LONG_DOUBLE 16
#define SIZEOF_LONG_LONG 8
#define SIZEOF_VOID_P 8
#define HAVE_GCC_ASM_FOR_X64 1
#define HAVE_CLOSE_RANGE 1
#define HAVE_GCC_UINT128_T 1
/* #undef HAVE_USABLE_WCHAR_T */
#endif
"""


def target(tag: str, policy: str, arch: str) -> Target:
    return next(one for one in known_targets(policy_named(policy).family, arch) if one.tag == tag)


def facts(tag: str, policy: str, arch: str) -> TargetFacts:
    compiled = CompileTarget(arch=arch, policy=policy_named(policy))
    return TargetFacts(target=target(tag, policy, arch), compiled=compiled)


@pytest.mark.parametrize("arch", DEBIANS)
def test_the_macros_are_those_of_a_real_python(arch: str) -> None:
    made = facts("cp311", "manylinux_2_28", arch).macros
    real = {name: None if value is False else value for name, value in DEBIANS[arch].items()}
    assert {name: made[name] for name in real} == real


def test_every_architecture_has_the_same_macros() -> None:
    names = {arch: set(row["macros"]) for arch, row in table("cross")["arch"].items()}
    assert len(set(map(frozenset, names.values()))) == 1
    assert set(names) == {arch for arch, row in table("machines").items() if "zig" in row}


# The suffixes of MarkupSafe's wheels on PyPI.
@pytest.mark.parametrize(
    ("tag", "policy", "arch", "suffix"),
    [
        ("cp39", "musllinux_1_2", "aarch64", ".cpython-39-aarch64-linux-gnu.so"),
        ("cp310", "musllinux_1_2", "x86_64", ".cpython-310-x86_64-linux-gnu.so"),
        ("cp311", "musllinux_1_2", "x86_64", ".cpython-311-x86_64-linux-musl.so"),
        ("cp312", "manylinux2014", "i686", ".cpython-312-i386-linux-gnu.so"),
        ("cp312", "manylinux_2_34", "armv7l", ".cpython-312-arm-linux-gnueabihf.so"),
        ("cp312", "musllinux_1_2", "armv7l", ".cpython-312-arm-linux-musleabihf.so"),
        ("cp312", "manylinux_2_28", "ppc64le", ".cpython-312-powerpc64le-linux-gnu.so"),
        ("cp312", "musllinux_1_2", "riscv64", ".cpython-312-riscv64-linux-musl.so"),
        ("cp314t", "manylinux_2_28", "aarch64", ".cpython-314t-aarch64-linux-gnu.so"),
    ],
)
def test_the_suffix_is_that_of_published_wheels(tag: str, policy: str, arch: str, suffix: str) -> None:
    assert facts(tag, policy, arch).extension_suffix == suffix


def test_a_header_for_another_machine() -> None:
    made = facts("cp312", "manylinux_2_28", "armv7l").header(PYCONFIG)
    assert "#define SIZEOF_LONG 4\n#define SIZEOF_LONG_DOUBLE 8\n#define SIZEOF_LONG_LONG 8\n" in made
    assert "/* #undef HAVE_GCC_ASM_FOR_X64 */\n#define HAVE_CLOSE_RANGE 1\n/* #undef HAVE_GCC_UINT128_T */\n" in made
    assert "#define HAVE_USABLE_WCHAR_T 1\n" in made
    assert "ALIGNOF" not in made  # a macro that this version does not have
    assert "/* #undef HAVE_CLOSE_RANGE */" in facts("cp312", "musllinux_1_2", "x86_64").header(PYCONFIG)


def test_a_header_for_a_big_endian_machine() -> None:
    made = facts("cp312", "manylinux_2_28", "s390x").header(PYCONFIG)
    assert re.search(r"# ifndef WORDS_BIGENDIAN\n#define WORDS_BIGENDIAN 1\n# endif", made)


@pytest.fixture
def written(tmp_path: Path) -> CrossFiles:
    headers = tmp_path / "headers"
    (headers / "cpython").mkdir(parents=True)
    for name in ("Python.h", "pyconfig.h", "pyconfig-64.h"):
        (headers / name).write_text(name)
    python = MachinePython(
        variables={"CC": "gcc", "SIZEOF_LONG": 8, "SIZEOF_VOID_P": 8, "VERSION": "3.12", "LIBS": "-L/opt/lib"},
        headers=headers, header=PYCONFIG,
    )  # fmt: skip
    one = target("cp312", "manylinux_2_28", "armv7l")
    files = cross_files(one, policy_named("manylinux_2_34"), tmp_path / "cross", roots=[tmp_path / "work"])
    files.write(python, {"CC": "/tools/cc", "CXX": "/tools/c++"})
    return files


def test_headers_are_the_machines_but_for_pyconfig(written: CrossFiles) -> None:
    assert sorted(entry.name for entry in written.include.iterdir()) == ["Python.h", "cpython", "pyconfig.h"]
    assert "#define SIZEOF_LONG 4\n" in (written.include / "pyconfig.h").read_text()


def test_variables_are_a_module_by_the_targets_name(written: CrossFiles) -> None:
    module = written.lib / "_sysconfigdata__linux_arm-linux-gnueabihf.py"
    variables = ast.literal_eval(module.read_text().partition(" = ")[2])
    assert variables["EXT_SUFFIX"] == ".cpython-312-arm-linux-gnueabihf.so"
    assert variables["INCLUDEPY"] == str(written.include)
    assert (variables["VERSION"], variables["SIZEOF_LONG"], variables["LIBS"]) == ("3.12", 4, "")
    assert variables["LDSHARED"] == "/tools/cc -shared"
    assert "SIZEOF_TIME_T" not in variables  # the machine's Python does not say it
    face = json.loads(written.face.read_text())
    assert face["platform"] == "linux-armv7l"
    assert face["variables"]["SIZEOF_VOID_P"] == 4


def test_build_systems_are_told_of_the_target(written: CrossFiles) -> None:
    environment = written.environment
    cmake = Path(environment["CMAKE_TOOLCHAIN_FILE"]).read_text()
    assert "set(CMAKE_SYSTEM_PROCESSOR armv7l)" in cmake
    assert f'set(CMAKE_FIND_ROOT_PATH "{written.folder};{written.folder.parent / "work"}")' in cmake
    assert "cpu_family = 'arm'" in written.meson.read_text()
    assert "host_alias=armv7l-unknown-linux-gnueabihf" in Path(environment["CONFIG_SITE"]).read_text()
    assert Path(environment["PKG_CONFIG_LIBDIR"], "python-3.12.pc").is_file()
    assert "@" not in cmake.replace("$@", "")


def test_pypy_is_refused() -> None:
    one = next(known for known in known_targets("manylinux", "aarch64") if known.tag.startswith("pp"))
    with pytest.raises(ToolchainError, match="only CPython") as caught:
        cross_files(one, policy_named("manylinux_2_28"), Path("/nowhere"), roots=[])
    assert f"skip: {one.tag}-*" in caught.value.remedy


# --- the front end's command ------------------------------------------------------------------------------------------


def task(written: CrossFiles, *arguments: str, settings: tuple[str, ...] = (), venv: Path | None = None) -> Any:
    front_end = FrontEnd(name="build", arguments=arguments)
    build = CrossBuild(
        files=written, uv="uv", python=Path("/python"), venv=venv, front_end=front_end,
        settings=settings, folder=Path("/folder"), output=Path("/output"),
    )  # fmt: skip
    return json.loads(build.argv[-1])


def test_settings_are_those_of_the_options_and_the_front_end(written: CrossFiles) -> None:
    made = task(written, "-C", "b=2", "-Ca=3", "--config-setting=flag", settings=("a=1", "a=2"))
    assert made["settings"] == {"a": ["1", "2", "3"], "b": "2", "flag": ""}


def test_without_isolation_the_prepared_environment_is_used(written: CrossFiles) -> None:
    assert task(written, "--no-isolation", venv=Path("/venv"))["venv"] == "/venv"
    assert task(written, venv=Path("/venv"))["venv"] == ""


def test_arguments_that_mean_nothing_to_a_cross_build() -> None:
    front_end = FrontEnd(name="build", arguments=("-n", "-Ca=1", "-C", "b=2", "--skip-dependency-check"))
    assert idle_arguments(front_end) == ("--skip-dependency-check",)


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/bin/sh: 1: ./gen: Exec format error", "cannot be cross-built"),
        ("qemu-aarch64: Could not open '/lib/ld-linux-aarch64.so.1': No such file", "cannot be cross-built"),
        ("OSError: [Errno 8] Exec format error: './gen'", "cannot be cross-built"),
        ("manywheels: error: cannot run ./gen, which was built for aarch64", "cannot be cross-built"),
        ("CMake Error: try_run() invoked in cross-compiling mode, please set the following", "cannot be cross-built"),
        ("meson.build:9:0: ERROR: Can not run test applications in this cross environment.", "cannot be cross-built"),
        ("configure: error: cannot run test program while cross compiling", "cannot be cross-built"),
        ("error[E0463]: can't find crate for `core`", "rustup target add"),
        ("Could NOT find ZLIB (missing: ZLIB_LIBRARY ZLIB_INCLUDE_DIR)", "CMAKE_PREFIX_PATH"),
    ],
)
def test_what_cannot_be_cross_built_is_named_with_the_ways_out(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"before\n{line}\nafter\n")
    excerpt = Excerpt(lines=(line,), first_line=1, reason="the build failed", location=None)
    remedy = cross.remedy(excerpt, tmp_path / "log", Cancellation())
    assert words in remedy
    assert "--engine container" in remedy


def test_an_error_of_the_project_has_no_such_remedy(tmp_path: Path) -> None:
    line = "core.c:3:1: error: unknown type name 'foo'"
    (tmp_path / "log").write_text(f"{line}\n")
    excerpt = Excerpt(lines=(line,), first_line=1, reason=line, location=None)
    assert cross.remedy(excerpt, tmp_path / "log", Cancellation()) == ""
