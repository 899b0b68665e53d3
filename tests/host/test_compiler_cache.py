"""Compilations that targets share, with real compilers behind the wrappers that builds see."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from host.test_toolchain import needs_gcc, needs_zig
from manywheels.build.compiler_cache import client, wire
from manywheels.build.compiler_cache.pool import WorkerPool
from manywheels.build.compiler_cache.server import CompilerCache
from manywheels.build.compiler_cache.store import Store
from manywheels.build.compilers.toolchain import prepare
from manywheels.plan.policies import policy_named
from manywheels.plan.targets import Target, known_targets
from manywheels.runtime.sandbox_init import descendants, process_ids

UNITS = {
    "unit.c": """
#include <assert.h>
#include <string.h>
int f(const char *s) { assert(s); return (int)strlen(s); }
""",
    "unit.cpp": """
#include <vector>
static int n = __LINE__;
int g(std::vector<int> &v) { v.push_back(n); return v.at(3); }
""",
    "unit.S": """
#define ONE $1
.text
.globl h
h: mov ONE, %eax
 ret
.section .note.GNU-stack,"",@progbits
""",
}


@dataclass
class House:
    """Two targets, `a` and `b`, each with a folder of its own, and compilers that share."""

    work: Path
    tools: Path
    variables: dict[str, str]
    cache: CompilerCache
    targets: dict[str, Target]

    @property
    def sockets(self) -> dict[str, Path]:
        return {name: self.cache.socket_of(target) for name, target in self.targets.items()}

    def folder(self, target: str) -> Path:
        return self.work / target / "source"

    def write(self, name: str, text: str) -> None:
        for target in self.sockets:
            (self.folder(target) / name).write_text(text)

    def run(self, target: str, *words: str, shares: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a compiler in the target's folder; `words` begin with its name."""
        own = {client.SOCKET: str(self.sockets[target])} if shares else {}
        return subprocess.run(
            [self.tools / words[0], *words[1:]], cwd=self.folder(target), env=self.variables | own | more,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def compile(self, target: str, *words: str, shares: bool = True) -> bytes:
        """Return the object `unit.o`, which the compiler has to make."""
        made = self.folder(target) / "unit.o"
        made.unlink(missing_ok=True)
        done = self.run(target, *words, "-o", "unit.o", shares=shares)
        assert done.returncode == 0, done.stderr
        return made.read_bytes()

    @property
    def counts(self) -> tuple[int, int, int]:
        """Compiled, shared, alone."""
        made = self.cache.compilations
        return made.compiled, made.shared, made.alone


def make_house(kind: str, tmp_path: Path, *, store: Path | None = None, archs: Sequence[str] = ("x86_64",)) -> House:
    """With several `archs`, the compilers of all but the first have its name before theirs."""
    work = tmp_path / "work"
    for target in ("a", "b"):
        (work / target / "source").mkdir(parents=True, exist_ok=True)
    own = {f"{work / target}/": "./" for target in ("a", "b")}
    policy, maps = policy_named("manylinux_2_28"), {str(work): ".", **own}
    tools, *others = (prepare(kind, policy, work / f"tools-{arch}", arch=arch, prefix_map=maps) for arch in archs)
    for arch, other in zip(archs[1:], others, strict=True):
        (tools.bin_dir / f"{arch}-cc").symlink_to(other.bin_dir / "cc")
    compilers = [compiler for one in (tools, *others) for compiler in one.compilers]
    variables = {"PATH": f"{tools.bin_dir}:/usr/bin:/bin", "HOME": str(tmp_path), **tools.environment}
    folder = work / "compiled"
    folder.mkdir(exist_ok=True)
    pool = WorkerPool(folder, (None, None, None), limit=120, environment={"PATH": "/usr/bin:/bin"})
    cache = CompilerCache(
        folder, compilers, store=Store(store or folder / "objects", 1 << 28), pool=pool, identify=lambda _: b""
    )
    names: dict[str, Target] = dict(zip(("a", "b"), known_targets("manylinux", "x86_64"), strict=False))
    cache.start(dict.fromkeys(names.values()))
    return House(work, tools.bin_dir, variables, cache, names)


@pytest.fixture(params=[pytest.param("zig", marks=needs_zig), pytest.param("system", marks=needs_gcc)])
def house(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[House]:
    made = make_house(request.param, tmp_path)
    for name, text in UNITS.items():
        made.write(name, text)
    yield made
    made.cache.close()


@pytest.fixture
def gcc_house(tmp_path: Path) -> Iterator[House]:
    made = make_house("system", tmp_path)
    yield made
    made.cache.close()


@pytest.mark.parametrize("unit", UNITS)
def test_the_second_target_gets_the_first_ones_object(unit: str, house: House) -> None:
    words = ("c++" if unit.endswith("cpp") else "cc", "-O2", "-fPIC", "-c", unit)
    alone = house.compile("a", *words, shares=False)
    assert house.compile("a", *words) == alone
    assert house.compile("b", *words) == alone
    assert house.counts == (1, 1, 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("-Wall",), ("-Wextra", "-Wno-unused")),
        (("-I/usr/include/python3.11",), ("-isystem", "/usr/local/include", "-DUNUSED=1")),
        (("-O2", "-fPIC"), ("-fPIC", "-O3", "-O2", "-fPIC")),
        ((), ("-pipe", "-Wl,-O1", "-L/usr/lib", "-fdiagnostics-color=never")),
    ],
)
def test_what_changes_no_code_does_not_separate(
    first: tuple[str, ...], second: tuple[str, ...], gcc_house: House
) -> None:
    gcc_house.write("unit.c", UNITS["unit.c"])
    assert gcc_house.compile("a", "cc", *first, "-c", "unit.c") == gcc_house.compile("b", "cc", *second, "-c", "unit.c")
    assert gcc_house.counts == (1, 1, 0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("-O2",), ("-O3",)), (("-fwrapv",), ("-fno-strict-overflow",)), ((), ("-DNDEBUG",)), ((), ("-Werror",)),
        ((), ("-fvisibility=hidden",)), ((), ("-march=haswell",)), ((), ("-g",)), (("-std=c99",), ("-std=c11",)),
    ],
)  # fmt: skip
def test_what_changes_code_separates(first: tuple[str, ...], second: tuple[str, ...], gcc_house: House) -> None:
    gcc_house.write("unit.c", UNITS["unit.c"])
    for target, words in (("a", first), ("b", second)):
        alone = gcc_house.compile(target, "cc", *words, "-c", "unit.c", shares=False)
        made = gcc_house.compile(target, "cc", *words, "-c", "unit.c")
        assert made == alone or "-g" in words  # whose columns are those of the preprocessed text
    assert gcc_house.counts == (2, 0, 0)


LINKED_LATE = {
    "first.cpp": "static int twice(int x) { return x * 2; }\nint first(int x) { return twice(x); }\n",
    "second.cpp": "static int twice(int x) { return x + 2; }\nint second(int x) { return twice(x); }\n",
    "main.cpp": "int first(int); int second(int);\nint main() { return first(20) - 40 + second(20) - 22; }\n",
}


@pytest.mark.parametrize("option", ["-flto", "-flto=auto"])
def test_objects_that_the_linker_optimises_are_shared(option: str, house: House, tmp_path: Path) -> None:
    """pybind11 asks for that by default. Functions of one name in two units stay two functions."""
    for name, text in LINKED_LATE.items():
        house.write(name, text)
    words = ("c++", "-O2", option, "-ffat-lto-objects", "-fPIC")
    objects: dict[str, list[bytes]] = {}
    for target in ("a", "b"):
        for name in LINKED_LATE:
            made = house.run(target, *words, "-c", name, "-o", f"{name}.o")
            assert made.returncode == 0, made.stderr
            objects.setdefault(name, []).append((house.folder(target) / f"{name}.o").read_bytes())
    assert house.counts == (3, 3, 0)
    assert all(first == second for first, second in objects.values())
    linked = house.run("b", *words, *(f"{name}.o" for name in LINKED_LATE), "-o", "program")
    assert linked.returncode == 0, linked.stderr
    assert subprocess.run([house.folder("b") / "program"], check=False).returncode == 0


@needs_zig
def test_the_same_text_for_another_architecture_is_another_object(tmp_path: Path) -> None:
    house = make_house("zig", tmp_path, archs=("x86_64", "aarch64"))
    house.write("unit.c", "int f(void) { return 1; }\n")
    made = {house.compile("a", "cc", "-O2", "-c", "unit.c"), house.compile("b", "aarch64-cc", "-O2", "-c", "unit.c")}
    assert len(made) == 2
    assert house.counts == (2, 0, 0)
    house.cache.close()


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "unit.c", "-march=native"), ("-c", "unit.c", "-g3"),
        ("-c", "unit.c", "-fplugin-arg-x-y=1"), ("-c", "unit.c", "-B", "."),
        ("-c", "unit.c", "-save-temps"), ("-c", "unit.c", "-fstack-usage"), ("-c", "unit.c", "--coverage"),
        ("-c", "unit.c", "-Wa,-adhln"), ("-c", "unit.c", "-fdump-tree-optimized"), ("-c", "unit.c", "-specs=own.specs"),
        ("-c", "-x", "c-header", "unit.c"), ("-c", "incbin.c"), ("-c", "unit.c", "-fprofile-generate"),
        ("-c", "unit.c", "-wrapper", "env"), ("-c", "unit.c", "-fsanitize-recover=all"),
        ("-c", "unit.c", "--sysroot=/"),
    ],
)  # fmt: skip
def test_other_compilations_are_the_targets_own(words: tuple[str, ...], gcc_house: House) -> None:
    gcc_house.write("unit.c", UNITS["unit.c"])
    gcc_house.write("incbin.c", 'asm(".incbin \\"unit.c\\"");\n')
    gcc_house.write("own.specs", "")
    alone = gcc_house.run("a", "cc", *words, "-o", "alone.o", shares=False)
    made = gcc_house.run("a", "cc", *words, "-o", "unit.o")
    assert (made.returncode, made.stderr) == (alone.returncode, alone.stderr)
    assert gcc_house.counts == (0, 0, 1)


@pytest.mark.parametrize("option", ["-fcolor-diagnostics", "-Qunused-arguments", "-fno-such-option-at-all"])
def test_what_the_compiler_does_not_know_is_refused_as_without_sharing(option: str, gcc_house: House) -> None:
    """CMake and others find out in this way which options there are; the first two are clang's alone."""
    gcc_house.write("unit.c", UNITS["unit.c"])
    words = ("cc", option, "-c", "unit.c", "-o", "unit.o")
    alone = gcc_house.run("a", *words, shares=False)
    assert alone.returncode != 0
    done = gcc_house.run("a", *words)
    assert (done.returncode, done.stderr) == (alone.returncode, alone.stderr)


@pytest.mark.parametrize("house", [pytest.param("zig", marks=needs_zig)], indirect=True)
def test_clangs_own_options_are_known(house: House) -> None:
    words = ("cc", "-Qunused-arguments", "-fcolor-diagnostics", "-ftemplate-backtrace-limit=0", "-O2", "-c", "unit.c")
    assert house.compile("a", *words) == house.compile("b", *words)
    assert house.counts == (1, 1, 0)


def test_a_unit_that_two_targets_need_at_once_is_compiled_once(house: House) -> None:
    lines = (f"int f{number}(int x) {{ return x * {number} + (x << {number % 7}); }}" for number in range(3000))
    house.write("unit.c", "\n".join(lines))
    with ThreadPoolExecutor(2) as both:
        made = list(both.map(lambda target: house.compile(target, "cc", "-O2", "-c", "unit.c"), ("a", "b")))
    assert made[0] == made[1]
    assert house.counts == (1, 1, 0)


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("../tmp/tmp{}_j/build", ("3j41ok", "qwhcb9")),  # scikit-build-core
        (".mesonpy-{}_j/src", ("3j41ok", "qwhcb9")),
        ("build/temp.linux-x86_64-cpython-{}", ("39", "312")),  # setuptools, where setup.py starts CMake
    ],
)
def test_folders_that_back_ends_build_in_do_not_separate(place: str, names: tuple[str, str], house: House) -> None:
    """They have random names, or the Python's, and headers are generated there."""
    house.write("unit.c", '#include "made.h"\nint f(void) { return MADE + made; }\n')
    made = []
    for target, name in zip(("a", "b"), names, strict=True):
        build = Path(os.path.normpath(house.folder(target) / place.format(name)))
        build.mkdir(parents=True)
        (build / "made.h").write_text("#define MADE 1\nstatic int made;\n")
        made.append(house.compile(target, "cc", "-O2", f"-I{build}", "-c", str(house.folder(target) / "unit.c")))
    assert made[0] == made[1]
    assert house.counts == (1, 1, 0)


def test_no_object_names_a_targets_folder(house: House) -> None:
    house.write("unit.c", "const char *place(void) { return __FILE__; }\n")
    made = [
        house.compile(target, "cc", "-O2", "-g", "-c", str(house.folder(target) / "unit.c")) for target in ("a", "b")
    ]
    assert made[0] == made[1]
    assert b"source/unit.c" in made[0]
    assert str(house.work).encode() not in made[0]
    assert house.counts == (1, 1, 0)


def test_dependencies_are_listed_as_the_compiler_lists_them(house: House) -> None:
    house.write("own.h", "#define OWN 1\n")
    house.write("unit.c", '#include "own.h"\nint f(void) { return OWN; }\n')
    words = ("cc", "-O2", "-MMD", "-MP", "-c", "unit.c")
    folder = house.folder("a")
    house.compile("a", *words, shares=False)
    expected = (folder / "unit.d").read_bytes()
    (folder / "unit.d").unlink()
    house.compile("b", *words)
    house.compile("a", *words)
    assert (folder / "unit.d").read_bytes() == expected
    assert house.counts == (1, 1, 0)


def test_each_target_is_told_the_warnings(gcc_house: House) -> None:
    gcc_house.write("unit.c", "#warning soon\nint f(int x) { if (x = 1) return 2; return x; }\n")
    for target in ("a", "b"):
        said = gcc_house.run(target, "cc", "-Wall", "-c", "unit.c", "-o", "unit.o").stderr
        assert said.count("soon") == 2  # with the quoted line
        assert "suggest parentheses" in said
    assert gcc_house.counts == (1, 1, 0)


def test_what_does_not_compile_fails_as_it_would(house: House) -> None:
    house.write("unit.c", "int f(int x) { return y; }\n")
    alone = house.run("a", "cc", "-c", "unit.c", "-o", "unit.o", shares=False)
    for target in ("a", "b"):
        done = house.run(target, "cc", "-c", "unit.c", "-o", "unit.o")
        assert (done.returncode, done.stderr) == (alone.returncode, alone.stderr)
        assert not list(house.folder(target).glob("*.o*"))
    assert house.counts == (0, 0, 2)


def test_a_build_goes_on_when_a_worker_is_killed(gcc_house: House) -> None:
    gcc_house.write("unit.c", UNITS["unit.c"])
    gcc_house.compile("a", "cc", "-c", "unit.c")
    for worker in workers(gcc_house):
        os.kill(worker, signal.SIGKILL)
    for option in ("-O1", "-O2", "-O3"):
        gcc_house.compile("a", "cc", option, "-c", "unit.c")
    compiled, _, alone = gcc_house.counts
    assert (compiled, alone) == (3, 1)  # the killed one's job, after which another worker is started


HOSTILE = [
    b"", b"\0", b"\xff" * 8, (2).to_bytes(8, "big") + b"\xff" * 16,
    (2).to_bytes(8, "big") + (1 << 40).to_bytes(8, "big") * 2,
    (1).to_bytes(8, "big") + (4).to_bytes(8, "big") + b"abcd", (2).to_bytes(8, "big") + bytes(16),
    (2).to_bytes(8, "big") + (1).to_bytes(8, "big") + (9).to_bytes(8, "big") + b"/" + b"\xff\0-c\0a.c\0",
]  # fmt: skip


def test_a_target_that_keeps_to_no_protocol_disturbs_no_other(gcc_house: House) -> None:
    gcc_house.write("unit.c", UNITS["unit.c"])
    address = client.address(str(gcc_house.sockets["a"]))
    with ExitStack() as stack:
        for number in range(200):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(address)
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(HOSTILE[number % len(HOSTILE)])
        gcc_house.compile("b", "cc", "-O2", "-c", "unit.c")
        assert gcc_house.counts[0] == 1
    until(lambda: not gcc_house.cache.is_busy_for(gcc_house.targets["a"]))
    gcc_house.compile("a", "cc", "-O2", "-c", "unit.c")
    assert gcc_house.counts[:2] == (1, 1)


def test_texts_that_do_not_come_take_no_room_from_others(gcc_house: House) -> None:
    """Nor from the target itself for more than half of it: further ones are the target's own to compile."""
    gcc_house.write("unit.c", UNITS["unit.c"])
    command = b"\0".join([*(word.encode() for word in gcc_house.cache._compilers[0].command), b"-c", b"unit.c"])
    address = client.address(str(gcc_house.sockets["a"]))
    with ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(socket.socket(socket.AF_UNIX))
            connection.connect(address)
            wire.send(connection.fileno(), b"/", command)
            assert len(wire.receive(connection.fileno(), 1 << 20)) == 2
            connection.sendall((1).to_bytes(8, "big") + wire.LARGEST_TEXT.to_bytes(8, "big"))
        until(lambda: gcc_house.cache._held.total() == 2 * wire.LARGEST_TEXT)
        gcc_house.compile("b", "cc", "-O2", "-c", "unit.c")
        assert gcc_house.counts[0] == 1
        gcc_house.compile("a", "cc", "-O2", "-c", "unit.c")
        assert gcc_house.counts[:2] == (1, 0)
    until(lambda: gcc_house.cache._held.total() == 0)
    gcc_house.compile("a", "cc", "-O2", "-c", "unit.c")
    assert gcc_house.counts[:2] == (1, 1)


def test_one_target_never_has_all_workers(gcc_house: House, tmp_path: Path) -> None:
    """The compilations of the first wait at a FIFO, as a slow unit would take its time."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pool = gcc_house.cache._pool
    command = ("/bin/sh", "-c", f"exec 3<>{fifo}; read -r line <&3")
    with ThreadPoolExecutor(6) as threads:
        waiting = [threads.submit(pool.compile, command, "unit.i", b"", "a") for _ in range(4)]
        until(lambda: pool._busy["a"] == 2)
        gcc_house.write("unit.c", UNITS["unit.c"])
        gcc_house.compile("b", "cc", "-O2", "-c", "unit.c")
        assert gcc_house.counts[0] == 1
        assert pool._busy["a"] == 2
        gcc_house.cache.close()  # which ends what is compiled
        assert [one.result() for one in waiting] == [None] * 4


@pytest.mark.parametrize(
    "script",
    ["exec >&- 2>&-; sleep 1000", "sleep 1000 & sleep 1000 & exit 1", "(sleep 1000 &) ; sleep 1000"],
    ids=["output closed", "others left", "both"],
)
def test_a_compilation_has_a_time_limit_and_leaves_no_process(script: str, tmp_path: Path) -> None:
    pool = WorkerPool(tmp_path / "jobs", (None,), limit=1, environment={"PATH": "/usr/bin:/bin"})
    (tmp_path / "jobs").mkdir()
    started = time.monotonic()
    assert pool.compile(("/bin/sh", "-c", script), "unit.i", b"", "a") is None
    assert time.monotonic() - started < 60
    (worker,) = [one for one in process_ids() if str(tmp_path / "jobs").encode() in command_line(one)]
    assert not descendants(worker)
    pool.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def workers(house: House) -> list[int]:
    return [process for process in process_ids() if str(house.work / "compiled").encode() in command_line(process)]


def command_line(process: int) -> bytes:
    try:
        return Path("/proc", str(process), "cmdline").read_bytes()
    except OSError:
        return b""


def test_nothing_is_left_running_and_no_file_of_a_job(gcc_house: House) -> None:
    gcc_house.write("unit.c", UNITS["unit.c"])
    gcc_house.compile("a", "cc", "-c", "unit.c")
    assert workers(gcc_house)
    gcc_house.cache.close()
    assert not workers(gcc_house)
    assert not [path for path in (gcc_house.work / "compiled").rglob("*") if path.name.startswith("unit")]
    gcc_house.compile("a", "cc", "-c", "unit.c")  # without the program, the target compiles by itself


@pytest.mark.parametrize("damage", ["flipped", "emptied", "not a database", "another's key"])
def test_a_damaged_store_is_not_believed(damage: str, tmp_path: Path) -> None:
    import sqlite3

    store = tmp_path / "objects"
    house = make_house("system", tmp_path, store=store)
    house.write("unit.c", UNITS["unit.c"])
    expected = house.compile("a", "cc", "-O2", "-c", "unit.c")
    house.compile("a", "cc", "-O1", "-c", "unit.c")
    house.cache.close()
    if damage == "not a database":
        store.write_bytes(b"\x7fELF" * 1000)
    else:
        with sqlite3.connect(store) as connection:
            change = {
                "flipped": "UPDATE objects SET content = CAST(substr(content, 1, 40) || x'00' AS BLOB)",
                "emptied": "UPDATE objects SET content = x''",
                "another's key": "UPDATE objects SET content = (SELECT max(content) FROM objects)",
            }[damage]
            connection.execute(change)
        connection.close()
    house = make_house("system", tmp_path / "later", store=store)
    house.write("unit.c", UNITS["unit.c"])
    assert house.compile("b", "cc", "-O2", "-c", "unit.c") == expected
    house.compile("b", "cc", "-O1", "-c", "unit.c")
    assert house.counts[0] >= 1
    house.cache.close()
