"""What is in a finished set, for people: each file's digest, the wheels' files as a tree, and their metadata.

Wheels of one project mostly have the same files: one tree stands for all that are alike, up to the names of extension
modules and libraries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core import text
from manywheels.core.markdown import code, fenced
from manywheels.errors import WheelFileError
from manywheels.wheels.archive import open_archive
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.output import MANIFEST

_MOST_FILES: Final = 300  # lines of a tree
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


def contents_of(manifest: Manifest, folder: Path) -> list[Contents]:
    """Return the contents of the set's wheels in a folder, those alike together; unreadable ones are left out."""
    alike: dict[frozenset[str], list[tuple[str, Sizes, str]]] = {}
    for name in [file.name for file in manifest.files if file.name.endswith(".whl")]:
        with suppress(OSError, WheelFileError, ValueError):
            files, metadata = _read(folder / name)
            key = frozenset(_VARYING.sub("", member) for member in files)
            alike.setdefault(key, []).append((name, files, metadata))
    return [
        Contents(wheels=tuple(name for name, _, _ in group), files=group[0][1], metadata=group[0][2])
        for group in alike.values()
    ]


def _read(path: Path) -> tuple[Sizes, str]:
    """Raises OSError, WheelFileError and ValueError."""
    with open_archive(path, lambda: None) as archive:
        entries = [entry for entry in archive.entries if entry.is_readable and not entry.is_folder]
        declared = next((entry for entry in entries if entry.name.endswith(".dist-info/METADATA")), None)
        content = b"".join(archive.read(declared))[:_LARGEST_METADATA] if declared else b""
        return {entry.name: entry.size for entry in entries}, content.decode("utf-8", "replace")


def tree(files: Sizes) -> Iterator[str]:
    """Yield the lines of a tree: folders before what is in them, each file with its size."""
    shown: tuple[str, ...] = ()
    for count, name in enumerate(sorted(files, key=lambda path: path.split("/"))):
        if count == _MOST_FILES:
            yield f"and {len(files) - count} more files"
            return
        *folders, file = name.split("/")
        common = _common(shown, folders)
        for depth in range(common, len(folders)):
            yield f"{'  ' * depth}{folders[depth]}/"
        shown = tuple(folders)
        yield f"{'  ' * len(folders)}{file}  {text.size(files[name])}"


def _common(shown: tuple[str, ...], folders: list[str]) -> int:
    return next((depth for depth, pair in enumerate(zip(shown, folders)) if pair[0] != pair[1]),  # noqa: B905
                min(len(shown), len(folders)))  # fmt: skip


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
