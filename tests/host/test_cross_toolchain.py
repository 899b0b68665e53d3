"""The embedded compilers for other architectures and C libraries: what they link, and how it is repaired."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerSymSection
from elftools.elf.sections import SymbolTableSection

from host.test_cxx import LIBRARY, USER, needed
from host.test_toolchain import environment, needed_glibc, needs_zig, run, run_paths, work
from manywheels.build.compilers.choice import Machine
from manywheels.build.compilers.cxx_runtime import LIBRARY as CXX_LIBRARY
from manywheels.build.compilers.cxx_runtime import UNWINDER
from manywheels.build.compilers.target import CompileTarget
from manywheels.build.compilers.toolchain import Toolchain, prepare
from manywheels.build.stages.repair import RepairRequest, repair
from manywheels.core.cancellation import Cancellation
from manywheels.data import table
from manywheels.errors import RepairFailed
from manywheels.plan.policies import policy_named
from manywheels.verify.checks import check_wheel
from manywheels.verify.model import Severity

__all__ = ["work"]

ARCHS = ("x86_64", "aarch64", "i686", "armv7l", "ppc64le", "s390x", "riscv64")
# Each architecture with the oldest glibc that it has a policy for, and with musl.
TARGETS = [
    *((arch, "manylinux_2_34" if arch == "riscv64" else "manylinux2014") for arch in ARCHS),
    *((arch, "musllinux_1_2") for arch in ARCHS),
]
SOURCE = """
#include <math.h>
#include <pthread.h>
#include <stdio.h>
_Thread_local int count;
long double g(long double x) { return x * 3; }
int f(double x) {
    char text[40];
    pthread_self();
    return snprintf(text, sizeof text, "%d %f %Lf", ++count, pow(x, 2), g(x));
}
int PyInit_thing(void) { return f(2); }
"""
SHOUT = "int shout(void) { return 1; }\n"


def cross(work: Path, arch: str, policy: str) -> Toolchain:
    return prepare("zig", policy_named(policy), work / "tools", arch=arch, prefix_map={str(work): "build"})


def undefined_in(library: Path) -> set[str]:
    with library.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".dynsym")
        assert isinstance(section, SymbolTableSection)
        return {symbol.name for symbol in section.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF"} - {""}


def undefined_without_version(elf: ELFFile) -> set[str]:
    symbols, versions = elf.get_section_by_name(".dynsym"), elf.get_section_by_name(".gnu.version")
    assert isinstance(symbols, SymbolTableSection)
    assert isinstance(versions, GNUVerSymSection)
    return {
        symbol.name
        for symbol, version in zip(symbols.iter_symbols(), versions.iter_symbols(), strict=True)
        if symbol["st_shndx"] == "SHN_UNDEF" and symbol["st_info"]["bind"] == "STB_GLOBAL"
        and version.entry["ndx"] in ("VER_NDX_LOCAL", "VER_NDX_GLOBAL")
    }  # fmt: skip


def require_is_for(library: Path, arch: str, policy: str) -> None:
    row, target = table("machines")[arch], CompileTarget.of(arch, policy_named(policy))
    with library.open("rb") as file:
        elf = ELFFile(file)
        assert elf["e_machine"] == row["machine"]
        assert (elf.elfclass, elf.little_endian) == (row["bits"], row["little_endian"])
    libraries = {name for name in needed(library) if name != CXX_LIBRARY}
    if policy_named(policy).libc == "musl":
        assert libraries == {target.musl_library}
    else:
        assert libraries <= {"libc.so.6", "libm.so.6", Path(row["glibc"]).name, Path(UNWINDER).name}
        assert needed_glibc(library) <= max(policy_named(policy).version, (2, 27) if arch == "riscv64" else (0,))


@needs_zig
@pytest.mark.parametrize(("arch", "policy"), TARGETS)
def test_c_is_compiled_and_linked_for_every_target(arch: str, policy: str, work: Path) -> None:
    (work / "f.c").write_text(SOURCE)
    (work / "main.c").write_text("int f(double);\nint main(void) { return f(1); }\n")
    (work / "names").write_text("{ global: PyInit_*; missing; local: *; };\n")
    toolchain = cross(work, arch, policy)
    env = environment(toolchain, work / "home")
    target = CompileTarget.of(arch, policy_named(policy))
    run("cc", "-O2", "-g", "-fPIC", "-c", work / "f.c", "-o", "f.o", env=env, cwd=work)
    run(*env["LDSHARED"].split(), "f.o", "-lm", "-lpthread", "-o", "f.so", env=env, cwd=work)
    run(
        f"{target.multiarch}-gcc", "-shared", f"--target={target.rust}", f"-m{target.bits}", "f.o", "-lm", "-o", "g.so",
        "-Wl,--version-script=names,-Bsymbolic-functions", env=env, cwd=work,
    )  # fmt: skip
    run("cc", "-O2", "main.c", "f.o", "-lm", "-o", "main", env=env, cwd=work)
    for name in ("f.so", "g.so", "main"):
        require_is_for(work / name, arch, policy)
        assert str(work).encode() not in (work / name).read_bytes()
        # zig's long double on ppc64le is not that of gcc in the images, whose glibc lacks its symbols.
        assert not [symbol for symbol in undefined_in(work / name) if symbol.endswith("ieee128")]
        with (work / name).open("rb") as file:  # what is undefined and has no version is found nowhere
            loose = undefined_without_version(ELFFile(file)) if policy_named(policy).libc == "glibc" else set()
        assert loose == set()
    assert run("cc", "-dumpmachine", env=env, cwd=work).strip() == target.machine
    assert run("cc", "-print-multiarch", env=env, cwd=work).strip() == target.multiarch


@needs_zig
def test_a_foreign_target_sees_nothing_of_this_machine(work: Path) -> None:
    (work / "f.c").write_text("#include <elf.h>\nint f(void) { return 1; }\n")
    (work / "host.c").write_text("#include <zlib.h>\n")
    env = environment(cross(work, "aarch64", "manylinux_2_28"), work / "home")
    run("cc", "-fPIC", "-shared", "-I/usr/include", "-L/usr/lib", "f.c", "-o", "f.so", env=env, cwd=work)
    for words, said in (
        (["-c", "host.c", "-isystem", "/usr/include"], "zlib.h"),
        (["-shared", "-fPIC", "f.c", "-lz", "-L/usr/lib/x86_64-linux-gnu"], "unable to find"),
        (["-shared", "-fPIC", "f.c", f"/usr/lib/{Machine.here().arch}-linux-gnu/libz.so"], "a library of this machine"),
        (["-c", "--target=x86_64-linux-gnu", "f.c"], "compile for aarch64-linux-gnu only"),
        (["-c", "--target=aarch64-linux-musl", "f.c"], "compile for aarch64-linux-gnu only"),
        (["-c", "-m32", "f.c"], "compile for aarch64 only"),
    ):
        done = subprocess.run(
            ["cc", *words, "-o", "out"], env=env, cwd=work, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0, words
        assert said in done.stderr, done.stderr


@needs_zig
@pytest.mark.parametrize("policy", ["manylinux_2_28", "musllinux_1_2"])
def test_cxx_is_refused_where_its_exceptions_do_not_work(policy: str, work: Path) -> None:
    (work / "f.cpp").write_text("int f() { throw 1; }\n")
    env = environment(cross(work, "armv7l", policy), work / "home")
    run("c++", "-c", "f.cpp", "-o", "f.o", env=env, cwd=work)
    for command in ("c++ -shared f.o", "cc -shared f.o -lstdc++"):
        done = subprocess.run(
            [*command.split(), "-o", "f.so"], env=env, cwd=work, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "C++ for armv7l" in done.stderr


@needs_zig
def test_programs_of_the_build_run_here(work: Path) -> None:
    (work / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("ran"); return 0; }\n')
    env = environment(cross(work, "aarch64", "musllinux_1_2"), work / "home")
    run(env["CC_FOR_BUILD"], "main.c", "-o", "main", env=env, cwd=work)
    assert run(work / "main", env=env, cwd=work) == "ran\n"


# --- C++ ------------------------------------------------------------------------------------------------------------


@needs_zig
@pytest.mark.slow  # the C++ library is built for each target: a minute of processor time
@pytest.mark.parametrize(("arch", "policy"), [("aarch64", "manylinux2014"), ("x86_64", "musllinux_1_2")])
def test_cxx_is_linked_with_one_library(arch: str, policy: str, work: Path) -> None:
    (work / "library.cpp").write_text(LIBRARY)
    (work / "user.cpp").write_text(USER)
    toolchain = cross(work, arch, policy)
    env = environment(toolchain, work / "home")
    run("c++", "-O2", "-fPIC", "-shared", "library.cpp", "-o", "library.so", env=env, cwd=work)
    run("c++", "-O2", "-fPIC", "-c", "user.cpp", "-o", "user.o", env=env, cwd=work)
    run("c++", "-shared", "user.o", "-Wl,-Bsymbolic-functions", "-o", "user.so", env=env, cwd=work)
    assert toolchain.library_dir
    is_musl = policy_named(policy).libc == "musl"
    for file in (work / "library.so", work / "user.so", toolchain.library_dir / CXX_LIBRARY):
        libraries = needed(file)
        unwinds = any(symbol.startswith("_Unwind_") for symbol in undefined_in(file))
        assert unwinds or is_musl or file.name == "user.so"  # which catches everything, and need not resume
        assert (Path(UNWINDER).name in libraries) is (unwinds and not is_musl)
        assert (CXX_LIBRARY in libraries) is (file.name != CXX_LIBRARY)
        assert needed_glibc(file) <= max(policy_named(policy).version, (2, 27) if arch == "riscv64" else (0,))
    if is_musl:
        assert "_Unwind_RaiseException" not in undefined_in(toolchain.library_dir / CXX_LIBRARY)


# --- repair -----------------------------------------------------------------------------------------------------------


def wheel_of(work: Path, target: CompileTarget, library: Path) -> Path:
    arch = target.arch
    folder = work / "wheels"
    folder.mkdir()
    wheel = folder / f"thing-1.0-cp312-cp312-linux_{arch}.whl"
    info = "thing-1.0.dist-info"
    texts = {
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: false\nTag: cp312-cp312-linux_{arch}\n",
    }
    module = f"thing.cpython-312-{target.multiarch}.so"
    texts[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in (module, *texts, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library, module)
        for name, text in texts.items():
            archive.writestr(name, text)
    return wheel


def request_for(work: Path, arch: str, policy: str, wheel: Path, library_path: Path | None) -> RepairRequest:
    return RepairRequest(
        wheel=wheel, policy=policy_named(policy), arch=arch, folder=work / "repairs", finished=work / "finished",
        library_path=str(library_path) if library_path else None, exclude=(), strip=True, user=None, log=work / "log",
    )  # fmt: skip


@needs_zig
@pytest.mark.parametrize(
    ("arch", "policy"),
    [("aarch64", "manylinux_2_28"), ("x86_64", "musllinux_1_2"), ("s390x", "musllinux_1_2"), ("i686", "manylinux2014")],
)
def test_a_foreign_wheel_is_repaired_and_passes_the_checks(arch: str, policy: str, work: Path) -> None:
    (work / "f.c").write_text("int shout(void);\n" + SOURCE.replace("f(2)", "shout()"))
    (work / "shout.c").write_text(SHOUT)
    (work / "lib").mkdir()
    env = environment(cross(work, arch, policy), work / "home")
    shared = ("cc", "-O2", "-shared", "-fPIC")
    run(*shared, "shout.c", "-Wl,-soname,libshout.so.1", "-o", "lib/libshout.so", env=env, cwd=work)
    (work / "lib" / "libshout.so.1").symlink_to("libshout.so")
    run(*shared, "f.c", "-Llib", "-lshout", "-lm", "-o", "thing.so", env=env, cwd=work)
    wheel = wheel_of(work, CompileTarget.of(arch, policy_named(policy)), work / "thing.so")

    repaired = repair(request_for(work, arch, policy, wheel, work / "lib"), Cancellation())

    assert repaired.name.endswith(f"{policy}_{arch}.whl") or f"{policy}_{arch}" in repaired.name
    with zipfile.ZipFile(repaired) as archive:
        archive.extractall(work / "unpacked")
    extension, grafted = sorted((work / "unpacked").rglob("*.so*"), key=lambda path: "libshout" in path.name)
    assert grafted.name in needed(extension)
    assert run_paths(extension) == [f"$ORIGIN/{grafted.parent.name}"]
    assert [finding for finding in check_wheel(repaired).findings if finding.severity is Severity.ERROR] == []


@needs_zig
def test_libraries_of_this_machine_are_not_grafted(work: Path) -> None:
    """A musl extension for this architecture, which needs a library that this machine has for glibc."""
    name = next((path.name for path in Path("/usr/lib").glob("*/libz.so.1")), None)
    if name is None:
        pytest.skip("there is no libz.so.1 below /usr/lib")
    (work / "f.c").write_text(SOURCE)
    (work / "z.c").write_text("int bz(void) { return 1; }\n")
    (work / "lib").mkdir()
    arch = Machine.here().arch
    env = environment(cross(work, arch, "musllinux_1_2"), work / "home")
    (soname,) = {path.name for path in Path("/usr/lib").glob("*/libbz2.so.1.0")} or {"libbz2.so.1.0"}
    run("cc", "-shared", "-fPIC", "z.c", f"-Wl,-soname,{soname}", "-o", "lib/libbz.so", env=env, cwd=work)
    (work / "g.c").write_text("int bz(void);\nint PyInit_thing(void) { return bz(); }\n")
    run("cc", "-shared", "-fPIC", "g.c", "-Llib", "-lbz", "-o", "thing.so", env=env, cwd=work)
    wheel = wheel_of(work, CompileTarget.of(arch, policy_named("musllinux_1_2")), work / "thing.so")
    with pytest.raises(RepairFailed, match=re.escape(soname)) as refused:
        repair(request_for(work, arch, "musllinux_1_2", wheel, None), Cancellation())
    assert "for the target" in refused.value.remedy


# --- running it -------------------------------------------------------------------------------------------------------


@needs_zig
@pytest.mark.slow  # zig builds the whole of musl, for static programs
@pytest.mark.skipif(shutil.which("qemu-aarch64-static") is None, reason="there is no qemu-user here")
@pytest.mark.parametrize("arch", ["aarch64"])
def test_a_static_program_runs_under_emulation(arch: str, work: Path) -> None:
    (work / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("ran"); return 0; }\n')
    env = environment(cross(work, arch, "musllinux_1_2"), work / "home")
    run("cc", "-static", "main.c", "-o", "main", env=env, cwd=work)
    assert run(str(shutil.which(f"qemu-{arch}-static")), work / "main", env=env, cwd=work) == "ran\n"
