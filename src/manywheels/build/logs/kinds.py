"""What failures look like in a log: one entry for each way in which tools report them, ranked.

Adding a compiler is adding an entry to `PATTERNS`; the first entry that matches a line claims it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

COLUMNS: Final = 500  # characters of a line that are shown
_PARAGRAPH: Final = 300  # characters of a wrapped message that still make one line


@dataclass(frozen=True, kw_only=True)
class Location:
    """A place in a source file, as the compiler named it: lines and columns count from 1."""

    file: str
    line: int
    column: int | None = None


class Rank(IntEnum):
    """How well a kind of report explains a failure: the lowest wins."""

    PARDON = -1  # what failed so far was allowed to
    MACHINE = 0  # the disk is full: every other error follows from that
    COMPILER = 1
    CONFIGURE = 2
    DRIVER = 3
    TRACEBACK = 4
    GENERIC = 5
    WEAK = 6  # says that a step failed, after the step has said why
    PROBE = 7  # a configure test that may fail
    COMMAND = 8
    FRONT_END = 9
    HEADLINE = 10
    NOTHING = 11


@dataclass(kw_only=True)
class PatternMatch:
    """A report in the log with its neighbourhood. `after` begins with its own line and grows as the log is read."""

    kind: ErrorPattern
    match: re.Match[str]
    start: int  # in the block that is being read
    number: int = 0
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)


_Telling = tuple[str, Location | None]


@dataclass(frozen=True, kw_only=True)
class ErrorPattern:
    """One way of reporting a failure.

    `hints` are lowercase bytes, one of which stands in every such line: they make the search fast. `pattern` is
    matched at the line's start; its group `reason` is what to tell, `file`, `line` and `column` say where. `preceded`
    and `followed` must match one of the six lines before, or of the three after. `lead` matches the lines directly
    before that belong to the report.
    """

    name: str
    rank: Rank
    hints: tuple[bytes, ...]
    pattern: re.Pattern[str]
    preceded: re.Pattern[str] | None = None
    followed: re.Pattern[str] | None = None
    lead: re.Pattern[str] | None = None
    telling: Callable[[PatternMatch], _Telling] | None = None
    last: bool = False


def _one_line(text: str) -> str:
    return " ".join(text.split())[:COLUMNS]


def _place(match: re.Match[str] | None) -> Location | None:
    """Return the location in the groups of `match`, if it has them; columns that count from 0 are left out."""
    groups = match.groupdict() if match else {}
    if not groups.get("file") or not groups.get("line"):
        return None
    return Location(file=groups["file"], line=int(groups["line"]), column=int(groups.get("column") or 0) or None)


def matched(sighting: PatternMatch) -> _Telling:
    """Tell what the entry's own pattern matched."""
    return _one_line(sighting.match["reason"]), _place(sighting.match)


def _killed(sighting: PatternMatch) -> _Telling:
    program = sighting.match.groupdict().get("program") or "the compiler"
    return f"{program} was killed, probably out of memory: {matched(sighting)[0]}"[:COLUMNS], None


_CYTHON_PLACE: Final = re.compile(r"(?P<file>\S[^:]*\.(?:pyx|pxd|pxi|py)):(?P<line>\d+):(?P<column>\d+): \S.*")


def _cython(sighting: PatternMatch) -> _Telling:
    for line in sighting.after:
        if match := _CYTHON_PLACE.match(line):
            return _one_line(match[0]), _place(match)
    return matched(sighting)


_RUST_PLACE: Final = re.compile(r"\s*--> (?P<file>[^:]+):(?P<line>\d+):(?P<column>\d+)")


def _rust(sighting: PatternMatch) -> _Telling:
    place = next((_place(match) for line in sighting.after[:4] if (match := _RUST_PLACE.match(line))), None)
    reason = matched(sighting)[0]
    return (f"{place.file}:{place.line}:{place.column}: {reason}" if place else reason), place


_FORTRAN_PLACE: Final = re.compile(r"(?P<file>\S[^:]*\.(?i:f|for|ftn|fpp|f\d\d)):(?P<line>\d+):(?P<column>\d+):$")


def _fortran(sighting: PatternMatch) -> _Telling:
    places = (_FORTRAN_PLACE.match(line) for line in reversed(sighting.before))
    match = next((match for match in places if match), None)
    return _one_line(f"{match[0] if match else ''} {sighting.match['reason']}"), _place(match)


_CMAKE_CALLER: Final = re.compile(r"  (?P<file>\S.*):(?P<line>\d+) \(\w+\)$")


def _cmake(sighting: PatternMatch) -> _Telling:
    """Tell the first paragraph; the outermost caller is the project's own line, the innermost is often CMake's."""
    place, paragraph = _place(sighting.match), []
    rest = sighting.after[1:]
    for line in rest:
        if not line.startswith("  ") or _CMAKE_CALLER.match(line):
            break
        paragraph.append(line)
    if "Call Stack (most recent call first):" in rest:
        for line in rest[rest.index("Call Stack (most recent call first):") + 1 :]:
            if not (match := _CMAKE_CALLER.match(line)):
                break
            place = _place(match)
    return _one_line(" ".join([sighting.match["reason"], *paragraph])), place


_UV_TREE: Final = r"\s*(?:[×├╰│─▶]+ *|error: |cause: |Caused by: )*"  # noqa: RUF001 - uv draws it
_BECAUSE: Final = re.compile(rf"{_UV_TREE}(?P<reason>Because .*)")
_UV_STEP: Final = re.compile(rf"{_UV_TREE}(?P<reason>No solution found .*)")


def _resolution(sighting: PatternMatch) -> _Telling:
    """Tell uv's explanation where it is short; the long ones list every version there is."""
    reason = matched(sighting)[0]
    for index, line in enumerate(sighting.after):
        if step := _UV_STEP.match(line):
            reason = _one_line(step["reason"])
        if because := _BECAUSE.match(line):
            rest = sighting.after[index + 1 :]
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
    """Return the index of the line with the exception, None where the traceback is cut off."""
    indent = len(lines[0]) - len(lines[0].lstrip())
    return next((n for n, line in enumerate(lines) if n and not _FRAGMENT.match(line[indent:])), None)


def _traceback(sighting: PatternMatch) -> _Telling:
    end = traceback_end(sighting.after)
    reason = _one_line(sighting.after[end]) if end else matched(sighting)[0]
    place = None
    # Only a syntax error is at fault where it is reported; the frames of other exceptions are the backend's.
    if end and reason.startswith(("SyntaxError", "IndentationError", "TabError")):
        frames = [match for line in sighting.after[:end] if (match := re.match(r'\s*File "', line))]
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

KILLED: Final = frozenset({"killed compiler", "killed command"})  # what the kernel does where memory runs out

# The first entry that matches a line claims it, so narrow entries stand before wide ones.
PATTERNS: Final = (
    ErrorPattern(
        name="optional extension",
        rank=Rank.PARDON,
        hints=(b"building extension", b"could not be compiled", b"compile optional"),
        pattern=re.compile(
            r"(?P<reason>.*building extension \"[^\"]*\" failed.*"
            r"|.*(?i:extensions? could not be compiled|failed to compile optional).*)"
        ),
    ),
    ErrorPattern(
        name="disk full",
        rank=Rank.MACHINE,
        hints=(b"no space left on device", b"disk quota exceeded"),
        pattern=re.compile(r"(?P<reason>.*\b(?:No space left on device|Disk quota exceeded)\b.*)"),
    ),
    ErrorPattern(
        name="killed compiler",
        rank=Rank.COMPILER,
        hints=(b"killed", b"signal 9", b"signal: 9"),
        pattern=re.compile(
            r"\s*(?P<reason>Killed(?: \S{1,40})?$"
            r"|.*\b(?:error: Killed(?: signal terminated)? \(?program (?P<program>[^\s)]+)|command: Killed"
            r"|terminated (?:with|by) signal 9|due to signal 9|error: Killed$).*|.*\(signal: 9, SIGKILL.*"
            r"|\S+: line \d+: +\d+ Killed .*|g?make(?:\[\d+\])?: \*\*\* .*\bKilled$)"
        ),
        telling=_killed,
    ),
    ErrorPattern(
        name="killed command",
        rank=Rank.DRIVER,
        hints=(b"sigkill", b"failed (signal: 9"),
        pattern=re.compile(
            r".*?(?P<reason>[Cc]ommand '\['(?P<program>[^']+)'.* died with <Signals\.SIGKILL.*"
            r"|\S+ failed \(signal: 9.*)"
        ),
        telling=_killed,
    ),
    ErrorPattern(
        name="probe",
        rank=Rank.PROBE,
        hints=(b": error:", b": fatal error:"),
        pattern=re.compile(rf"(?P<reason>(?:{_PROBE}).*error: .*)"),
    ),
    ErrorPattern(
        name="weak",
        rank=Rank.WEAK,
        hints=(b"error: ld returned", b"error: linker command failed", b" being treated as errors", b": *** ["),
        pattern=re.compile(
            r"\s*(?P<reason>\S*: (?:error|fatal error): (?:ld returned \d+|linker command failed).*"
            r"|\S+: (?:error: )?(?:all|some) warnings being treated as errors.*|\S*make(?:\[\d+\])?: \*\*\* \[.*)"
        ),
    ),
    ErrorPattern(
        name="meson",
        rank=Rank.CONFIGURE,
        hints=(b": error: ",),
        pattern=re.compile(rf"(?P<reason>{_AT} ERROR: .*)"),
    ),
    ErrorPattern(
        name="linker with a place",
        rank=Rank.COMPILER,
        hints=(b"undefined reference to", b"multiple definition of"),
        pattern=re.compile(
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
        pattern=re.compile(
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
        pattern=re.compile(
            r"\s*(?P<reason>error: (?:undefined symbol|unable to find .*\blibrary\b|unsupported linker arg).*)"
        ),
    ),
    ErrorPattern(
        name="compiler",  # gcc, g++, clang, zig cc, gas, nasm, swig, mypyc, gfortran's preprocessor
        rank=Rank.COMPILER,
        hints=(b": error:", b": fatal error:", b": internal compiler error:"),
        pattern=re.compile(rf"\s*(?P<reason>{_AT} (?:[Ff]atal |internal compiler )?[Ee]rror: .*)"),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="compiler with parentheses",  # nvcc, icc
        rank=Rank.COMPILER,
        hints=(b"): error",),
        pattern=re.compile(
            r"(?P<reason>(?P<file>[^\s:(][^:(]*)\((?P<line>\d+)(?:,(?P<column>\d+))?\): (?:catastrophic )?error\b.*)"
        ),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="assembler without a place",
        rank=Rank.COMPILER,
        hints=(b": fatal error: ",),
        pattern=re.compile(r"(?P<reason>\S+\.[sS]: Fatal error: .*)"),
        lead=_GCC_LEAD,
    ),
    ErrorPattern(
        name="cython",
        rank=Rank.COMPILER,
        hints=(b"error compiling cython file",),
        pattern=re.compile(r"\s*(?P<reason>Error compiling Cython file):?"),
        telling=_cython,
    ),
    ErrorPattern(
        name="gfortran",
        rank=Rank.COMPILER,
        hints=(b"error: ",),
        pattern=re.compile(r"(?P<reason>(?:Fatal )?Error: .*)"),
        preceded=_FORTRAN_PLACE,
        lead=_FORTRAN_LEAD,
        telling=_fortran,
    ),
    ErrorPattern(
        name="rustc",
        rank=Rank.COMPILER,
        hints=(b"error[", b"error: "),
        pattern=re.compile(r"\s*(?P<reason>error(?:\[E\d+\])?: .*)"),
        followed=_RUST_PLACE,
        telling=_rust,
    ),
    ErrorPattern(
        name="cmake",
        rank=Rank.CONFIGURE,
        hints=(b"cmake error",),
        pattern=re.compile(r"(?P<reason>CMake Error(?: at (?P<file>[^:]+):(?P<line>\d+) \(\w+\))?.*)"),
        telling=_cmake,
    ),
    ErrorPattern(
        name="dependency resolution",
        rank=Rank.CONFIGURE,
        hints=(b"failed to resolve", b"no solution found", b"we can conclude", b"no matching distribution"),
        pattern=re.compile(
            rf"{_UV_TREE}(?:ERROR: )?(?P<reason>(?:Failed to resolve requirements"
            r"|No solution found when resolving|Because |No matching distribution found for).*)"
        ),
        telling=_resolution,
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
        pattern=re.compile(
            rf"{_UV_TREE}(?P<reason>(?:.*: )?(?:Failed to (?:fetch|download)|error sending request|dns error"
            r"|Could not resolve host).*)"
        ),
    ),
    ErrorPattern(
        name="driver",
        rank=Rank.DRIVER,
        hints=(b"error: ",),
        pattern=re.compile(rf"\s*(?P<reason>{_DRIVER}(?:fatal |internal compiler )?error: .*)"),
    ),
    ErrorPattern(
        name="cargo",
        rank=Rank.WEAK,
        hints=(b"error: could not compile", b"error: linking with", b"maturin failed"),
        pattern=re.compile(r"\s*(?P<reason>error: (?:could not compile|linking with).*|.*maturin failed.*)"),
    ),
    ErrorPattern(
        name="traceback",
        rank=Rank.TRACEBACK,
        hints=(b"traceback (most recent call last)",),
        pattern=re.compile(r"\s*(?P<reason>Traceback \(most recent call last\)):"),
        telling=_traceback,
        last=True,
    ),
    ErrorPattern(
        name="failed command",  # setuptools, after the compiler's own words
        rank=Rank.COMMAND,
        hints=(b"error: command ",),
        pattern=re.compile(r"\s*(?P<reason>error: [Cc]ommand .*)"),
    ),
    ErrorPattern(
        name="failed backend",
        rank=Rank.FRONT_END,
        hints=(b"call to `",),
        pattern=re.compile(rf"{_UV_TREE}(?P<reason>Call to `.*)"),
    ),
    ErrorPattern(
        name="headline",
        rank=Rank.HEADLINE,
        hints=(b"failed to build", b"the build backend returned", b"*** cmake "),
        pattern=re.compile(
            rf"{_UV_TREE}(?P<reason>Failed to build .*|The build backend returned an error.*|\*\*\* CMake \w+ failed.*)"
        ),
    ),
    ErrorPattern(
        name="generic",
        rank=Rank.GENERIC,
        hints=(b"error: ", b"error ", b"error] ", b"fatal: "),
        pattern=re.compile(
            r"\s{0,8}(?P<reason>(?:[\w.+-]{1,40}: )?(?:[Ee]rror|ERROR|[Ff]atal(?: error)?|FATAL): .*\w.*|ERROR +\S.*"
            r"|\[(?:ERROR|error)\] .*|error in .* setup command: .*)"
        ),
    ),
)
