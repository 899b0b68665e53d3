"""gcc's command lines, given to the embedded compilers and, where it is here, to gcc itself: both must do the same."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from host.cases import build_cases
from manywheels.build.compilers.choice import Machine
from manywheels.build.compilers.toolchain import prepare
from manywheels.build.logs.embedded import WITHOUT_OPENMP
from manywheels.plan.policies import policy_named

if TYPE_CHECKING:
    from host.conftest import Program

ARCH = Machine.here().arch
SOURCES = {
    "main.c": "int twice(int); int answer(void) { return twice(21); } int other = 1; void nothing(void) {}",
    "twice.c": "int twice(int x) { return 2 * x; } int unused_of_archive(void) { return 0; }",
    "again.c": "int twice(int x) { return 3 * x; }",
    "missing.c": "int nowhere(void); int answer(void) { return 0; } int never(void) { return nowhere(); }",
    "sine.c": "#include <math.h>\nint twice(int x) { return x + x * (int)pow(cos(0.0 * x), x); }",
    "started.c": "int state; void begin(void) { state = 42; } int answer(void) { return state; }",
    "wrapped.c": "int __real_twice(int); int __wrap_twice(int x) { return __real_twice(x) / 2; }",
    "program.c": "int own(void) { return 0; } int data = 1; int main(void) { return 0; }",
}
FILES = {
    "listed": "{ answer; };\n",
    "version": "VERS_1 { global: answer; local: *; };\n",
    "kept": "answer\n",
    "words": "--defsym=alias=answer\n-lm '--no-undefined'\n",
}

pytestmark = pytest.mark.skipif(Machine.here().zig is None, reason="ziglang is not installed")


class Compiler:
    """The wrapper's `cc` with the files above compiled, or gcc."""

    def __init__(self, folder: Path, path: str, *, is_gcc: bool = False) -> None:
        self.folder, self.is_gcc = folder, is_gcc
        folder.mkdir()
        self.environment = {"PATH": path, "HOME": str(folder), "LC_ALL": "C"}
        for name, text in {**SOURCES, **FILES}.items():
            (folder / name).write_text(f"{text}\n")
        for source in SOURCES:
            self("-fPIC", "-O1", "-c", source, "-o", source.replace(".c", ".o"))
        for archive, objects in {"libtwice.a": ("twice.o",), "libmain.a": ("main.o",)}.items():
            subprocess.run(("ar", "rcs", archive, *objects), cwd=folder, check=True, env=self.environment)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ("cc", *arguments), cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def exported(self, name: str) -> set[str]:
        """The names of our own that a library exports."""
        with (self.folder / name).open("rb") as file:
            table = ELFFile(file).get_section_by_name(".dynsym")
            assert isinstance(table, SymbolTableSection)
            return {
                symbol.name
                for symbol in table.iter_symbols()
                if symbol.entry.st_shndx not in ("SHN_UNDEF", "SHN_ABS") and not symbol.name.startswith("_")
            }

    def tags(self, name: str) -> dict[str, int | str]:
        with (self.folder / name).open("rb") as file:
            section = ELFFile(file).get_section_by_name(".dynamic")
            assert isinstance(section, DynamicSection)
            return {tag.entry.d_tag: getattr(tag, "needed", tag.entry.d_val) for tag in section.iter_tags()}

    def answer(self, name: str = "t.so") -> int:
        # A name of its own for each: the loader takes a library with the same name for the same one.
        loaded = shutil.copy(self.folder / name, self.folder / f"loaded-{os.urandom(4).hex()}.so")
        return int(ctypes.CDLL(str(loaded)).answer())


@pytest.fixture(scope="module", params=["zig", "gcc"])
def cc(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Compiler:
    folder = tmp_path_factory.mktemp("gcc words")  # a name with a blank
    if request.param == "gcc":
        if shutil.which("gcc", path="/usr/bin") is None:
            pytest.skip("there is no gcc on this machine")
        return Compiler(folder / "work", "/usr/bin:/bin", is_gcc=True)
    tools = prepare("zig", policy_named("manylinux_2_28"), folder / "tools", prefix_map={}, plain_jobs=1)
    return Compiler(folder / "work", f"{tools.bin_dir}:/usr/bin:/bin")


ALL = {"answer", "other", "nothing", "twice", "unused_of_archive"}
OF_MAIN = {"answer", "other", "nothing"}


@pytest.mark.parametrize(
    ("words", "exported"),
    [
        ("main.o libtwice.a", ALL),
        ("main.o -Wl,libtwice.a", ALL),
        ("-Wl,--start-group,-lm,main.o,libtwice.a,--end-group", ALL),
        ("-Wl,main.o,-(,libtwice.a,-)", ALL),
        ("-Wl,--exclude-libs,ALL main.o -L. -ltwice", OF_MAIN),
        ("-Wl,--exclude-libs=libtwice.a main.o libtwice.a", OF_MAIN),
        ("-Wl,--dynamic-list=listed main.o twice.o", ALL),
        ("-Wl,--dynamic-list,listed main.o twice.o", ALL),
        ("-Wl,--dynamic-list-data main.o twice.o", ALL),
        ("-Wl,--defsym=alias=answer main.o twice.o", {*ALL, "alias"}),
        ("-Wl,--defsym -Xlinker alias=answer main.o twice.o", {*ALL, "alias"}),
        ("-Wl,@words main.o twice.o", {*ALL, "alias"}),
        ("-Wl,--version-script=version main.o twice.o", {"answer"}),
        ("-Wl,--version-script,version -Wl,--cref main.o twice.o", {"answer"}),
        ("-Wl,--retain-symbols-file=kept main.o twice.o", None),
        ("-Wl,--sort-section=name,-Bsymbolic-functions,-z,separate-code main.o twice.o", ALL),
        ("-L. -Wl,--whole-archive -lmain -Wl,--no-whole-archive -ltwice", ALL),
        ("-L. -Wl,--push-state,--whole-archive -lmain -Wl,--pop-state twice.o", ALL),
        ("-L. -Wl,--push-state,-Bstatic main.o -ltwice -Wl,--pop-state -lz -lm", ALL),
        ("-L. -Wl,-Bstatic -ltwice -Wl,-Bdynamic main.o -ltwice -lm", ALL),
        ("-L. -u answer -lmain -ltwice", ALL),
        ("-shared -static-libgcc -Wl,-O1,--as-needed,-z,now,-z,relro main.o twice.o -lm -lpthread", ALL),
    ],
)
def test_words_about_libraries_and_names(cc: Compiler, words: str, exported: set[str] | None) -> None:
    if "-lz" in words and not list(Path("/usr/lib").glob("*/libz.so")):
        words = words.replace("-lz ", "")
    cc("-shared", "-fPIC", *words.split(), "-o", "t.so")
    assert exported is None or cc.exported("t.so") == exported
    assert cc.answer() == 42


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("main.o twice.o again.o -Wl,--allow-multiple-definition", 42),
        ("main.o again.o twice.o -Wl,-z,muldefs", 63),
        ("main.o again.o twice.o -z muldefs", 63),
        ("main.o twice.o wrapped.o -Wl,--wrap=twice", 21),
        ("main.o twice.o wrapped.o -Wl,--wrap -Wl,twice", 21),
        ("main.o sine.c -Wl,-lm,--no-undefined", 42),
        ("-x c main.c -x none twice.c -Wl,-Map,out.map", 42),
        ("started.o -Wl,-init,begin", 42),
        ("started.o -Wl,-init=begin,-fini=begin", 42),
        ("missing.o -Wl,--no-undefined,--unresolved-symbols=ignore-all", None),  # it links, but cannot be loaded
        ("missing.o -Wl,-z,defs,--warn-unresolved-symbols", None),
        ("missing.o -Wl,--no-undefined,--defsym=nowhere=answer", 0),
    ],
)
def test_words_about_what_is_run(cc: Compiler, words: str, answer: int | None) -> None:
    cc("-shared", "-fPIC", "-O1", *words.split(), "-o", "t.so")
    assert answer is None or cc.answer() == answer


def test_words_about_tags_maps_and_programs(cc: Compiler) -> None:
    cc("-shared", "main.o", "twice.o", "-Wl,-soname,lib.so.1,-z,nodlopen,-Map=out.map", "-o", "t.so")
    tags = cc.tags("t.so")
    assert int(tags["DT_FLAGS_1"]) & 0x40  # DF_1_NOOPEN
    assert "twice.o" in (cc.folder / "out.map").read_text()
    assert "answer" in cc("-shared", "main.o", "twice.o", "-Wl,-y,answer", "-o", "t.so")

    cc("program.o", "-o", "program", "-Wl,--export-dynamic-symbol=own")
    assert cc.exported("program") & {"own", "data", "main"} == {"own"}
    assert subprocess.run([cc.folder / "program"], check=False).returncode == 0

    cc("-r", "-nostdlib", "main.o", "twice.o", "-Wl,--defsym=x=1", "-o", "both.o")
    cc("-shared", "both.o", "-o", "t.so")
    assert cc.answer() == 42


@pytest.mark.parametrize("cc", ["zig"], indirect=True)
def test_what_cannot_be_had_is_refused_in_a_sentence_that_names_the_way_out(cc: Compiler) -> None:
    for words, name in {
        "-shared main.o twice.o -Wl,--default-symver": "--default-symver",
        "program.o -static": "glibc as a shared library only",
        "-c main.c -m32": "-m32",
        "-c main.c -fopenmp": "OpenMP",
        "-c main.c --target=wasm32-unknown-unknown": "wasm32",
        "-c main.c -target aarch64-linux-android": "android",
    }.items():
        done = cc.run(*words.split(), "-o", "never")
        assert done.returncode != 0
        (told,) = re.findall("^manywheels: error: .*", done.stderr, re.MULTILINE)
        assert name in told
        assert "--engine container" in told
        assert not (cc.folder / "never").exists()


@pytest.mark.parametrize(
    "options",
    [
        "-Werror -Wlogical-op -Wno-maybe-uninitialized -Wno-error=stringop-overflow -Wall -Wextra",
        "-Werror -Wno-error -fno-tree-vrp -Werror=format-overflow=2 -Wjump-misses-init",
        "-Wp,-D_GLIBCXX_ASSERTIONS,-DTWO=2 -Wp,-MD,main.d -Wa,--noexecstack -Wa,-I.",
        "-fno-plt -fcf-protection -fstack-clash-protection -fno-tree-vectorize -fgcse-after-reload",
        "-fira-loop-pressure -fno-ipa-cp-clone -fno-var-tracking -fdiagnostics-plain-output -ftrack-macro-expansion=0",
        "-fno-gnu-unique -fno-strict-volatile-bitfields -ftree-pre --param max-inline-insns-single=100",
        "--param=ssp-buffer-size=4 -fno-peephole2 -fprofile-partial-training -fopenmp-simd",
        "-MMD -MP -MF main.d -MT main.o -fipa-pta -fno-lifetime-dse -fconserve-stack",
    ],
)
def test_options_of_gcc_that_need_no_word(cc: Compiler, options: str) -> None:
    compiles_with(cc, options)


@pytest.mark.parametrize("cc", ["zig"], indirect=True)
@pytest.mark.parametrize(
    "options",
    [
        f"--target={ARCH}-unknown-linux-gnu",  # as Rust's crate cc gives it
        f"-target {ARCH}-unknown-linux-gnu",
        f"--target {ARCH}-linux-gnu -pipe -gdwarf-4 -fno-omit-frame-pointer",
    ],
)
def test_this_machines_own_target_may_be_named(cc: Compiler, options: str) -> None:
    """As to clang: gcc has no such option."""
    compiles_with(cc, options)


def compiles_with(cc: Compiler, options: str) -> None:
    cc("-O2", "-fPIC", *options.split(), "-c", "main.c", "-o", "of-options.o")
    cc("-shared", "of-options.o", "twice.o", "-o", "t.so")
    assert cc.answer() == 42


@pytest.mark.skipif(ARCH != "x86_64", reason="these are processors of x86_64")
def test_processors_by_the_names_of_gcc(cc: Compiler) -> None:
    names = ("x86-64-v2", "core-avx2", "corei7-avx", "skylake-avx512", "k8-sse3", "znver3", "athlon-fx", "nocona")
    for name in names:
        macros = cc("-march=" + name, "-mtune=generic", "-dM", "-E", "main.c")
        assert ("define __AVX2__ 1" in macros) == (name in ("core-avx2", "skylake-avx512", "znver3")), name
        assert ("define __SSE3__ 1" in macros) == (name != "athlon-fx"), name
    assert "define __AVX2__" not in cc("-mcpu=haswell", "-m64", "-mpush-args", "-dM", "-E", "main.c")


KEPT_BY_LIBSTDCXX = """
#include <stdexcept>
int answer_of(std::runtime_error &e) { return fprintf(stderr, "%s", e.what()) + errno + abs(-1); }
std::string text = std::to_string(1);
void *memory = std::malloc(1);
"""
REMOVED = """
#include <algorithm>
#include <functional>
#include <memory>
struct IsOdd : std::unary_function<int, bool> { bool operator()(int x) const { return x % 2; } };
std::auto_ptr<int> pointer;
void shuffled(int *a) { std::random_shuffle(a, a + 3); }
auto bound = std::bind1st(std::plus<int>(), 1);
auto negated = std::not1(IsOdd());
"""


@pytest.mark.parametrize("standard", [11, 17, 20, 23])
@pytest.mark.slow("zig-11", "zig-20", "zig-23", "gcc-11", "gcc-20", "gcc-23")
def test_headers_bring_along_what_those_of_libstdcxx_do(cc: Compiler, standard: int) -> None:
    for name, text in {"kept": KEPT_BY_LIBSTDCXX, "removed": REMOVED}.items():
        (cc.folder / f"{name}.cpp").write_text(text)
        flags = (f"-std=c++{standard}", "-fPIC", "-Wno-deprecated-declarations", "-Werror")
        for step in ("-c", "-shared"):
            done = subprocess.run(
                ("c++", *flags, step, f"{name}.cpp", "-o", "made"),
                cwd=cc.folder, env=cc.environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr


SETUP = """
import os
from setuptools import Extension, setup

words = ["-Wl,--start-group,-lm,--end-group", "-Wl,--allow-multiple-definition", "-Wl,--exclude-libs,ALL", "-Wl,--cref"]
needs = os.environ["NEEDS"]
openmp = Extension("words._openmp", ["openmp.c"], extra_compile_args=["-fopenmp"], optional=needs == "nothing")
setup(ext_modules=[Extension("words._c", ["c.c", "twice.c"], extra_link_args=words, py_limited_api=False), openmp])
"""
MODULE = """
#include <Python.h>
#include <math.h>
double twice(double x) { return 2 * x; }
static PyObject *answer(PyObject *self, PyObject *no) { return PyFloat_FromDouble(twice(sqrt(441.0))); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, 0}, {0}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_c", 0, -1, methods};
PyMODINIT_FUNC PyInit__c(void) { return PyModule_Create(&module); }
"""
PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "words"
version = "1"
description = "words"
readme = {text = "words", content-type = "text/plain"}
[tool.manywheels]
test-command = "python -c 'from words._c import answer; assert answer() == 42'"
"""


def test_a_build_with_such_words_and_what_is_said_without_openmp(program: Program) -> None:
    project = program.new_folder("words")
    files = {
        "pyproject.toml": PYPROJECT,
        "setup.py": SETUP,
        "src/words/__init__.py": "",
        "c.c": MODULE,
        "twice.c": "double twice(double x) { return 3 * x; }",
        "openmp.c": "#include <Python.h>\n#include <omp.h>\nPyMODINIT_FUNC PyInit__openmp(void) { return NULL; }",
    }
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    found = build_cases(program, project, {kind: {"environment": f"NEEDS={kind}"} for kind in ("nothing", "openmp")})

    without, refused = found["nothing"], found["openmp"]
    assert without.target["state"] == "built", without.finished.stdout
    assert WITHOUT_OPENMP in without.target["warnings"]
    assert WITHOUT_OPENMP in without.finished.stdout
    assert refused.target["state"] == "failed"
    assert "OpenMP" in refused.target["failure"]["problem"]
    assert "--engine container" in refused.target["failure"]["remedy"]
