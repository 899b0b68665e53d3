"""A compiler that wrappers start."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from manywheels.build.compilers.wrappers import first_line


@dataclass(frozen=True)
class Compiler:
    """`command` is how each command line of it begins: the program's path, and words that it always gets."""

    command: tuple[str, ...]
    is_cxx: bool

    @cached_property
    def version(self) -> str:
        """The first line that `--version` prints."""
        program, *words = self.command
        return first_line(Path(program), *words, "--version")

    @property
    def is_clang(self) -> bool:
        return "clang" in self.version
