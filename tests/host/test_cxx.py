"""C++ with the embedded compilers: one C++ library for all files of a wheel, in every way to link."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from host.test_toolchain import environment, needs_zig, run, work, zig
from manywheels.build.compilers import cxx_runtime
from manywheels.verify.model import open_wheel

if TYPE_CHECKING:
    from host.conftest import Program

__all__ = ["work"]

LIBRARY = """
#include <ios>
#include <stdexcept>
#include <string>
__attribute__((visibility("default"))) void fail(int how) {
    if (how == 1) throw std::invalid_argument("library");
    if (how == 2) throw std::ios_base::failure("library");
    if (how == 3) throw std::string("library");
}
"""
USER = """
#include <ios>
#include <iostream>
#include <stdexcept>
#include <string>
void fail(int how);
extern "C" __attribute__((visibility("default"))) int caught(int how) {
    try { fail(how); }
    catch (const std::invalid_argument &) { return 1; }
    catch (const std::ios_base::failure &) { return 2; }
    catch (const std::string &) { return 3; }
    std::cout << std::flush;
    return 0;
}
"""
LOAD = """
import ctypes, os, sys
for other in sys.argv[1:]:
    ctypes.CDLL(other, ctypes.RTLD_GLOBAL)
module = ctypes.CDLL(os.path.abspath("user.so"))
print([module.caught(how) for how in range(4)])
"""


def needed(file: Path) -> list[str]:
    with file.open("rb") as opened:
        section = ELFFile(opened).get_section_by_name(".dynamic")
        assert isinstance(section, DynamicSection)
        return [getattr(tag, "needed") for tag in section.iter_tags("DT_NEEDED")]  # noqa: B009 - set by its type


@pytest.fixture
def env(work: Path) -> dict[str, str]:
    (work / "library.cpp").write_text(LIBRARY)
    (work / "user.cpp").write_text(USER)
    (work / "plain.c").write_text("int plain(void) { return 1; }\n")
    return environment(zig(work), work / "home")


@needs_zig
@pytest.mark.parametrize("flags", [(), ("-fvisibility=hidden", "-fvisibility-inlines-hidden", "-O2")])
@pytest.mark.parametrize("beside", [(), ("libstdc++.so.6",)], ids=["alone", "beside libstdc++"])
def test_exceptions_cross_files(
    beside: tuple[str, ...], flags: tuple[str, ...], work: Path, env: dict[str, str]
) -> None:
    run("c++", "-fPIC", *flags, "-c", "library.cpp", env=env, cwd=work)
    run("c++", "-shared", "library.o", "-o", "library.so", "-Wl,-soname,library.so", env=env, cwd=work)
    # In one step, as the checks of meson and setuptools.
    user = ["-fPIC", *flags, "user.cpp", "library.so", "-Wl,-rpath,$ORIGIN"]
    run("c++", "-shared", *user, "-o", "user.so", env=env, cwd=work)
    assert run(sys.executable, "-c", LOAD, *beside, env=env, cwd=work).strip() == "[0, 1, 2, 3]"


@needs_zig
@pytest.mark.parametrize(
    ("command", "shared"),
    [
        ("c++ -shared user.o", True),
        ("c++ -shared user.o -static-libgcc -lgcc_s", True),
        ("cc -shared user.o -lstdc++", True),
        ("cc -shared user.o -Wl,-Bstatic -lm -Wl,-Bdynamic -l stdc++", True),
        ("cc -shared user.o -lc++ -lc++abi", True),
        ("cc -shared -fPIC user.cpp", True),
        ("c++ -shared -x c++ -fPIC user.cpp", True),
        ("cc -shared user.o -nodefaultlibs -Wl,-Bdynamic -lstdc++ -lgcc_s -lc", True),
        ("c++ -shared user.o -nodefaultlibs -lc", False),
        ("cc -shared user.o", False),
        ("c++ -shared plain.o", False),
        ("cc -shared plain.o -lstdc++ -lgcc_s", False),
        ("c++ -r user.o", False),
        ("c++ -shared user.o -static-libstdc++", False),
        ("cc -shared user.o -Wl,-Bstatic -lstdc++ -Wl,-Bdynamic", False),
    ],
)
@pytest.mark.slow(  # zig builds its own libc++ on a new machine
    "c++ -shared user.o -static-libstdc++-False", "cc -shared user.o -Wl,-Bstatic -lstdc++ -Wl,-Bdynamic-False"
)
def test_what_links_with_the_shared_library(*, command: str, shared: bool, work: Path, env: dict[str, str]) -> None:
    run("c++", "-fPIC", "-O2", "-c", "user.cpp", env=env, cwd=work)
    run("cc", "-fPIC", "-O2", "-c", "plain.c", env=env, cwd=work)
    run(*command.split(), "-o", "made", env=env, cwd=work)
    if "-r" in command.split():
        return
    assert (cxx_runtime.LIBRARY in needed(work / "made")) is shared


@needs_zig
def test_a_program_runs_while_the_wheel_is_built(work: Path, env: dict[str, str]) -> None:
    (work / "main.cpp").write_text('#include <iostream>\nint main() { std::cout << "said at exit"; }\n')
    run("c++", "main.cpp", "-o", "main", env=env, cwd=work)
    assert run(work / "main", env=env, cwd=work) == "said at exit"


@pytest.mark.slow  # 25 s: two modules with pybind11
def test_everything_of_cxx_crosses_the_files_of_a_wheel(program: Program) -> None:
    tests = ("--test-requires", "pytest", "--test-command", "pytest {project}/tests")
    finished = program.build("cxx_shared", *tests)
    assert finished.status == 0, finished.text
    with open_wheel(finished.wheel) as wheel:
        files = {file.member.rpartition("/")[2]: file.needed for file in wheel.elves}
    (grafted,) = (name for name in files if name.startswith("libmanywheels"))
    assert {name for name, libraries in files.items() if grafted not in libraries} == {grafted}


@needs_zig
def test_a_wheel_that_is_not_repaired_shares_no_library(program: Program) -> None:
    hook = 'test "$MANYWHEELS_CXX_STATIC" = 1'
    without = program.build("c_setuptools", "--repair-wheel-command", "none", "--before-build", hook)
    assert without.failure()["stage"] == "verify", without.text  # its platform tag is nobody's


@needs_zig
@pytest.mark.slow  # zig builds its own libc++ on a new machine
def test_without_a_repair_each_file_has_its_own(work: Path, env: dict[str, str]) -> None:
    run("c++", "-shared", "-fPIC", "user.cpp", "-o", "made", env={**env, "MANYWHEELS_CXX_STATIC": "1"}, cwd=work)
    assert cxx_runtime.LIBRARY not in needed(work / "made")


# --- building the library -------------------------------------------------------------------------------------------


@pytest.fixture
def stand_in(work: Path) -> Path:
    """Return a zig that only counts its links, and does not end while there is a file `wait`."""
    program = work / "zig" / "zig"
    program.parent.mkdir()
    program.write_text(
        '#!/bin/sh\nfor out in "$@"; do :; done\n'
        f'echo "$1 $CPATH" >>{work}/links\nprintf half >"$out"\n'
        f"while [ -e {work}/wait ]; do sleep 0.05; done\n"
    )
    program.chmod(0o755)
    return program


def start(zig: Path, folder: Path) -> subprocess.Popen[bytes]:
    request = {
        "zig": str(zig), "target": "x86_64-linux-gnu.2.17", "flags": [], "folder": str(folder),
        "cache": str(folder.parent), "glibc": [2, 17], "frames": "GCC_3.0",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-I", cxx_runtime.__file__, json.dumps(request)],
        env={**os.environ, "CPATH": "the project's"}, start_new_session=True,
    )  # fmt: skip


def test_the_library_is_built_once_and_without_the_projects_environment(work: Path, stand_in: Path) -> None:
    folder = work / "cache" / "target-recipe"
    running = [start(stand_in, folder) for _ in range(4)]
    assert [process.wait(60) for process in running] == [0] * 4
    assert (work / "links").read_text() == "cc \nc++ \n"
    assert {path.name for path in folder.parent.iterdir()} == {"target-recipe", "target-recipe.lock"}


def test_an_unfinished_library_is_never_in_its_place(work: Path, stand_in: Path) -> None:
    folder = work / "cache" / "target-recipe"
    (work / "wait").touch()
    process = start(stand_in, folder)
    deadline = time.monotonic() + 60
    while not (work / "links").exists() and time.monotonic() < deadline:
        os.sched_yield()
    os.killpg(process.pid, 9)
    process.wait(60)
    assert not folder.exists()
    assert len(list(folder.parent.glob("*.partial"))) == 1
    (work / "wait").unlink()
    assert start(stand_in, folder).wait(60) == 0
    assert (folder / cxx_runtime.LIBRARY).exists()
    assert not list(folder.parent.glob("*.partial"))


def test_a_failed_build_leaves_nothing(work: Path, stand_in: Path) -> None:
    stand_in.write_text("#!/bin/sh\nexit 3\n")
    folder = work / "cache" / "target-recipe"
    assert start(stand_in, folder).wait(60) != 0
    assert {path.name for path in folder.parent.iterdir()} == {"target-recipe.lock"}


def test_another_zig_or_libc_is_another_library() -> None:
    names = {cxx_runtime.name(zig, f"x86_64-linux-gnu.{libc}") for zig in ("1", "2") for libc in ("2.17", "2.28")}
    assert len(names) == 4
