"""What a failure of the embedded compilers says of them, and what it does not say of a project's own faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manywheels.build.logs import telling_excerpt
from manywheels.build.logs.embedded import lacks_openmp, remedy
from manywheels.core.cancellation import Cancellation

if TYPE_CHECKING:
    from pathlib import Path


def remedy_for(folder: Path, text: str) -> str:
    (folder / "log").write_text(text + "\n")
    return remedy(telling_excerpt(folder / "log", Cancellation()))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("m.cpp:6:13: error: use of undeclared identifier 'stderr'", "#include <cstdio>"),
        ("m.cpp:6:13: error: use of undeclared identifier 'memcpy'", "#include <cstring>"),
        ("deps/x.h:6:13: error: unknown type name 'uint32_t'", "#include <cstdint>"),
        ("m.cc:1:6: error: no member named 'sort' in namespace 'std'", "#include <algorithm>"),
        ("m.cc:1:6: error: no template named 'function' in namespace 'std'", "#include <functional>"),
        ("m.cc:1:6: error: no type named 'string' in namespace 'std'", "#include <string>"),
        ("m.cc:1:6: error: implicit instantiation of undefined template 'std::basic_stringstream<char>'", ""),
        ("m.cc:1:6: error: implicit instantiation of undefined template 'std::array<int, 3>'", "#include <array>"),
        ("m.cpp:1:10: fatal error: 'bits/stdc++.h' file not found", "gcc's own"),
        ("m.cpp:1:10: fatal error: 'ext/pb_ds/assoc_container.hpp' file not found", "gcc's own"),
        ("m.c:1:10: fatal error: 'omp.h' file not found", "no OpenMP"),
        ("m.c:1:10: fatal error: 'quadmath.h' file not found", "gcc's own"),
        ("m.cpp:1:1: error: use of undeclared identifier '__gnu_cxx'", "gcc's own"),
        ("m.c:1:17: error: function definition is not allowed here", "gcc's own"),
        ("m.c:2:9: error: fields must have a constant size: 'variable length array in structure' ext", "gcc's own"),
        ('error: unable to find dynamic system library "gfortran" using strategy paths_first.', "gcc's own"),
        ("ld.lld: error: undefined symbol: __kmpc_fork_call", "no OpenMP"),
        ('error: unknown clang option: "-fplan9-extensions"', "leave it out"),
        ("manywheels: error: -m32: the embedded compilers cannot: use --engine container", "Leave that option"),
        ("error: libc of the specified target requires dynamic linking", "-static"),
        # Near misses: a project's own names and headers, C (whose headers are the same), and other tools' errors.
        ("m.cpp:6:13: error: use of undeclared identifier 'stderr_'", ""),
        ("m.cpp:6:13: error: use of undeclared identifier 'foo'", ""),
        ("m.c:6:13: error: use of undeclared identifier 'stderr'", ""),
        ("m.cpp:1:10: fatal error: 'spam/ext.h' file not found", ""),
        ("m.cpp:1:10: fatal error: 'Python.h' file not found", ""),
        ("cc -D_GLIBCXX_USE_CXX11_ABI=0 -c m.cpp\nm.cpp:1:1: error: expected ';'", ""),
        ('error: unable to find dynamic system library "spam" using strategy paths_first.', ""),
        ("ld.lld: error: undefined symbol: spam", ""),
    ],
)  # fmt: skip
def test_the_remedy_names_the_compilers_where_they_are_the_reason(text: str, told: str, tmp_path: Path) -> None:
    said = remedy_for(tmp_path, f"{text}\n1 error generated.\nerror: command '/tools/bin/cc' failed with exit code 1")
    assert told in said
    assert bool(told) == ("--engine container" in said)


def test_a_refusal_by_the_compiler_outranks_what_follows_from_it_but_no_real_error(tmp_path: Path) -> None:
    refusal = (
        "manywheels: error: -fopenmp: the embedded compilers (clang, zig) have no OpenMP: use --engine container\n"
    )
    for text in (refusal, f"{refusal}Traceback (most recent call last):\n  File 'x'\nRuntimeError: no\n"):
        (tmp_path / "log").write_text(text)
        assert telling_excerpt(tmp_path / "log", Cancellation()).reason == refusal.strip()
    (tmp_path / "log").write_text(f"{refusal}m.c:1:1: error: expected ';'\n")
    assert telling_excerpt(tmp_path / "log", Cancellation()).reason == "m.c:1:1: error: expected ';'"


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        ("-- Could NOT find OpenMP_C (missing: OpenMP_C_FLAGS OpenMP_C_LIB_NAMES)", True),
        ("Run-time dependency OpenMP found: NO (tried system)", True),
        ("Run-time dependency openmp for c found: NO", True),
        ("manywheels: error: -fopenmp: the embedded compilers have no OpenMP", True),
        ("checking for gcc option to support OpenMP... unsupported", True),
        ('-- Found OpenMP_C: -fopenmp (found version "5.1")', False),
        ("Run-time dependency OpenMP found: YES 5.1", False),
        ("checking for gcc option to support OpenMP... -fopenmp", False),
        ("-- Could NOT find OpenSSL", False),
    ],
)  # fmt: skip
def test_a_build_without_the_openmp_that_it_looked_for_is_noticed(line: str, lacks: int, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(f"running build\n{line}\ndone\n")
    assert lacks_openmp(tmp_path / "log", Cancellation()) == lacks
    assert not lacks_openmp(tmp_path / "none", Cancellation())
