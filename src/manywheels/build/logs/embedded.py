"""Failures whose reason is that the embedded compilers are clang, libc++ and lld, not gcc, libstdc++ and GNU ld.

To support another, add an entry to `_REASONS`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.build.logs.scan import contains

if TYPE_CHECKING:
    from manywheels.build.logs import Excerpt
    from manywheels.core.cancellation import Cancellation

CONTAINER: Final = "use --engine container, which has gcc and libstdc++"

# Names that libstdc++'s headers bring along more often than libc++'s.
_STANDARD_NAMES: Final = {
    "cstdio": "stderr stdout stdin FILE EOF f?puts? v?s?n?f?printf sscanf f?getc fopen fclose fread fwrite fflush",
    "cstdlib": "malloc calloc realloc free abort exit getenv atoi atof strto\\w+ s?rand system qsort EXIT_\\w+",
    "cstring": "mem(?:cpy|set|move|cmp|chr) str(?:len|n?cpy|n?cmp|n?cat|r?chr|str|tok|dup|error)",
    "cstdint": "u?int(?:_fast|_least)?(?:8|16|32|64)_t u?int(?:ptr|max)_t U?INT(?:8|16|32|64)_MAX SIZE_MAX UINTPTR_MAX",
    "cstddef": "size_t ptrdiff_t max_align_t nullptr_t byte",
    "climits": "(?:U?(?:CHAR|SHRT|INT|LONG|LLONG)|SCHAR)_(?:MAX|MIN) CHAR_BIT PATH_MAX",
    "cfloat": "(?:FLT|DBL|LDBL)_(?:MAX|MIN|EPSILON|DIG|MANT_DIG)",
    "cmath": "isnan isinf isfinite sqrt pow floor ceil round l?lround fabs fmod log2? exp2? sin cos M_PI",
    "cerrno": "errno E(?:INTR|AGAIN|INVAL|NOENT|RANGE|PERM|NOMEM|EXIST)",
    "ctime": "time clock clock_t time_t tm localtime gmtime strftime mktime CLOCKS_PER_SEC",
    "cctype": "is(?:alpha|digit|alnum|space|upper|lower|punct|print|xdigit) toupper tolower",
    "cwchar": "wcslen wcscpy wcscmp wmemcpy mbstowcs wcstombs",
    "cstdarg": "va_list va_start va_end",
    "cassert": "assert",
    "string": "basic_string w?string u(?:8|16|32)string to_string sto(?:i|l|ul|ll|ull|f|d|ld) char_traits getline",
    "string_view": "w?string_view basic_string_view",
    "vector": "vector",
    "array": "array",
    "map": "(?:multi)?map",
    "set": "(?:multi)?set",
    "unordered_map": "unordered_(?:multi)?map",
    "unordered_set": "unordered_(?:multi)?set",
    "list": "list",
    "deque": "deque",
    "queue": "queue priority_queue",
    "algorithm": "(?:stable_)?sort min max minmax clamp find(?:_if)?(?:_not)? copy(?:_n|_if)? fill(?:_n)? transform"
    " remove(?:_if)? reverse unique lower_bound upper_bound (?:all|any|none)_of count(?:_if)? equal for_each",
    "numeric": "accumulate iota inner_product partial_sum gcd lcm",
    "functional": "function bind ref cref hash less greater plus minus multiplies not_fn invoke placeholders",
    "memory": "(?:unique|shared|weak)_ptr make_unique make_shared allocator addressof enable_shared_from_this",
    "utility": "move forward pair make_pair swap exchange declval",
    "tuple": "tuple tie make_tuple get",
    "optional": "optional nullopt",
    "variant": "variant visit monostate",
    "iterator": "back_inserter inserter distance advance next prev ostream_iterator \\w+_iterator_tag iterator_traits",
    "limits": "numeric_limits",
    "stdexcept": "runtime_error logic_error invalid_argument out_of_range length_error",
    "exception": "exception terminate exception_ptr current_exception",
    "new": "bad_alloc nothrow",
    "type_traits": "enable_if(?:_t)? is_same(?:_v)? decay(?:_t)? conditional(?:_t)? is_\\w+ remove_\\w+",
    "typeinfo": "type_info bad_cast",
    "initializer_list": "initializer_list",
    "iostream": "cout cerr cin clog endl",
    "ostream": "ostream",
    "istream": "istream",
    "sstream": "[io]?stringstream stringbuf",
    "fstream": "[io]?fstream filebuf",
    "iomanip": "setw setprecision setfill",
    "atomic": "atomic(?:_\\w+)? memory_order\\w*",
    "mutex": "(?:recursive_|timed_)?mutex lock_guard unique_lock scoped_lock once_flag call_once",
    "thread": "thread this_thread",
    "condition_variable": "condition_variable",
    "future": "future promise async packaged_task",
    "chrono": "chrono",
    "complex": "complex",
    "random": "mt19937(?:_64)? random_device \\w+_distribution",
    "bitset": "bitset",
    "ratio": "ratio",
}
_HEADER_OF: Final = tuple(
    (header, re.compile(f"(?:{'|'.join(names.split())})")) for header, names in _STANDARD_NAMES.items()
)
_UNKNOWN_NAME: Final = re.compile(
    r".*(?:use of undeclared identifier|unknown (?:type|template|class) name|no (?:member|template|type) named"
    r"|no type or template named) '(?:::)?(?:std::)?(?P<name>\w+)'"
    r"|.*implicit instantiation of undefined template '(?:const )?std::(?P<template>\w+)<"
)
_IN_C: Final = re.compile(r"[^\s:]+\.[ciS]:\d+:")

_HEADERS_OF_GCC: Final = "bits/|ext/|tr1/|tr2/|parallel/|backward/|debug/|experimental/|quadmath.h"
_LIBRARIES_OF_GCC: Final = "gfortran|quadmath|stdc\\+\\+fs|stdc\\+\\+_libbacktrace|stdc\\+\\+exp|itm|asan|ubsan|gcov"
_SYMBOLS_OF_GCC: Final = "_gfortran_|__gcov_|std::__cxx11::|std::__detail::|__gnu_cxx::"
_EXTENSIONS_OF_GCC: Final = (
    r"[^\s:]+\.[ch]:\d+:\d+: error: function definition is not allowed here|.*use of unknown builtin '__builtin"
    r"|.*undeclared identifier '__(?:builtin|atomic|sync)|.*variable length array in structure"
    r"|.*__float128 is not supported"
    r"|.*global register variables are not supported|.*unknown register name|.*invalid instruction mnemonic"
    r"|.*error: (?:unsupported inline asm|invalid (?:out|in)put constraint|cannot jump from this asm goto)"
)
_OPTIONS_OF_GCC: Final = (
    r".*error: (?:unknown clang option|unsupported linker (?:arg|extension flag)|unsupported option '|unknown CPU"
    r"|unable to parse target query|the clang compiler does not support)"
)
_REASONS: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in {
        "manywheels: error: .*use --engine container": "Leave that option out, or use --engine container.",
        r".*(?:'omp\.h' file not found|undefined symbol: (?:__kmpc|omp_|GOMP_)|library [\"'](?:gomp|omp|iomp5)[\"'])": (
            f"The embedded compilers have no OpenMP: {CONTAINER}, or build without OpenMP."
        ),
        f".*'(?:{_HEADERS_OF_GCC})[^']*' file not found": (
            f"This header is gcc's own, and the embedded compilers are clang with libc++: {CONTAINER}."
        ),
        f".*'(?:__gnu_\\w+|_GLIBCXX_\\w+)|.*library [\"'](?:{_LIBRARIES_OF_GCC})[\"']|{_EXTENSIONS_OF_GCC}": (
            f"The embedded compilers are clang with libc++, and this is gcc's own: {CONTAINER}."
        ),
        f".*undefined symbol: (?:{_SYMBOLS_OF_GCC})": (
            f"Something here was compiled by gcc, whose libraries the embedded compilers do not have: {CONTAINER}."
        ),
        _OPTIONS_OF_GCC: (
            f"gcc takes this option and the embedded compiler (clang, in zig) does not: leave it out, or {CONTAINER}."
        ),
        ".*libc of the specified target requires dynamic linking": (
            f"The embedded compilers have glibc as a shared library only: leave -static out, or {CONTAINER}."
        ),
    }.items()
)

_NO_OPENMP: Final = re.compile(
    rb"Could NOT find OpenMP|[Dd]ependency [Oo]pen[Mm][Pp](?: for [\w+]+)? found: .{0,20}NO|error: -fopenmp"
    rb"|'omp\.h' file not found|[Oo]pen[Mm][Pp].{0,40}\.\.\. (?:no|unsupported)\b"
)
WITHOUT_OPENMP: Final = (
    "The build asked for OpenMP, which the embedded compilers do not have, and went on without: the wheel may be "
    "slower than the one that --engine container makes."
)


def remedy(excerpt: Excerpt) -> str:
    """Return what to do if gcc would take what failed here; empty if that is not known."""
    for line in (excerpt.reason, *excerpt.lines):
        for pattern, text in _REASONS:
            if pattern.match(line):
                return text
        if text := _missing_header(line):
            return text
    return ""


def _missing_header(line: str) -> str:
    """In C the headers are the same as gcc's, those of glibc."""
    found = None if _IN_C.match(line) else _UNKNOWN_NAME.match(line)
    name = (found["name"] or found["template"]) if found else ""
    header = next((header for header, names in _HEADER_OF if name and names.fullmatch(name)), "")
    if not header:
        return ""
    return (
        "The embedded compilers are clang with libc++, whose headers include fewer others than those of gcc's "
        f"libstdc++: add `#include <{header}>` to that file, or use --engine container."
    )


def lacks_openmp(log: Path, cancellation: Cancellation) -> bool:
    """Whether a build that succeeded says that it found no OpenMP."""
    return contains(log, _NO_OPENMP, cancellation)
