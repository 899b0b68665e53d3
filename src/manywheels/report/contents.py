"""What is in a finished set, for people: each file's digest, the wheels' files as a tree, and their metadata.

Wheels of one project mostly have the same files: one tree stands for all that are alike, up to the names of extension
modules and libraries.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Final

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.core.markdown import code, fenced
from manywheels.errors import WheelFileError
from manywheels.wheels.archive import open_archive
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import MANIFEST

_MOST_FILES: Final = 300  # in a tree
_DEEPEST: Final = 12  # folders in one another
_LONGEST: Final = 100  # characters of a name
_LARGEST_METADATA: Final = 1 << 16  # bytes that are shown
_LARGEST_DIGESTS: Final = 1 << 16
# What differs between the wheels of one version: the interpreter's and the platform's part of a name, and a hash.
_VARYING: Final = re.compile(r"\.(cpython|pypy|graalpy)[\w-]*|-[0-9a-f]{8}(?=\.so)|\.abi3t?(?=\.so)")

Sizes = Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The files of some wheels, by name with their sizes in bytes, and the METADATA of the first wheel."""

    wheels: tuple[str, ...]
    files: Sizes
    metadata: str


def contents_of(manifest: Manifest, folder: Path, cancellation: Cancellation) -> list[Contents]:
    """Return the contents of the set's wheels in a folder, those alike together; unreadable ones are left out.

    Raises Cancelled.
    """
    alike: dict[bytes, Contents] = {}
    for name in [file.name for file in manifest.files if file.name.endswith(".whl")]:
        with suppress(OSError, WheelFileError, ValueError):
            found = _read(folder / name, cancellation)
            names = sorted(_VARYING.sub("", member) for member in found.files)
            key = hashlib.sha256("\n".join(names).encode("utf-8", "replace")).digest()
            first = alike.setdefault(key, found)
            if first is not found:
                alike[key] = replace(first, wheels=(*first.wheels, name))
    return list(alike.values())


def _read(path: Path, cancellation: Cancellation) -> Contents:
    """Raises OSError, WheelFileError, ValueError and Cancelled."""
    with open_archive(path, lambda: cancellation.stop_if_requested("Reading the wheels")) as archive:
        entries = [entry for entry in archive.entries if entry.is_readable and not entry.is_folder]
        declared = next((entry for entry in entries if entry.name.endswith(".dist-info/METADATA")), None)
        content = b""
        if declared and declared.size <= _LARGEST_METADATA:
            content = b"".join(archive.read(declared))
        files = {entry.name: entry.size for entry in entries}
        return Contents(wheels=(path.name,), files=files, metadata=content.decode("utf-8", "replace"))


def tree(files: Sizes) -> Iterator[str]:
    """Yield the lines of a tree: folders before what is in them, each file with its size.

    A file in too many folders stands in one line.
    """
    shown: list[str] = []
    for count, name in enumerate(sorted(files, key=lambda path: path.replace("/", "\0"))):
        if count == _MOST_FILES:
            yield f"and {len(files) - count} more files"
            return
        *folders, file = name.split("/", _DEEPEST)
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(shown, folders, strict=False)))
        for depth in range(common, len(folders)):
            yield f"{'  ' * depth}{text.shorten(folders[depth], _LONGEST)}/"
        shown = folders
        yield f"{'  ' * len(folders)}{text.shorten(file, _LONGEST)}  {text.size(files[name])}"


def digests(manifest: Manifest) -> str:
    """Return the files' sha256 as `sha256sum --check` reads them, in a fold of Markdown."""
    lines: list[str] = []
    size = 0
    for file in manifest.files:
        line = f"{file.sha256}  {file.name}"
        size += len(line.encode("utf-8", "replace"))
        if size > _LARGEST_DIGESTS:
            lines.append(f"and {len(manifest.files) - len(lines)} more files: see {MANIFEST}")
            break
        lines.append(line)
    return fold("sha256 of the files", [fenced(lines)]) if lines else ""


def described(found: Iterable[Contents]) -> Iterator[str]:
    """Yield a fold of Markdown for the contents of some wheels, with their metadata."""
    for contents in found:
        several = f" and {len(contents.wheels) - 1} more" if len(contents.wheels) > 1 else ""
        title = f"{code(contents.wheels[0])}{several}: {len(contents.files)} files"
        yield fold(title, [fenced(tree(contents.files)), fenced(contents.metadata.partition("\n\n")[0].splitlines())])


def fold(title: str, parts: Iterable[str]) -> str:
    """Return closed details; `title` is Markdown already."""
    inside = "\n\n".join(parts)
    return f"<details><summary>{title}</summary>\n\n{inside}\n\n</details>\n"
