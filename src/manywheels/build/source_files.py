"""Looking for files in a source by their names, within bounds and following no link."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.regular_files import open_regular
from manywheels.runtime.trees import Walk, walk

_MOST: Final = 100_000  # entries looked at
_NOT_ENTERED: Final = frozenset({".git", "node_modules", "site-packages"})
# What a back end compiles: C, C++, CUDA, Fortran, assembler, Cython, Rust, Go, D, Zig, and what other tools build from.
_COMPILED: Final = re.compile(
    r".+\.(?:[cCdfFmSs]|cc|cpp|cxx|c\+\+|cu|f\d\d|for|asm|pyx|rs|go|zig|mm|swig|i|sip|pyf|so|a|whl)"
    r"|CMakeLists\.txt|meson\.build|Cargo\.toml|configure(?:\.ac)?|[Mm]akefile|SConstruct|BUILD(?:\.bazel)?"
)


# What says in a build's own files that it compiles something: sources may be generated.
_COMPILES: Final = {
    "pyproject.toml": re.compile(
        rb"backend-path|ext[-_]modules|cffi|rust|cython|mypyc|hook|build-script|custom|poetry\.build", re.IGNORECASE
    ),
    "setup.cfg": re.compile(rb"cmdclass|ext[-_]modules", re.IGNORECASE),
    "setup.py": re.compile(rb"Extension|ext_modules|cffi|cmdclass", re.IGNORECASE),
}
_LONGEST: Final = 1 << 20  # bytes of such a file


def may_compile(folder: Path, cancellation: Cancellation) -> bool:
    """Whether anything in a package's folder may become machine code; so may what was not seen. Raises Cancelled."""
    for name, words in _COMPILES.items():
        with suppress(OSError), open_regular(folder / name, links=False) as file:
            if words.search(file.read(_LONGEST)):
                return True
    found, is_all = find(folder, _COMPILED, cancellation, most=1)
    return bool(found) or not is_all


def find(
    folder: Path, names: re.Pattern[str], cancellation: Cancellation, *, most: int = _MOST
) -> tuple[list[str], bool]:
    """Return files of these names below a folder, relative to it, about `most` of them, and whether that is all.

    Raises Cancelled.
    """
    found: list[str] = []
    left = _MOST

    def visit(at: Walk) -> list[str]:
        nonlocal left
        below = []
        with os.scandir(at.descriptor) as entries:
            for entry in entries:
                cancellation.stop_if_requested("Looking for files in the source")
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.name)
                elif names.fullmatch(entry.name):
                    found.append("/".join((*at.below_top, entry.name)))
        is_enough = left <= 0 or len(found) >= most
        return [] if is_enough else [name for name in below if name not in _NOT_ENTERED]

    try:
        walk(folder, visit)
    except OSError:
        return found, False
    return found, left > 0 and len(found) < most
