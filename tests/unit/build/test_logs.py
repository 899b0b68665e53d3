"""The lines that are shown for a failed build: from real logs, and from logs that no tool should write."""

# ruff: noqa: RUF001 - characters from compilers and uv

from __future__ import annotations

import os
import re
import time
import tracemalloc
from pathlib import Path

import pytest

from manywheels.build.logs import Excerpt, Location, last_lines, telling_excerpt
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import BEGINNING, ENDING, open_ends
from manywheels.errors import Cancelled
from scale import scaled

LOGS = Path(__file__).parents[1] / "logs"
MEGABYTE = 1_000_000
ERROR = b"spam.c:12:5: error: unknown type name 'fooo'"


def at(file: str, line: int, column: int | None = None) -> Location:
    return Location(file=file, line=line, column=column)


# log, reason, location, first line shown, last line shown
REAL: list[tuple[str, str, Location | None, str, str]] = [
    (
        "setuptools-gcc",
        "spam.c:9:5: error: unknown type name ‘fooo’",
        at("spam.c", 9, 5),
        "spam.c: In function ‘spam_eggs’:",
        "      |            ^~~~~~~~~~~~~~~",
    ),
    (
        "setuptools-gcc-old",
        "spam.c:9:5: error: unknown type name ‘fooo’",
        at("spam.c", 9, 5),
        "spam.c: In function ‘spam_eggs’:",
        "      |            ^~~~~~~~~~~~~~~",
    ),
    (
        "setuptools-zig",
        "spam.c:9:5: error: use of undeclared identifier 'fooo'",
        at("spam.c", 9, 5),
        "spam.c:9:5: error: use of undeclared identifier 'fooo'",
        "1 warning and 4 errors generated.",
    ),
    (
        "setuptools-include",
        "helper.h:1:34: error: ‘undeclared_thing’ undeclared (first use in this function)",
        at("helper.h", 1, 34),
        "In file included from spam.c:2:",
        "      |            ^~~~~~",
    ),
    (
        "setuptools-lib",
        "/usr/bin/ld: cannot find -lspamcore: No such file or directory",
        None,
        "/usr/bin/ld: cannot find -lspamcore: No such file or directory",
        "collect2: error: ld returned 1 exit status",
    ),
    (
        "setuptools-lib-zig",
        'error: unable to find dynamic system library "spamcore" using strategy paths_first. searched paths:',
        None,
        'error: unable to find dynamic system library "spamcore" using strategy paths_first. searched paths:',
        "  /lib/x86_64-linux-gnu/libspamcore.a",
    ),
    (
        "setuptools-undef",
        "/build/spam/spam.c:3: undefined reference to `core_missing'",
        at("/build/spam/spam.c", 3),
        "/usr/bin/ld: build/temp.linux-x86_64-cpython-311/spam.o: in function `PyInit_spam':",
        "collect2: error: ld returned 1 exit status",
    ),
    (
        "zig-undef",
        "ld.lld: error: undefined symbol: g",
        None,
        "ld.lld: error: undefined symbol: g",
        ">>>               /build/cache/o/ee7d4fb2eec01cd34ca9dca9e45667ac/u.o:(main)",
    ),
    (
        "setuptools-traceback",
        "RuntimeError: set SPAM_VERSION before building",
        None,
        "Traceback (most recent call last):",
        "RuntimeError: set SPAM_VERSION before building",
    ),
    (
        "setuptools-syntax",
        "SyntaxError: '(' was never closed",
        None,
        "Traceback (most recent call last):",
        "SyntaxError: '(' was never closed",
    ),
    (
        "setuptools-cython",
        "spam.pyx:5:9: 'Fooo' is not a type identifier",
        at("spam.pyx", 5, 9),
        "Error compiling Cython file:",
        "spam.pyx:4:17: undeclared name not builtin: undefined_name",
    ),
    (
        "setuptools-killed",
        (
            "/build/spam/wrap.sh was killed, probably out of memory: "
            "gcc: fatal error: Killed signal terminated program /build/spam/wrap.sh"
        ),
        None,
        "gcc: fatal error: Killed signal terminated program /build/spam/wrap.sh",
        "compilation terminated.",
    ),
    (
        "setuptools-cpp",
        "spam.cpp:4:54: error: no type named ‘inner’ in ‘struct Plain’",
        at("spam.cpp", 4, 54),
        "spam.cpp: In instantiation of ‘struct Box<Plain>’:",
        "      |                                                                                ^~~~~",
    ),
    (
        "setuptools-asm",
        "spam.c:1: Error: no such instruction: `vfooaddps %zmm0,%zmm1'",
        at("spam.c", 1),
        "spam.c: Assembler messages:",
        "spam.c:1: Error: no such instruction: `vfooaddps %zmm0,%zmm1'",
    ),
    (
        "skbuild-find",
        (
            "CMake Error at CMakeLists.txt:3 (find_package): Could not find a package configuration file"
            ' provided by "SpamCore"'
            " (requested version 3.1) with any of the following names:"
        ),
        at("CMakeLists.txt", 3),
        "CMake Error at CMakeLists.txt:3 (find_package):",
        'See also "/build/tmp/build/CMakeFiles/CMakeOutput.log".',
    ),
    (
        "skbuild-find2",
        (
            "CMake Error at /usr/share/cmake-3.25/Modules/FindPackageHandleStandardArgs.cmake:230 (message): "
            "Could NOT find CURL (missing: CURL_LIBRARY CURL_INCLUDE_DIR)"
        ),
        at("CMakeLists.txt", 7),
        "CMake Error at /usr/share/cmake-3.25/Modules/FindPackageHandleStandardArgs.cmake:230 (message):",
        'See also "/build/tmp/build/CMakeFiles/CMakeError.log".',
    ),
    (
        "skbuild-make",
        "/build/spam/a.c:1:17: error: unknown type name ‘fooo’",
        at("/build/spam/a.c", 1, 17),
        "/build/spam/d.c: In function ‘d_f’:",
        "      |                        ^~~",
    ),
    (
        "skbuild-ninja",
        "/build/spam/c.c:1:17: error: unknown type name ‘fooo’",
        at("/build/spam/c.c", 1, 17),
        "/build/spam/c.c: In function ‘c_f’:",
        "/build/spam/c.c:2:24: note: each undeclared identifier is reported only once for each function it appears in",
    ),
    (
        "meson-dependency",
        '../meson.build:6:0: ERROR: Dependency "spamcore" not found (tried pkg-config and cmake)',
        at("../meson.build", 6),
        '../meson.build:6:0: ERROR: Dependency "spamcore" not found (tried pkg-config and cmake)',
        "A full log can be found at /build/spam/.mesonpy-pgbwp9_0/meson-logs/meson-log.txt",
    ),
    (
        "meson-gcc",
        "../spam.c:9:5: error: unknown type name ‘fooo’",
        at("../spam.c", 9, 5),
        "../spam.c: In function ‘spam_eggs’:",
        "ninja: build stopped: subcommand failed.",
    ),
    (
        "cargo",
        "src/lib.rs:3:9: error[E0425]: cannot find value `undefined_name` in this scope",
        at("src/lib.rs", 3, 9),
        "error[E0425]: cannot find value `undefined_name` in this scope",
        "error: could not compile `spam` (lib) due to 2 previous errors",
    ),
    (
        "cargo-link",
        "rust-lld: error: unable to find library -lspamcore",
        None,
        "  = note: rust-lld: error: unable to find library -lspamcore",
        "error: could not compile `spam` (lib) due to 1 previous error",
    ),
    (
        "gfortran",
        "s.f90:5:12: Error: Syntax error in argument list at (1)",
        at("s.f90", 5, 12),
        "s.f90:5:12:",
        "Error: Symbol ‘undefined_name’ at (1) has no IMPLICIT type",
    ),
    (
        "gcc-color",
        "a.c:1:24: error: expected ‘;’ before ‘}’ token",
        at("a.c", 1, 24),
        "a.c: In function ‘f’:",
        "      |                        ;",
    ),
    (
        "gcc-flag",
        "gcc: error: unrecognized command-line option ‘-fnonsense’; did you mean ‘-fno-see’?",
        None,
        "gcc: error: unrecognized command-line option ‘-fnonsense’; did you mean ‘-fno-see’?",
        "gcc: error: unrecognized command-line option ‘-fnonsense’; did you mean ‘-fno-see’?",
    ),
    (
        "zig-target",
        "error: unknown architecture: 'nonsense'",
        None,
        " xtensaeb",
        "error: unknown architecture: 'nonsense'",
    ),
    (
        "setup-download",
        "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
        None,
        "Traceback (most recent call last):",
        "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>",
    ),
    (
        "setup-import",
        "ModuleNotFoundError: No module named 'numpy'",
        None,
        "Traceback (most recent call last):",
        "ModuleNotFoundError: No module named 'numpy'",
    ),
    (
        "setup-pkg-config",
        "Package libspamcore was not found in the pkg-config search path.",
        None,
        "Building wheel...",
        (
            "subprocess.CalledProcessError: Command '['pkg-config', '--cflags', 'libspamcore']'"
            " returned non-zero exit status 1."
        ),
    ),
    (
        "setuptools-header",
        "spam.c:1:10: fatal error: spamcore/core.h: No such file or directory",
        at("spam.c", 1, 10),
        "spam.c:1:10: fatal error: spamcore/core.h: No such file or directory",
        "compilation terminated.",
    ),
    (
        "setuptools-scm",
        "LookupError: setuptools-scm was unable to detect version for /build/scm.",
        None,
        "Traceback (most recent call last):",
        (
            "Alternatively, set the version in the environment with SETUPTOOLS_SCM_PRETEND_VERSION_FOR_SPAM or"
            " VCS_VERSIONING_PRETEND_VERSION_FOR_SPAM, as described in"
            " https://setuptools-scm.readthedocs.io/en/latest/config/"
        ),
    ),
    (
        "skbuild-fetch",
        (
            "CMake Error at core-subbuild/core-populate-prefix/src/core-populate-stamp/download-core-populate.cmake:163"
            " (message): Each download failed! error: downloading 'https://download.example.invalid/core-1.2.tar.gz'"
            " failed"
        ),
        at("CMakeLists.txt", 5),
        (
            "CMake Error at core-subbuild/core-populate-prefix/src/core-populate-stamp/download-core-populate.cmake:163"
            " (message):"
        ),
        "",
    ),
    (
        "uv-resolve",
        (
            "Because only numpy<=2.5.5 is available and you require numpy>=99, we can conclude"
            " that your requirements are"
            " unsatisfiable."
        ),
        None,
        "  cause: Failed to resolve requirements from `build-system.requires`",
        (
            "  cause: Because only numpy<=2.5.5 is available and you require numpy>=99, we can conclude that your"
            " requirements"
            " are unsatisfiable."
        ),
    ),
    (
        "uv-resolve-old",
        (
            "Because only numpy<=2.5.5 is available and you require numpy>=99, we can conclude"
            " that your requirements are"
            " unsatisfiable."
        ),
        None,
        "  ├─▶ Failed to resolve requirements from `build-system.requires`",
        "      conclude that your requirements are unsatisfiable.",
    ),
    (
        "uv-offline",
        "No solution found when resolving: `setuptools`, `setuptools<80`, `wheel-does-not-match>4`",
        None,
        "  cause: Failed to resolve requirements from `build-system.requires`",
        "          cannot be used.",
    ),
    (
        "uv-constraint",
        "File not found: /build/pins/build.txt",
        None,
        "  cause: File not found: /build/pins/build.txt",
        "  cause: File not found: /build/pins/build.txt",
    ),
    (
        "devfull",
        "/build/cc3LnwIS.s: Fatal error: can't write 11 bytes to section .text of /dev/full: 'No space left on device'",
        None,
        "/build/cc3LnwIS.s: Fatal error: can't write 11 bytes to section .text of /dev/full: 'No space left on device'",
        "      |                        ;",
    ),
]


@pytest.mark.parametrize(("log", "reason", "location", "first", "last"), REAL, ids=[case[0] for case in REAL])
def test_the_cause_is_found_in_real_logs(
    log: str, reason: str, location: Location | None, first: str, last: str
) -> None:
    excerpt = telling_excerpt(LOGS / f"{log}.log", Cancellation())
    assert (excerpt.reason, excerpt.location) == (reason, location)
    assert (excerpt.lines[0], excerpt.lines[-1]) == (first, last)


@pytest.mark.parametrize("path", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
@pytest.mark.parametrize("limit", [1, 5, 30])
def test_lines_are_the_numbered_lines_of_the_log(path: Path, limit: int) -> None:
    excerpt = telling_excerpt(path, Cancellation(), limit=limit)
    assert 1 <= len(excerpt.lines) <= limit
    assert not any("\x1b" in line for line in excerpt.lines)
    if path.stem == "gcc-color":
        return  # its lines differ from the log's by the colours
    if excerpt.first_line is None:
        left = {line.rstrip()[:500] for line in path.read_text().split("\n")}
        others = [line for line in excerpt.lines if line not in left]
        assert all(re.fullmatch(r" *… \d+ frames? of libraries", line) for line in others)
        return
    written = path.read_text().split("\n")[excerpt.first_line - 1 :]
    assert list(excerpt.lines) == [line.rstrip()[:500] for line in written[: len(excerpt.lines)]]


@pytest.mark.parametrize("log", ["setup-download", "setup-import", "setup-pkg-config", "setuptools-scm"])
def test_of_a_traceback_the_projects_own_frames_are_shown(log: str) -> None:
    excerpt = telling_excerpt(LOGS / f"{log}.log", Cancellation())
    frames = [line.strip() for line in excerpt.lines if line.strip().startswith("File ")]
    assert frames
    assert not any("site-packages" in frame or "lib/python" in frame for frame in frames)
    assert any("frames of libraries" in line for line in excerpt.lines)


def test_killed_compiler_driver_is_named() -> None:
    excerpt = telling_excerpt(LOGS / "setuptools-killed-driver.log", Cancellation())
    assert excerpt.reason.startswith("/build/spam/cc2.sh was killed, probably out of memory: ")
    assert excerpt.killed


def test_other_failures_are_not_reported_as_killed(tmp_path: Path) -> None:
    assert not excerpt_of(tmp_path, "a.c:1:1: error: expected ';'\n").killed


def test_last_lines_with_any_content(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a.c:1:1: error: no matter\n" + "".join(f"line {n}\n" for n in range(40)))
    assert last_lines(tmp_path / "log", Cancellation(), limit=2) == ("line 38", "line 39")
    assert last_lines(tmp_path / "absent", Cancellation()) == ()


# --- which report wins ------------------------------------------------------------------------------------------------


def excerpt_of(tmp_path: Path, text: str | bytes, *, limit: int = 30) -> Excerpt:
    log = tmp_path / "build.log"
    log.write_bytes(text.encode() if isinstance(text, str) else text)
    return telling_excerpt(log, Cancellation(), limit=limit)


WRAPPERS = """\
error: command '/usr/bin/gcc' failed with exit code 1
  × Failed to build `/build/spam`
  ├─▶ The build backend returned an error
  ╰─▶ Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)
      hint: This usually indicates a problem with the package or the build environment.
"""


@pytest.mark.parametrize(
    "cause",
    [
        "make: *** [Makefile:3: all] Error 1",
        "ERROR: the vendored library is missing",
        "error in spam setup command: 'install_requires' must be a string",
        "ninja: error: loading 'build.ninja': No such file or directory",
        'spam.cu(12): error: identifier "fooo" is undefined',
        "build.py:7: error: Incompatible return value type",
        "/usr/bin/ld: a.o: relocation R_X86_64_32 against `.data' can not be used; recompile with -fPIC",
        "error: undefined symbol: spam_core",
        "OSError: [Errno 28] No space left on device",
        "mold: fatal: library not found: spamcore",
    ],
)
def test_causes_win_over_the_wrappers_after_them(tmp_path: Path, cause: str) -> None:
    assert excerpt_of(tmp_path, f"running build_ext\n{cause}\n{WRAPPERS}").reason == cause


@pytest.mark.parametrize(
    "harmless",
    [
        "-- Looking for pthread.h - error",
        "checking for foo... no",
        "gcc -Werror=format-security -Werror -c error.c -o build/error.o",
        "cc -DMSG=x -c src/error: handling.c.o",
        "spam.c:4:40: warning: unused variable 'x' [-Wunused-variable]",
        "copying spam/Traceback.py -> build/lib/spam",
        "[ 40%] Building C object error.c.o",
        "0 errors, 3 warnings",
        "adding 'spam/errors.py'",
        "The killed feature is off",
    ],
)
def test_harmless_lines_are_not_a_cause(tmp_path: Path, harmless: str) -> None:
    assert excerpt_of(tmp_path, f"{harmless}\nfinished\n") == Excerpt(
        lines=(harmless, "finished"), first_line=1, reason="", location=None
    )


@pytest.mark.parametrize(
    "weaker",
    [
        "_configtest.c:1:10: fatal error: nonesuch.h: No such file or directory",
        "/build/CMakeFiles/CMakeScratch/TryCompile-x/src.c:3:1: error: unknown type name 'x'",
        "ERROR: something vague",
        "Error: the generator is not a Fortran compiler",
        "gcc: error: unrecognized command-line option '-fnonsense'",
        "cc1: all warnings being treated as errors",
        "Traceback (most recent call last):\n  File \"setup.py\", line 1, in <module>\nKeyError: 'spam'",
        "CMake Error at CMakeLists.txt:3 (message):\n  no\n",
        "  × Failed to build `/build/spam`",
    ],
)
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_compiler_error_wins_wherever_it_stands(tmp_path: Path, weaker: str, order: str) -> None:
    both = [weaker, ERROR.decode()]
    excerpt = excerpt_of(tmp_path, "\n".join(both if order == "before" else both[::-1]) + "\n")
    assert excerpt.reason == ERROR.decode()
    assert excerpt.location == at("spam.c", 12, 5)


def test_a_full_disk_wins_over_what_follows_from_it(tmp_path: Path) -> None:
    assert excerpt_of(tmp_path, ERROR + b"\ncp: write error: No space left on device\n").reason.startswith(
        "cp: write error"
    )


def test_the_first_compiler_error_wins(tmp_path: Path) -> None:
    assert excerpt_of(tmp_path, b"eggs.c:1:1: error: first\n" + ERROR + b"\n").location == at("eggs.c", 1, 1)


def test_the_last_traceback_wins_unless_it_only_wraps(tmp_path: Path) -> None:
    first = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: the version is not set\n'
    chain = "\nDuring handling of the above exception, another exception occurred:\n\n"
    wrapper = (
        "Traceback (most recent call last):\n  File \"b.py\", line 2\nsubprocess.CalledProcessError: Command 'x'\n"
    )
    assert excerpt_of(tmp_path, first + chain + wrapper).reason == "ValueError: the version is not set"
    assert excerpt_of(tmp_path, first + wrapper).reason == "subprocess.CalledProcessError: Command 'x'"
    assert excerpt_of(tmp_path, wrapper + chain + first).reason == "ValueError: the version is not set"


def test_long_tracebacks_are_shown_from_their_end(tmp_path: Path) -> None:
    frames = "".join(f'  File "a.py", line {n}, in f{n}\n    f{n}()\n' for n in range(1, 50))
    excerpt = excerpt_of(
        tmp_path, f"start\nTraceback (most recent call last):\n{frames}ValueError: deep\n{WRAPPERS}", limit=5
    )
    assert excerpt.lines == (
        '  File "a.py", line 48, in f48',
        "    f48()",
        '  File "a.py", line 49, in f49',
        "    f49()",
        "ValueError: deep",
    )
    assert excerpt.first_line == 97
    assert excerpt.reason == "ValueError: deep"


def test_a_failed_optional_extension_is_forgiven(tmp_path: Path) -> None:
    optional = ERROR.decode() + '\nWARNING: building extension "spam.fast" failed: command gcc failed\n'
    assert excerpt_of(tmp_path, optional + "error: package directory 'eggs' does not exist\n").reason == (
        "error: package directory 'eggs' does not exist"
    )


def test_a_wrapper_alone_is_shown_with_the_lines_before_it(tmp_path: Path) -> None:
    excerpt = excerpt_of(tmp_path, "the backend says no\n" + WRAPPERS.split("\n", 1)[1])
    assert excerpt.reason == "Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)"
    assert excerpt.lines[0] == "the backend says no"


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("g++: fatal error: Killed signal terminated program cc1plus", "cc1plus"),
        ("g++: internal compiler error: Killed (program cc1plus)", "cc1plus"),
        ("Killed", "the compiler"),
        ("collect2: fatal error: ld terminated with signal 9 [Killed]", "the compiler"),
        ("clang: error: unable to execute command: Killed", "the compiler"),
        ("process didn't exit successfully: `rustc` (signal: 9, SIGKILL: kill)", "the compiler"),
    ],
)
def test_killed_compilers_are_reported_as_out_of_memory(tmp_path: Path, line: str, program: str) -> None:
    assert (
        excerpt_of(tmp_path, f"x\n{line}\n{WRAPPERS}").reason == f"{program} was killed, probably out of memory: {line}"
    )


# --- logs that no tool should write -----------------------------------------------------------------------------------


def test_missing_and_empty_logs_give_an_empty_excerpt(tmp_path: Path) -> None:
    nothing = Excerpt(lines=(), first_line=1, reason="", location=None)
    assert telling_excerpt(tmp_path / "nonesuch.log", Cancellation()) == nothing
    assert telling_excerpt(tmp_path, Cancellation()) == nothing
    assert excerpt_of(tmp_path, b"") == nothing


@pytest.mark.parametrize(
    "before", [b"\0" * 9, b"\xff\xfe\x80", b"\r\r", b" 10%\r 90%\r", b"\x1b[1;31m", b"\x1b]8;;x\x1b\\"]
)
@pytest.mark.parametrize("after", [b"", b"\0", b"\r\n", b"\n", b"\x1b[0m\n", b"\r\r\n"])
def test_the_error_is_found_among_garbage(tmp_path: Path, before: bytes, after: bytes) -> None:
    excerpt = excerpt_of(tmp_path, b"one\n" + (before if b"\xff" not in before else before + b"\n") + ERROR + after)
    assert excerpt.reason == ERROR.decode()
    assert excerpt.first_line == (3 if b"\xff" in before else 2)
    assert excerpt.lines == (ERROR.decode(),)


def test_an_overwritten_error_is_found(tmp_path: Path) -> None:
    assert excerpt_of(tmp_path, b"10%\r" + ERROR + b"\r100%\n").reason == ERROR.decode()


def test_lines_are_cut_and_limits_kept(tmp_path: Path) -> None:
    excerpt = excerpt_of(tmp_path, ERROR + b"y" * 9000 + b"\n" + b"z" * 9000 + b"\n" * 50 + b"end\n", limit=2)
    assert [len(line) for line in excerpt.lines] == [500, 500]
    assert len(excerpt.reason) == 500


def test_an_error_at_every_place_of_a_block_boundary(tmp_path: Path) -> None:
    for shift in range(0, 60, 3):
        filler = b"x" * 99 + b"\n"
        lines = (1 << 20) // 100
        text = (
            filler * lines + b"y" * (((1 << 20) - lines * 100 + shift) % 100) + b"\nspam.c: In function 'f':\n" + ERROR
        )
        excerpt = excerpt_of(tmp_path, text + b"\n  12 | fooo\n     | ^\n")
        assert excerpt.lines == ("spam.c: In function 'f':", ERROR.decode(), "  12 | fooo", "     | ^")
        assert excerpt.first_line == lines + 2


COMMAND = b"gcc -Wsign-compare -O3 -Wall -Werror=format-security -fPIC -c error.c -o build/temp/error.o\n"
HUGE = {
    "commands": COMMAND,
    "no newline": b"x",
    "progress": b"\r 10% done",
    "carriage returns": b"\r",
    "zeros": b"\0",
    "colours": b"\x1b[31mred\x1b[0m text\n",
    "blank lines": b"\n",
    "invalid": b"\xff\xfe\x80",
    "vague errors": b"error: x\n",
    "near errors": b"foo: error: bar happened in a line of the usual length\n",
    "tracebacks": b'Traceback (most recent call last):\n  File "x", line 3, in y\nKeyError: 3\n',
}


@pytest.mark.parametrize("unit", HUGE.values(), ids=HUGE.keys())
def test_huge_logs_take_little_time_and_memory(tmp_path: Path, unit: bytes) -> None:
    share = scaled(10) / 10
    text = unit * (int(50 * share) * MEGABYTE // len(unit))
    log = tmp_path / "build.log"
    log.write_bytes(text + b"\n" + ERROR + b"\n")
    number = text.count(b"\n") + 2
    began = time.process_time()
    excerpt = telling_excerpt(log, Cancellation())
    seconds = time.process_time() - began
    assert (excerpt.reason, excerpt.first_line, excerpt.lines) == (ERROR.decode(), number, (ERROR.decode(),))
    assert seconds < 3 + 6 * share  # of the processor; a third of that was measured
    shorter, longer = (peak_of(log, text[: int(size * share * MEGABYTE)]) for size in (10, 20))
    log.unlink()  # pytest keeps its folders
    assert shorter < 20 * MEGABYTE
    assert longer < shorter + MEGABYTE // 4


def peak_of(log: Path, text: bytes) -> int:
    """Return the bytes that searching such a log takes at most."""
    log.write_bytes(text)
    tracemalloc.start()
    telling_excerpt(log, Cancellation())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


# --- huge logs --------------------------------------------------------------------------------------------------------


def lengthen(log: Path, beginning: bytes, ending: bytes, size: int = 1 << 40) -> Path:
    """Make a log of a terabyte that is one hole between its ends."""
    with log.open("wb") as file:
        file.write(beginning)
        file.seek(size - len(ending))
        file.write(ending)
    return log


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("beginning", "ending"), [(ERROR, b""), (b"", ERROR), (ERROR, b"error: something else")])
def test_both_ends_of_a_log_of_any_size_are_searched(tmp_path: Path, beginning: bytes, ending: bytes) -> None:
    log = lengthen(tmp_path / "build.log", beginning + b"\n", b"\n" + ending + b"\n")
    excerpt = telling_excerpt(log, Cancellation())
    assert (excerpt.reason, excerpt.first_line) == (ERROR.decode(), None)
    assert last_lines(log, Cancellation(), limit=1) == (ending.decode() or "",)
    log.unlink()  # pytest keeps its folders


def test_omitted_parts_are_marked(tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_bytes(b"0123456789")
    for beginning, ending, read in (
        (2, 3, b"01\n[manywheels: 5 bytes of this log are left out here]\n789"),
        (4, 6, b"0123456789"),
        (9, 9, b"0123456789"),
        (0, 0, b"\n[manywheels: 10 bytes of this log are left out here]\n"),
    ):
        with open_ends(log, beginning=beginning, ending=ending) as stream:
            assert stream.read() == read
    log.write_bytes(b"")
    with open_ends(log) as stream:
        assert stream.read() == b""


def test_lines_are_numbered_only_in_logs_that_are_read_whole(tmp_path: Path) -> None:
    log = lengthen(tmp_path / "build.log", b"\n", b"\n" + ERROR, BEGINNING + ENDING)
    assert telling_excerpt(log, Cancellation()).first_line == 3
    log = lengthen(tmp_path / "build.log", b"\n", b"\n" + ERROR, BEGINNING + ENDING + 1)
    assert telling_excerpt(log, Cancellation()).first_line is None


@pytest.mark.timeout(300)
def test_files_that_are_not_logs_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(ERROR)
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "fifo")
    for name in ("link", "fifo", "/dev/zero"):
        assert telling_excerpt(tmp_path / name, Cancellation()).lines == ()


def test_reading_a_log_stops_at_once(tmp_path: Path) -> None:
    (tmp_path / "build.log").write_bytes(ERROR)
    cancellation = Cancellation()
    cancellation.request()
    with pytest.raises(Cancelled):
        telling_excerpt(tmp_path / "build.log", cancellation)
