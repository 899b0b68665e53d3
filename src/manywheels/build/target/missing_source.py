"""Whether a build failed for a file of the source that its copy does not have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.errors import TargetError
from manywheels.runtime.left_out import find_in
from manywheels.runtime.workspace import Snapshot

_NAME: Final = r"[^\s'\"`:,;<>()]{1,500}"
_FILES: Final = (
    re.compile(rf"['\"`<]({_NAME})['\"`>] (?:file )?not found"),  # clang
    re.compile(rf"({_NAME})['\"`]?: No such file or directory"),  # gcc, the shell, cp
    re.compile(rf"No such file or directory: b?['\"]({_NAME})['\"]"),  # Python
    re.compile(rf"No rule to make target ['\"`]({_NAME})['\"]"),
    re.compile(rf"(?i)(?:can't|cannot|could not|couldn't) (?:find|open|read|load)(?: \w+){{0,3}}:? ['\"`]?({_NAME})"),
)
_LIBRARIES: Final = re.compile(
    rf"(?:find|library not found for) -l({_NAME})|find \w+ system library ['\"]({_NAME})['\"]"
)
_MOST_NAMES: Final = 20


def explain_missing_source(failure: TargetError, snapshot: Snapshot, cancellation: Cancellation) -> None:
    """Say in the remedy, if there is no better one, that a missing file is in a place that was not copied."""
    if failure.remedy or not snapshot.left_out:
        return
    names = list(dict.fromkeys(_missing_names([failure.message, *failure.excerpt])))[:_MOST_NAMES]
    if found := find_in(snapshot.left_out, names, cancellation):
        file, place = found
        failure.remedy = (
            f"`{file}` exists, but `{place}` is not copied for builds. Put the file into the package's folder, or have "
            "git track it; without git, start manywheels in a folder that holds the package and the file."
        )


def _missing_names(lines: Iterable[str]) -> Iterator[PurePosixPath]:
    for line in lines:
        for pattern in _FILES:
            yield from (PurePosixPath(os.path.normpath(match[1])) for match in pattern.finditer(line))
        for match in _LIBRARIES.finditer(line):
            name = match[1] or match[2]
            yield from (PurePosixPath(f"lib{name}.so"), PurePosixPath(f"lib{name}.a"))
