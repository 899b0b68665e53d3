"""Which compiler it was: objects are kept for later runs, in which the same path may lead to another one."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Final

from manywheels import __version__
from manywheels.build.compilers.compiler import Compiler
from manywheels.build.compilers.wrappers import first_line
from manywheels.core.files import digest_file

# The programs that gcc starts, which decide more of an object than gcc itself.
_PARTS: Final = ("cc1", "cc1plus", "as")
_known: dict[Compiler, bytes] = {}
_one_at_a_time = threading.Lock()


def identity_of(compiler: Compiler) -> bytes:
    """Return a digest of the compiler's own files and version."""
    with _one_at_a_time:
        if compiler not in _known:
            _known[compiler] = _identity(compiler)
        return _known[compiler]


def _identity(compiler: Compiler) -> bytes:
    digest = hashlib.sha256(f"{__version__}\n{compiler.version}\n".encode())
    program = Path(compiler.command[0])
    parts = [] if compiler.is_clang else [Path(first_line(program, f"-print-prog-name={part}")) for part in _PARTS]
    for path in (program, *parts):
        if path.is_absolute() and path.is_file():
            digest.update(digest_file(path).encode())
    return digest.digest()
