"""Preprocessed texts: whether one alone decides what is compiled, and the names of files in it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

import pytest

from manywheels.build.compiler_cache.commands import Compilation, is_self_contained, read_command, without_places
from manywheels.build.compiler_cache.server import Unit
from manywheels.build.compilers.compiler import Compiler


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"int a;\n", True),
        (b'# 1 "unit.c"\n#pragma once\n # ident "x"\n#line 3\n#   7\n', True),
        (b'char *a = "#include";\n', True),  # not where a directive begins
        (b'asm("mov r0, #4"); // # include\n', True),
        (b"#include <a.h>\n", False),
        (b'int a;\n \t# \tinclude "a.h"\n', False),
        (b'char *a = "#x";\n#embed "a"\n', False),
        (b'char *a = "#x";\n#define a\n', False),
        (b"#pragmatic\n", False),
        (b"#", False),
        (b'asm(".incbin \\"a\\"");\n', False),
    ],
)
def test_a_text_with_directives_is_the_targets_own(text: bytes, expected: bool) -> None:  # noqa: FBT001
    assert is_self_contained(text) is expected


@dataclass(frozen=True)
class _Mapped:
    def mapped(self, name: str) -> str:
        return name.replace("/work/target", ".")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", b""),
        (b"\n\nint a;", b"\n\nint a;"),
        (b'# 1 "/work/target/a.c"\nint a;\n', b'# 1 "./a.c"\nint a;\n'),
        (b'\n# 1 "/work/target/a.c" 2 3\n# 7 "/work/target/b.c"\n', b'\n# 1 "./a.c" 2 3\n# 7 "./b.c"\n'),
        (b'# 1 "/work/target/\\"a\\\\.c"\n', b'# 1 "./\\"a\\\\.c"\n'),
        (b'# 1 "/work/target/\xff"\n', b'# 1 "./\xff"\n'),
        (b' # 1 "/work/target/a.c"\n', b' # 1 "/work/target/a.c"\n'),
        (b'# 1 "/work/target/a.c\n"', b'# 1 "/work/target/a.c\n"'),
        (b'char *a = "# 1 \\"/work/target\\"";', b'char *a = "# 1 \\"/work/target\\"";'),
    ],
)
def test_files_have_the_names_that_the_object_has(text: bytes, expected: bytes) -> None:
    assert without_places(text, cast("Compilation", _Mapped())) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/work/cp312/source/a.c", "./source/a.c"),
        ("/work/cp312/tmp/tmpqwhcb_4f/build/a.h", "./tmp/build/a.h"),
        ("/work/cp312/tmp/pip-req-build-1x/a.c", "./tmp/a.c"),
        ("/work/cp312/tmp/tmpqwhcb_4f", "./tmp"),
        ("/work/cp312/source/.mesonpy-a1b2c3_4/src/a.c", "./source/.mesonpy/src/a.c"),
        ("/work/cp312/source/.mesonpy-a1b2c3_4", "./source/.mesonpy"),
        ("/work/cp312/source/build/temp.linux-x86_64-cpython-312/a.h", "./source/build/temp.linux-x86_64-python/a.h"),
        ("/work/cp312/source/build/temp.linux-x86_64-cpython-313t", "./source/build/temp.linux-x86_64-python"),
        ("/work/cp312/source/build/temp.linux-x86_64-pypy311/a.h", "./source/build/temp.linux-x86_64-python/a.h"),
        ("/work/cp312/source/build/cp312-cp312-linux_x86_64/a.h", "./source/build/python-linux_x86_64/a.h"),
        ("/work/cp312/source/build/cp39-abi3-linux_x86_64/a.h", "./source/build/python-linux_x86_64/a.h"),
        (
            "/work/cp312/source/_skbuild/linux-x86_64-3.12/cmake-build/a.h",
            "./source/_skbuild/linux-python/cmake-build/a.h",
        ),
        ("/work/cp312/source/build/pp311-pypy311_pp73-linux_x86_64/a.h", "./source/build/python-linux_x86_64/a.h"),
        ("/work/cp312/source/cpython-3120/a.h", "./source/cpython-3120/a.h"),
        ("/work/cp312/source/mycpython-312/a.h", "./source/mycpython-312/a.h"),
        ("/work/cp312/source/tmp/tmpqwhcb_4f/a.h", "./source/tmp/tmpqwhcb_4f/a.h"),
        ("/elsewhere/tmp/tmpqwhcb_4f/a.h", "/elsewhere/tmp/tmpqwhcb_4f/a.h"),
    ],
)
def test_names_of_the_folders_that_back_ends_build_in_do_not_separate(path: str, expected: str) -> None:
    compilation = read_command(
        Clang(("/usr/bin/clang",), False),  # noqa: FBT003
        ("-ffile-prefix-map=/work/=.", "-ffile-prefix-map=/work/cp312/=./", "-c", "a.c"),
    )
    assert compilation is not None
    assert compilation.mapped(path) == expected


class Clang(Compiler):
    """A clang that need not be here."""

    @cached_property
    def version(self) -> str:
        return "clang version 22"


@pytest.mark.parametrize(
    ("options", "is_for_lto"),
    [
        ((), False), (("-flto",), True), (("-flto=thin",), True), (("-flto=auto", "-O2"), True),
        (("-flto", "-fno-lto"), False), (("-fno-lto", "-flto"), True),
    ],
)  # fmt: skip
def test_llvms_linker_tells_units_apart_by_their_names(options: tuple[str, ...], *, is_for_lto: bool) -> None:
    compilation = read_command(Clang(("/usr/bin/clang++",), True), (*options, "-c", "spam.cpp"))  # noqa: FBT003
    assert compilation is not None
    names = {
        Unit(compilation=compilation, folder="/", text=text, identity=b"").name for text in (b"int a;\n", b"int b;\n")
    }
    assert compilation.is_for_lto is is_for_lto
    assert (len(names) == 2) is is_for_lto
    assert is_for_lto or names == {"unit.cpp"}
