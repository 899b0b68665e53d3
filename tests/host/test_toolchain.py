"""What the toolchains make: extensions that need no newer glibc than asked for and name no folder of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection

from manywheels.build.compilers.choice import Machine
from manywheels.build.compilers.toolchain import Toolchain, prepare
from manywheels.plan.policies import policy_named

PROJECTS = Path(__file__).parent.parent / "projects"
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")

CMAKE = """
cmake_minimum_required(VERSION 3.15)
project(two C CXX)
find_package(Threads REQUIRED)
find_library(MATH m)
add_library(one SHARED one.cpp)
target_link_libraries(one PRIVATE Threads::Threads ${MATH})
set_property(TARGET one PROPERTY INTERPROCEDURAL_OPTIMIZATION ON)
add_library(two SHARED two.c)
target_link_libraries(two PRIVATE one)
set_property(TARGET two PROPERTY INSTALL_RPATH "$ORIGIN")
install(TARGETS one two DESTINATION .)
"""

RUST = """
#[no_mangle]
pub extern "C" fn f(x: i32) -> i32 {
    let thread = std::thread::spawn(move || { if x > 9 { panic!("{x}") } x });
    thread.join().unwrap_or(-1)
}
"""

needs_zig = pytest.mark.skipif(Machine.here().zig is None, reason="ziglang is not installed")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc on this machine")


def pythons() -> list[Path]:
    """Return the interpreters of pyenv from 3.9 on, oldest first."""
    found = {}
    for path in PYENV.glob("versions/3.*/bin/python3.*"):
        name = re.fullmatch(r"python3\.(\d+)", path.name)
        if name and int(name[1]) >= 9:
            found[int(name[1])] = path
    return [found[minor] for minor in sorted(found)]


def environment(toolchain: Toolchain, home: Path, **more: str) -> dict[str, str]:
    passed = (
        "SSL_CERT_FILE",
        "UV_OFFLINE",
        "UV_FIND_LINKS",
        "https_proxy",
        "no_proxy",
        "CARGO_HOME",
    )
    return toolchain.with_libraries(
        {
            **{name: os.environ[name] for name in passed if name in os.environ},
            "PATH": f"{toolchain.bin_dir}:/usr/bin:/bin",
            "HOME": str(home),
            **toolchain.environment,
            **more,
        }
    )


def run(*argv: str | Path, env: dict[str, str], cwd: Path) -> str:
    done = subprocess.run(
        argv, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}"
    return done.stdout


def run_paths(library: Path) -> list[str]:
    with library.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynamic")
        assert isinstance(section, DynamicSection)
        found = [
            getattr(tag, name)
            for tag in section.iter_tags()
            for name in ("rpath", "runpath")
            if tag.entry.d_tag == f"DT_{name.upper()}"
        ]
    return [part for value in found for part in value.split(":")]


def needed_glibc(library: Path) -> tuple[int, ...]:
    """Return the highest GLIBC_x.y version that a library needs."""
    versions: list[tuple[int, ...]] = [(0,)]
    with library.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".gnu.version_r")
        if isinstance(section, GNUVerNeedSection):
            for _, auxiliaries in section.iter_versions():
                for auxiliary in auxiliaries:
                    found = re.fullmatch(r"GLIBC_(\d+(?:\.\d+)+)", auxiliary.name)
                    if found:
                        versions.append(tuple(int(part) for part in found[1].split(".")))
    return max(versions)


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "home").mkdir()
    yield tmp_path
    shutil.rmtree(tmp_path, ignore_errors=True)


def zig(work: Path, policy: str = "manylinux_2_28", **prefix_map: str) -> Toolchain:
    return prepare(
        "zig", policy_named(policy), work / "tools", prefix_map={str(work): "build", **prefix_map}, plain_jobs=2
    )


@needs_zig
@pytest.mark.skipif(len(pythons()) < 2, reason=f"{PYENV} has no two Pythons from 3.9 on")
@pytest.mark.parametrize(
    ("project", "which", "policy"),
    [
        ("c_setuptools", 0, "manylinux2014"),
        pytest.param("c_setuptools", len(pythons()) // 2, "manylinux_2_28", id="default"),
        ("c_setuptools", -1, "manylinux_2_34"),
        ("meson_ext", -1, "manylinux2014"),
        ("cpp_cmake", 0, "manylinux_2_28"),
    ],
)
@pytest.mark.slow("default", "cpp_cmake-0-manylinux_2_28", "meson_ext--1-manylinux2014")
def test_wheels_stay_within_the_policy_and_name_no_folder(
    project: str, which: int, policy: str, work: Path, uv_cache: Path
) -> None:
    python = pythons()[which]
    source = shutil.copytree(PROJECTS / project, work / "source")
    toolchain = zig(work, policy, **{str(uv_cache): "cache"})
    env = environment(toolchain, work / "home", UV_CACHE_DIR=str(uv_cache))
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert uv, "uv is a dependency of the project"

    run(
        uv, "build", "--wheel", "--no-config", "--python", python, "--out-dir", work / "dist", source, env=env, cwd=work
    )

    (wheel,) = (work / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work / "unpacked")
    libraries = sorted((work / "unpacked").rglob("*.so"))
    assert libraries
    for library in libraries:
        assert not [path for path in run_paths(library) if not path.startswith("$ORIGIN")]
        assert needed_glibc(library) <= policy_named(policy).version
        content = library.read_bytes()
        for folder in (work, uv_cache, PYENV, Machine.here().zig):
            assert str(folder).encode() not in content, folder
    module = ".".join(libraries[0].relative_to(work / "unpacked").parts).split(".cpython-")[0].removesuffix(".so")
    run(python, "-I", "-c", f"import sys; sys.path.insert(0, 'unpacked'); import {module}", env=env, cwd=work)


@needs_zig
def test_a_symbol_newer_than_the_policy_does_not_link(work: Path) -> None:
    (work / "new.c").write_text(
        "#include <pthread.h>\n int closefrom(int); void f(void) { closefrom(3); }\n"
    )  # glibc 2.34
    env = environment(zig(work), work / "home")
    done = subprocess.run(
        ["cc", "-shared", "-fPIC", "-Wl,--no-undefined", "new.c", "-o", "new.so"],
        env=env, cwd=work, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "closefrom" in done.stderr
    env = environment(zig(work, "manylinux_2_34"), work / "home")
    run("cc", "-shared", "-fPIC", "-Wl,--no-undefined", "new.c", "-o", "new.so", env=env, cwd=work)
    assert needed_glibc(work / "new.so") == (2, 34)


@needs_zig
@pytest.mark.parametrize(
    "flags",
    [
        ["-g", "-flto=auto", "-ffat-lto-objects", "-specs=/nowhere", "--sysroot=/nowhere", "-B", "/nowhere"],
        ["-mtune=generic", "-march=x86-64-v2", "-Wp,-D_FORTIFY_SOURCE=2", "-fno-semantic-interposition"],
        ["-fdebug-default-version=4", "-Wl,-z,pack-relative-relocs", "-fno-reorder-functions"],
        ["-Wl,--exclude-libs,ALL", "-Wl,-Bsymbolic-functions", "-Wl,--push-state,--as-needed", "-Wl,--pop-state"],
        ["-Wl,--exclude-libs=ALL", "-Wl,-Map,out.map", "-Wl,-z,relro,-z,now", "-z", "now"],
        ["-static-libgcc", "-static-libstdc++", "-pthread", "-Wl,--version-script=names", "-Wl,-h,thing.so"],
        ['-DTEXT="a b"', "-D", "OTHER='$HOME'", "-I", "/usr/include", "-isystem", "/usr/include", "-Iwith space"],
    ],
)  # fmt: skip
def test_flags_of_other_compilers_do_no_harm(flags: list[str], work: Path) -> None:
    (work / "names").write_text("{ global: f; missing; local: *; };\n")
    (work / "f.c").write_text("#include <stdio.h>\nint f(void) { return 1; }\n")
    env = environment(zig(work), work / "home")
    run("cc", "-O2", "-fPIC", "-shared", *flags, "f.c", "-o", "f.so", env=env, cwd=work)
    run("cc", "-O2", "-fPIC", "-c", "f.c", "-o", "an object.o", env=env, cwd=work)
    (work / "link.rsp").write_text('-shared "an object.o" "-Wl,-rpath,/abs:$ORIGIN/../libs"\n')
    run("cc", "@link.rsp", *flags, "-o", "f.so", env=env, cwd=work)
    assert run_paths(work / "f.so") == ["$ORIGIN/../libs"]


def interpreters_own(folder: Path) -> list[str]:
    """Return flags as an interpreter's sysconfig brings them, in every spelling."""
    split = ["-Wl,-rpath", f"-Wl,{folder}", "-Xlinker", "-rpath", "-Xlinker", str(folder)]
    return [f"-L{folder}", f"-Wl,-rpath,{folder}", *split]


@pytest.mark.parametrize("kind", [pytest.param("zig", marks=needs_zig), pytest.param("system", marks=needs_gcc)])
def test_run_paths_and_folders_of_the_machine_are_left_out(kind: str, work: Path) -> None:
    library = work / "python" / "lib"
    library.mkdir(parents=True)
    (library / "libpython3.12.so").touch()
    (work / "f.c").write_text("const char *f(void) { return __FILE__; }\n")
    toolchain = prepare(kind, policy_named("manylinux_2_28"), work / "tools", prefix_map={str(work): "build"})
    env = environment(toolchain, work / "home")
    run("gcc", "-g", "-O2", "-fPIC", "-c", work / "f.c", "-o", "f.o", env=env, cwd=work)
    run(
        *toolchain.environment["LDSHARED"].split(), *interpreters_own(library), "-Wl,-rpath,$ORIGIN/libs",
        "-Wl,--enable-new-dtags,-rpath,/opt/x", "f.o", "-o", "f.so", env=env, cwd=work,
    )  # fmt: skip
    assert run_paths(work / "f.so") == ["$ORIGIN/libs"]
    content = (work / "f.so").read_bytes()
    assert str(work).encode() not in content
    assert b"build/f.c" in content


@needs_zig
@pytest.mark.parametrize("name", ["libm.so.6", "libc.so.6"])
def test_the_machines_libc_named_by_path_is_not_linked_with(name: str, work: Path) -> None:
    found = [path for path in (*Path("/usr/lib").glob(f"*/{name}"), Path("/usr/lib64") / name) if path.exists()]
    if not found:
        pytest.skip(f"there is no {name} below /usr/lib")
    (work / "f.c").write_text(
        "#include <math.h>\n#include <pthread.h>\n"
        "double f(double x) { return pow(x, x); }\n"  # new in glibc 2.29
        "int g(pthread_t t) { return pthread_join(t, 0); }\n"  # new in glibc 2.34
    )
    env = environment(zig(work, "manylinux2014"), work / "home")
    run("cc", "-O2", "-fPIC", "-c", "f.c", "-o", "f.o", env=env, cwd=work)
    run("cc", "-shared", "f.o", found[0], "-lm", "-o", "f.so", env=env, cwd=work)
    assert needed_glibc(work / "f.so") <= (2, 17)


@needs_zig
def test_answers_to_configuration_questions(work: Path) -> None:
    env = environment(zig(work), work / "home")
    assert "clang" in run("cc", "--version", env=env, cwd=work)
    assert "LLD" in run("cc", "-Wl,--version", env=env, cwd=work)
    assert run("cc", "-dumpmachine", env=env, cwd=work).strip() == f"{Machine.here().arch}-unknown-linux-gnu"
    (work / "empty").touch()
    macros = run("sh", "-c", "cc -O2 -E -dM - <empty", env=env, cwd=work)
    assert "define __clang__ 1" in macros
    assert "define NDEBUG" not in macros  # which zig would have set by -O2
    run("sh", "-c", "echo 'int main(void) { return 0; }' | cc -x c - -o main && ./main", env=env, cwd=work)


@needs_zig
@pytest.mark.slow
def test_compilers_start_side_by_side_in_a_cold_cache(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(work / "cache"))
    (work / "f.c").write_text("#include <math.h>\ndouble f(double x) { return sin(x); }\n")
    env = environment(zig(work), work / "home")
    command = ["cc", "-O2", "-fPIC", "-shared", "f.c", "-lm"]
    running = [subprocess.Popen([*command, "-o", f"{n}.so"], env=env, cwd=work) for n in range(6)]
    assert [process.wait() for process in running] == [0] * 6
    assert len({(work / f"{n}.so").read_bytes() for n in range(6)}) == 1


@needs_zig
@pytest.mark.parametrize("tool", ["make", "ninja"])
def test_old_build_tools_run_under_a_jobserver(tool: str, work: Path) -> None:
    if not (zig(work).bin_dir / tool).exists():
        pytest.skip(f"{tool} is missing here, or new enough to share the jobserver")
    fifo = work / "fifo"
    os.mkfifo(fifo)
    (work / "Makefile").write_text("all: a b\na b:\n\t@echo flags: $(MAKEFLAGS)\n")
    (work / "build.ninja").write_text("rule r\n command = touch $out\nbuild a: r\nbuild b: r\n")
    env = environment(zig(work), work / "home", MAKEFLAGS=f"-j2 --jobserver-auth=fifo:{fifo}")
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        output = run(tool, env=env, cwd=work) + run(tool, "-j1", env=env, cwd=work)
    finally:
        os.close(descriptor)
    assert "fifo" not in output
    assert tool == "ninja" or "-j2" in output


@needs_zig
@pytest.mark.skipif(shutil.which("cmake", path="/usr/bin:/bin") is None, reason="there is no cmake on this machine")
@pytest.mark.parametrize(("generator", "tool"), [("Ninja", "ninja"), ("Unix Makefiles", "make")])
@pytest.mark.slow("Ninja-ninja")
def test_cmake_builds_and_installs_under_a_jobserver(generator: str, tool: str, work: Path) -> None:
    if shutil.which(tool, path="/usr/bin:/bin") is None:
        pytest.skip(f"there is no {tool} on this machine")
    (work / "CMakeLists.txt").write_text(CMAKE)
    (work / "one.cpp").write_text('#include <cmath>\nextern "C" double one(double x) { return std::sin(x); }\n')
    (work / "two.c").write_text("double one(double);\ndouble two(double x) { return 2 * one(x); }\n")
    fifo = work / "fifo"
    os.mkfifo(fifo)
    env = environment(zig(work), work / "home", MAKEFLAGS=f"-j2 --jobserver-auth=fifo:{fifo}")
    descriptor = os.open(fifo, os.O_RDWR)
    try:
        os.write(descriptor, b"++")
        configure = ("-S", ".", "-B", "build", "-DCMAKE_BUILD_TYPE=Release", f"-DCMAKE_INSTALL_PREFIX={work / 'out'}")
        run("cmake", "-G", generator, *configure, env=env, cwd=work)
        run("cmake", "--build", "build", env=env, cwd=work)
        run("cmake", "--install", "build", "--strip", env=env, cwd=work)
    finally:
        os.close(descriptor)
    one, two = work / "out" / "libone.so", work / "out" / "libtwo.so"
    assert (run_paths(one), run_paths(two)) == ([], ["$ORIGIN"])
    for library in (one, two):
        assert needed_glibc(library) <= (2, 28)
        assert str(work).encode() not in library.read_bytes()


@needs_zig
@pytest.mark.skipif(shutil.which("cargo") is None, reason="there is no cargo on this machine")
def test_rust_links_for_the_policy(work: Path) -> None:
    (work / "src").mkdir()
    (work / "Cargo.toml").write_text(
        '[package]\nname = "thing"\nversion = "0.1.0"\nedition = "2021"\n[lib]\ncrate-type = ["cdylib"]\n'
    )
    (work / "src" / "lib.rs").write_text(RUST)
    cargo = Path(str(shutil.which("cargo")))
    homes = {"RUSTUP_HOME": str(Path.home() / ".rustup")} if "RUSTUP_HOME" not in os.environ else {}
    env = environment(zig(work), work / "home", **homes)
    env["PATH"] += f":{cargo.parent}"
    run("cargo", "build", "--release", "--offline", env=env, cwd=work)
    library = work / "target" / "release" / "libthing.so"
    assert needed_glibc(library) <= (2, 28)
    assert str(work).encode() not in library.read_bytes()
    assert (
        run(sys.executable, "-c", f"import ctypes; print(ctypes.CDLL('{library}').f(5))", env=env, cwd=work).strip()
        == "5"
    )
