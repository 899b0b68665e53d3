"""Encrypted Python code, by the marks that the index looks for (data/index.toml)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import PurePosixPath

from manywheels.data import table


def is_searched(name: str, size: int) -> bool:
    """Whether the index looks into a member of this name and size (bytes)."""
    facts = table("index")["encrypted"]
    return size <= facts["largest"] and PurePosixPath(name).suffix.lower() in facts["suffixes"]


def encrypted_by(content: bytes) -> str | None:
    """Return the name of the program whose mark is in a file, also in its comments."""
    for program, some, every in _marks():
        if any(mark in content for mark in some) or (every and all(mark in content for mark in every)):
            return program
    return None


@cache
def _marks() -> tuple[tuple[str, tuple[bytes, ...], tuple[bytes, ...]], ...]:
    programs: dict[str, dict[str, list[str]]] = table("index")["encrypted"]["by"]
    return tuple((name, _encoded(marks, "any"), _encoded(marks, "all")) for name, marks in programs.items())


def _encoded(marks: Mapping[str, Iterable[str]], which: str) -> tuple[bytes, ...]:
    return tuple(mark.encode() for mark in marks.get(which, ()))
