"""How tools report failures in a log. To support a compiler, add an entry to `PATTERNS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

COLUMNS: Final = 500  # characters shown of a line
_PARAGRAPH: Final = 300  # characters of a wrapped message shown as one line


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a source file; lines and columns count from 1."""

    file: str
    line: int
    column: int | None = None


class Rank(IntEnum):
    """How well a pattern explains a failure: the lowest rank wins."""

    PARDON = -1  # earlier failures were allowed
    MACHINE = 0  # such as a full disk, which causes the other errors
    COMPILER = 1
    CONFIGURE = 2
    DRIVER = 3
    TRACEBACK = 4
    GENERIC = 5
    WEAK = 6  # a step failed and has already reported why
    PROBE = 7  # a configure test, which may fail
    COMMAND = 8
    FRONT_END = 9
    HEADLINE = 10
    NOTHING = 11


@dataclass(kw_only=True)
class PatternMatch:
    """A line that a pattern matches; `after` starts with it and grows during the scan.

    `number` counts from 1; `start` is an offset in the block.
    """

    pattern: ErrorPattern
    match: re.Match[str]
    start: int
    number: int = 0
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


_Explanation = tuple[str, Location | None]


@dataclass(frozen=True, kw_only=True)
class ErrorPattern:
    """One way of reporting a failure.

    Every matching line contains one of `hints`, in lower case, for a fast search. `regex` is matched at the line's
    start; its groups are `reason`, `file`, `line` and `column`. One of the six lines before must match `preceded`, one
    of the three lines after `followed`. `lead` matches lines directly before that belong to the report. `explain`
    returns a better reason and location than the groups. With `last`, later matches of the same rank win.
    """

    name: str
    rank: Rank
    hints: tuple[bytes, ...]
    regex: re.Pattern[str]
    preceded: re.Pattern[str] | None = None
    followed: re.Pattern[str] | None = None
    lead: re.Pattern[str] | None = None
    explain: Callable[[PatternMatch], _Explanation] | None = None
    last: bool = False


def _one_line(text: str) -> str:
    return " ".join(text.split())[:COLUMNS]


def _place(match: re.Match[str] | None) -> Location | None:
    """Column 0 is dropped: a tool that reports it counts from 0."""
    groups = match.groupdict() if match else {}
    if not groups.get("file") or not groups.get("line"):
        return None
    return Location(file=groups["file"], line=int(groups["line"]), column=int(groups.get("column") or 0) or None)


def matched(found: PatternMatch) -> _Explanation:
    return _one_line(found.match["reason"]), _place(found.match)


def _killed(found: PatternMatch) -> _Explanation:
    program = found.match.groupdict().get("program") or "the compiler"
    return f"{program} was killed, probably out of memory: {matched(found)[0]}"[:COLUMNS], None


_CYTHON_PLACE: Final = re.compile(r"(?P<file>\S[^:]*\.(?:pyx|pxd|pxi|py)):(?P<line>\d+):(?P<column>\d+): \S.*")


def _cython(found: PatternMatch) -> _Explanation:
    for line in found.after:
        if match := _CYTHON_PLACE.match(line):
            return _one_line(match[0]), _place(match)
    return matched(found)


_RUST_PLACE: Final = re.compile(r"\s*--> (?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+)")


def _rust(found: PatternMatch) -> _Explanation:
    place = next((_place(match) for line in found.after[:4] if (match := _RUST_PLACE.match(line))), None)
    reason = matched(found)[0]
    return (f"{place.file}:{place.line}:{place.column}: {reason}" if place else reason), place


_FORTRAN_PLACE: Final = re.compile(r"(?P<file>\S[^:]*\.(?i:f|for|ftn|fpp|f\d\d)):(?P<line>\d+):(?P<column>\d+):$")


def _fortran(found: PatternMatch) -> _Explanation:
    places = (_FORTRAN_PLACE.match(line) for line in reversed(found.before))
    match = next((match for match in places if match), None)
    return _one_line(f"{match[0] if match else ''} {found.match['reason']}"), _place(match)


_CMAKE_CALLER: Final = re.compile(r"  (?P<file>\S.*):(?P<line>\d+) \(\w+\)$")


def _cmake(found: PatternMatch) -> _Explanation:
    """Explain by the first paragraph and the outermost caller: the innermost is often a file of CMake's."""
    place = _place(found.match)
    paragraph: list[str] = []
    rest = found.after[1:]
    for line in rest:
        if not line and paragraph[-1:] and paragraph[-1].endswith("!"):
            continue  # "Each download failed!": why comes next
        if not line.startswith("  ") or _CMAKE_CALLER.match(line):
            break
        paragraph.append(line)
        if line.lstrip().startswith("error: downloading "):
            break
    if "Call Stack (most recent call first):" in rest:
        for line in rest[rest.index("Call Stack (most recent call first):") + 1 :]:
            if not (match := _CMAKE_CALLER.match(line)):
                break
            place = _place(match)
    return _one_line(" ".join([found.match["reason"], *paragraph])), place


_UV_TREE: Final = r"\s*(?:[×├╰│─▶]+ *|error: |cause: |Caused by: )*"  # noqa: RUF001 - uv draws it
_BECAUSE: Final = re.compile(rf"{_UV_TREE}(?P<reason>Because .*)")
_UV_STEP: Final = re.compile(rf"{_UV_TREE}(?P<reason>No solution found .*)")


def _resolution(found: PatternMatch) -> _Explanation:
    """Use uv's own explanation if it is short; long ones list every version."""
    reason = matched(found)[0]
    for index, line in enumerate(found.after):
        if step := _UV_STEP.match(line):
            reason = _one_line(step["reason"])
        if because := _BECAUSE.match(line):
            rest = found.after[index + 1 :]
            end = next((n for n, text in enumerate(rest) if not text.startswith("   ")), len(rest))
            explanation = _one_line(" ".join([because["reason"], *rest[:end]]))
            return (explanation if len(explanation) <= _PARAGRAPH else reason), None
    return reason, None


_FRAME: Final = re.compile(r'\s*File "(?P<file>[^<"][^"]*)", line (?P<line>\d+)')
_FRAGMENT: Final = re.compile(r"\s|$")
CHAIN: Final = re.compile(r"\s*(?:The above exception was the direct cause|During handling of the above exception)")
EXCEPTION_WRAPPER: Final = re.compile(
    r"(?:[\w.]+\.)?(?:CalledProcessError|CompileError|LinkError|ExecError|DistutilsExecError|DistutilsError|BuildError"
    r"|BackendUnavailable|BackendInvalid|HookMissing|SystemExit|CCompilerError)\b"
)


def traceback_end(lines: Sequence[str]) -> int | None:
    """Return the index of the exception's line, None if the traceback is cut off."""
    indent = len(lines[0]) - len(lines[0].lstrip())
    return next((n for n, line in enumerate(lines) if n and not _FRAGMENT.match(line[indent:])), None)


_PKG_CONFIG: Final = re.compile(
    r"Package \S+ (?:was not found in the pkg-config search path|required by \S+ not found)"
)


def _traceback(found: PatternMatch) -> _Explanation:
    end = traceback_end(found.after)
    reason = _one_line(found.after[end]) if end else matched(found)[0]
    if "pkg-config" in reason:  # it has said why before
        reason = next((line for line in found.before if _PKG_CONFIG.match(line)), reason)
    place = None
    # Only a syntax error is in the file that it names; other exceptions' frames are the back end's.
    if end and reason.startswith(("SyntaxError", "IndentationError", "TabError")):
        frames = [match for line in found.after[:end] if (match := re.match(r'\s*File "', line))]
        place = _place(_FRAME.match(frames[-1].string)) if frames else None
    return reason, place


_GCC_LEAD: Final = re.compile(
    r"\s*In file included from |\s+from .*[:,]$|\S.*: (?:In|At|in) [\w\s]*(?:function|method|constructor|destructor"
    r"|member|lambda|instantiation|substitution|specialization|scope|level|program|body)\b"
    r"|.*:   (?:required|recursively)"
    r"|.*: Assembler messages:$|\S.*\(exact .*:$"
)
_FORTRAN_LEAD: Final = re.compile(r"\S.*:\d+:\d+:$|\s+\d* ?\||\s*$")
_AT: Final = r"(?P<file>[^\s:'\"(][^:'\"]{0,400}):(?P<line>\d{1,9}):(?:(?P<column>\d{1,9}):)?"
_PROBE: Final = (
    r"(?:\S*/)?(?:_configtest\w*|conftest\w*|sanitycheck\w*|testprog\w*|test(?:C|CXX|Fortran)Compiler)\.|"
    r"\S*(?:CMakeTmp|CMakeScratch|TryCompile|meson-private/tmp|_pyrxcheck|tmp/check)"
)
_LD: Final = r"(?:[^\s:]*/)?(?:[\w.+-]*-)?(?:ld|lld|mold|gold|wasm-ld|rust-lld)(?:\.\w+)?: "
_DRIVER: Final = (
    r"(?:[^\s:]*/)?(?:[\w.]+-)*(?:gcc|g\+\+|cc|c\+\+|clang|clang\+\+|zig|cc1|cc1plus|cc1obj|f951|gfortran|flang|lto1|"
    r"lto-wrapper|collect2|as|cpp|nvcc|icx|icpx)(?:-[\d.]+)?: "
)

RESOLUTION: Final = "dependency resolution"
KILLED: Final = frozenset({"killed compiler", "killed command"})  # usually by the kernel, out of memory

# The first entry that matches a line counts, so specific entries come first.
PATTERNS: Final = (
    ErrorPattern(
        name="optional extension",
        rank=Rank.PARDON,
        hints=(b"building extension", b"could not be compiled", b"compile optional"),
        regex=re.compile(
            r"(?P<reason>.*building extension \"[^\"]*\" failed.*"
            r"|.*(?i:extensions? could not be compiled|failed to compile optional).*)"
        ),
    ),
    ErrorPattern(
        name="disk full",
        rank=Rank.MACHINE,
        hints=(b"no space left on device", b"disk quota exceeded"),
        regex=re.compile(r"(?P<reason>.*\b(?:No space left on device|Disk quota exceeded)\b.*)"),
    ),
    ErrorPattern(
        name="killed compiler",
        rank=Rank.COMPILER,
        hints=(b"killed", b"signal 9", b"signal: 9"),
        regex=re.compile(
            r"\s*(?P<reason>Killed(?: \S{1,40})?$"
            r"|.*\b(?:error: Killed(?: signal terminated)? \(?program (?P<program>[^\s)]+)|command: Killed"
            r"|terminated (?:with|by) signal 9|due to signal 9|error: Killed$).*|.*\(signal: 9, SIGKILL.*"
            r"|\S+: line \d+: +\d+ Killed .*|g?make(?:\[\d+\])?: \*\*\* .*\bKilled$)"
        ),
        explain=_killed,
    ),
    ErrorPattern(
        name="killed command",
        rank=Rank.DRIVER,
        hints=(b"sigkill", b"failed (signal: 9"),
        regex=re.compile(
            r".*?(?P<reason>[Cc]ommand '\['(?P<program>[^']+)'.* died with <Signals\.SIGKILL.*"
            r"|\S+ failed \(signal: 9.*)"
        ),
        explain=_killed,
    ),
    ErrorPattern(
        name="probe",
        rank=Rank.PROBE,
        hints=(b": error:", b": fatal error:"),
        regex=re.compile(rf"(?P<reason>(?:{_PROBE}).*error: .*)"),
    ),
    ErrorPattern(
        name="weak",
        rank=Rank.WEAK,
        hints=(b"error: ld returned", b"error: linker command failed", b" being treated as errors", b": *** ["),
        regex=re.compile(
            r"\s*(?P<reason>\S*: (?:error|fatal error): (?:ld returned \d+|linker command failed).*"
            r"|\S+: (?:error: )?(?:all|some) warnings being treated as errors.*|\S*make(?:\[\d+\])?: \*\*\* \[.*)"
        ),
    ),
    ErrorPattern(
        name="meson",
        rank=Rank.CONFIGURE,
        hints=(b": error: ",),
        regex=re.compile(rf"(?P<reason>{_AT} ERROR: .*)"),
    ),
    ErrorPattern(
        name="linker with a place",
        rank=Rank.COMPILER,
        hints=(b"undefined reference to", b"multiple definition of"),
        regex=re.compile(
            rf"(?P<reason>(?:{_LD})?(?:(?P<file>[^\s:]+):(?P<line>\d+): |\S.*?: )?"
            r"(?:more )?(?:undefined reference to|multiple definition of) .*)"
        ),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="linker",
        rank=Rank.COMPILER,
        hints=(
            b"ld: cannot ",
            b"lld: error:",
            b"ld: error:",
            b"ld: fatal",
            b"mold: ",
            b"undefined symbol",
            b"ld.bfd: ",
            b"ld.gold: ",
            b"relocation ",
            b"file not recognized",
            b"file in wrong format",
            b"hidden symbol ",
        ),
        regex=re.compile(
            rf"\s*(?:= note: )?(?P<reason>{_LD}(?!warning|.*\bwarning: |.*: in function )"
            r"(?:error: |fatal: |fatal error: |cannot |.*undefined symbol|.*: relocation |.*file not recognized"
            r"|.*file in wrong format|.*hidden symbol|.*: cannot ).*)"
        ),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="zig linker",
        rank=Rank.COMPILER,
        hints=(b"error: undefined symbol", b"error: unable to find ", b"error: unsupported linker arg"),
        regex=re.compile(
            r"\s*(?P<reason>error: (?:undefined symbol|unable to find .*\blibrary\b|unsupported linker arg).*)"
        ),
    ),
    ErrorPattern(
        name="compiler wrapper",
        rank=Rank.DRIVER,
        hints=(b"manywheels: error: ",),
        regex=re.compile(r"\s*(?P<reason>manywheels: error: .*)"),
    ),
    ErrorPattern(
        name="zig driver",
        rank=Rank.DRIVER,
        hints=(
            b"error: unknown clang option",
            b"error: unknown cpu",
            b"error: unable to parse target",
            b"error: libc of ",
        ),
        regex=re.compile(
            r"\s*(?P<reason>error: (?:unknown clang option|unknown CPU|unable to parse target query"
            r"|libc of the specified target).*)"
        ),
    ),
    ErrorPattern(
        name="compiler",  # gcc, g++, clang, zig cc, gas, nasm, swig, mypyc, gfortran's preprocessor
        rank=Rank.COMPILER,
        hints=(b": error:", b": fatal error:", b": internal compiler error:"),
        regex=re.compile(rf"\s*(?P<reason>{_AT} (?:[Ff]atal |internal compiler )?[Ee]rror: .*)"),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="compiler with parentheses",  # nvcc, icc
        rank=Rank.COMPILER,
        hints=(b"): error",),
        regex=re.compile(
            r"(?P<reason>(?P<file>[^\s:(][^:(]*)\((?P<line>\d+)(?:,(?P<column>\d+))?\): (?:catastrophic )?error\b.*)"
        ),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="assembler without a place",
        rank=Rank.COMPILER,
        hints=(b": fatal error: ",),
        regex=re.compile(r"(?P<reason>\S+\.[sS]: Fatal error: .*)"),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="cython",
        rank=Rank.COMPILER,
        hints=(b"error compiling cython file",),
        regex=re.compile(r"\s*(?P<reason>Error compiling Cython file):?"),
        explain=_cython,
    ),
    ErrorPattern(
        name="gfortran",
        rank=Rank.COMPILER,
        hints=(b"error: ",),
        regex=re.compile(r"(?P<reason>(?:Fatal )?Error: .*)"),
        preceded=_FORTRAN_PLACE,
        lead=_FORTRAN_LEAD,
        explain=_fortran,
    ),
    ErrorPattern(
        name="rustc",
        rank=Rank.COMPILER,
        hints=(b"error[", b"error: "),
        regex=re.compile(r"\s*(?P<reason>error(?:\[E\d+\])?: .*)"),
        followed=_RUST_PLACE,
        explain=_rust,
    ),
    ErrorPattern(
        name="cmake",
        rank=Rank.CONFIGURE,
        hints=(b"cmake error",),
        regex=re.compile(r"(?P<reason>CMake Error(?: at (?P<file>[^:]+):(?P<line>\d+) \(\w+\))?.*)"),
        explain=_cmake,
    ),
    ErrorPattern(
        name=RESOLUTION,
        rank=Rank.CONFIGURE,
        hints=(b"failed to resolve", b"no solution found", b"we can conclude", b"no matching distribution"),
        regex=re.compile(
            rf"{_UV_TREE}(?:ERROR: )?(?P<reason>(?:Failed to resolve requirements"
            r"|No solution found when resolving|Because |No matching distribution found for).*)"
        ),
        explain=_resolution,
    ),
    ErrorPattern(
        name="front end's file",  # uv's, of constraints and links
        rank=Rank.CONFIGURE,
        hints=(b"cause: file not found: ", b"failed to read `--find-links`"),
        regex=re.compile(rf"{_UV_TREE}(?P<reason>File not found: .*|Failed to read `--find-links` .*)"),
    ),
    ErrorPattern(
        name="network",
        rank=Rank.CONFIGURE,
        hints=(
            b"failed to fetch",
            b"failed to download",
            b"error sending request",
            b"dns error",
            b"could not resolve host",
        ),
        regex=re.compile(
            rf"{_UV_TREE}(?P<reason>(?:.*: )?(?:Failed to (?:fetch|download)|error sending request|dns error"
            r"|Could not resolve host).*)"
        ),
    ),
    ErrorPattern(
        name="driver",
        rank=Rank.DRIVER,
        hints=(b"error: ",),
        regex=re.compile(rf"\s*(?P<reason>{_DRIVER}(?:fatal |internal compiler )?error: .*)"),
    ),
    ErrorPattern(
        name="cargo",
        rank=Rank.WEAK,
        hints=(b"error: could not compile", b"error: linking with", b"maturin failed"),
        regex=re.compile(r"\s*(?P<reason>error: (?:could not compile|linking with).*|.*maturin failed.*)"),
    ),
    ErrorPattern(
        name="traceback",
        rank=Rank.TRACEBACK,
        hints=(b"traceback (most recent call last)",),
        regex=re.compile(r"\s*(?P<reason>Traceback \(most recent call last\)):"),
        explain=_traceback,
        last=True,
    ),
    ErrorPattern(
        name="failed command",  # setuptools, after the compiler's output
        rank=Rank.COMMAND,
        hints=(b"error: command ",),
        regex=re.compile(r"\s*(?P<reason>error: [Cc]ommand .*)"),
    ),
    ErrorPattern(
        name="failed backend",
        rank=Rank.FRONT_END,
        hints=(b"call to `",),
        regex=re.compile(rf"{_UV_TREE}(?P<reason>Call to `.*)"),
    ),
    ErrorPattern(
        name="headline",
        rank=Rank.HEADLINE,
        hints=(b"failed to build", b"the build backend returned", b"*** cmake "),
        regex=re.compile(
            rf"{_UV_TREE}(?P<reason>Failed to build .*|The build backend returned an error.*|\*\*\* CMake \w+ failed.*)"
        ),
    ),
    ErrorPattern(
        name="generic",
        rank=Rank.GENERIC,
        hints=(b"error: ", b"error ", b"error] ", b"fatal: "),
        regex=re.compile(
            r"\s{0,8}(?P<reason>(?:[\w.+-]{1,40}: )?(?:[Ee]rror|ERROR|[Ff]atal(?: error)?|FATAL): .*\w.*|ERROR +\S.*"
            r"|\[(?:ERROR|error)\] .*|error in .* setup command: .*)"
        ),
    ),
)
