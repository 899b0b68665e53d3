"""Preprocessed texts: whether one alone decides what is compiled, and the names of files in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from manywheels.build.compiler_cache.commands import Compilation, is_self_contained, without_places


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
