"""Fetch build requirements into the store, and link them into a target's cache: two tasks for two users.

Run by path with `python -I -S` in the sandbox, it uses nothing but the standard library.

    prefetch_worker.py fetch '{"uv": [...], "store": "…"}'    as the fetching user, who owns what is in the store
    prefetch_worker.py link '{"store": "…", "cache": "…", "abi": "…", "wheels": [[name, version], …]}'
                                                              as a target's user, who owns the cache

The store has three parts. `cache` is uv's own cache, closed to other users: uv's lock files are in there. Of what uv
keeps in it, `archive-v0` (the unpacked wheels) is a link to the store's `archive-v0`, which other users can read. What
leads to them (the entries of wheels, the answers of indexes) is in `entries` once more, by hard links.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

_ARCHIVE = "archive-v0"
_WOULD_INSTALL = re.compile(r"^ \+ (?P<name>\S+?)==(?P<version>\S+)$", re.MULTILINE)
# Where uv keeps the entries of wheels from indexes (not those from addresses), and the indexes' answers.
_INDEXES = ("pypi", "index/*")


# --- as the fetching user ---------------------------------------------------------------------------------------------


def fetch(uv: Sequence[str], store: Path) -> int:
    """Fetch what uv would install, and print the wheels as JSON: [[name, version], ...]. Return the exit status."""
    link = store / "cache" / _ARCHIVE
    if not os.path.lexists(link):
        link.symlink_to(f"../{_ARCHIVE}")
    asked = _run([*uv, "--dry-run"])
    if asked.returncode != 0:
        return asked.returncode
    if "Would download" in asked.stderr:
        _run(uv)
    wheels = [(found["name"], found["version"]) for found in _WOULD_INSTALL.finditer(asked.stderr)]
    share(store, wheels)
    print(json.dumps(wheels))
    return 0


def _run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def share(store: Path, wheels: Sequence[tuple[str, str]]) -> None:
    """Let other users find the wheels: give each file that leads to them a second name outside of uv's cache."""
    cache, entries = store / "cache", store / "entries"
    for file in (*_pointers(cache, wheels), *_answers(cache, wheels)):
        shared = entries / file.relative_to(cache)
        shared.parent.mkdir(parents=True, exist_ok=True)
        partial = shared.with_name(f".{shared.name}.partial")
        partial.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.link(file, partial, follow_symlinks=False)
            partial.replace(shared)
            partial.unlink(missing_ok=True)  # if both were names of one file already, nothing was renamed


def _pointers(top: Path, wheels: Sequence[tuple[str, str]]) -> Iterator[Path]:
    """Yield `wheels-v*/<index>/<name>/<version>-<tags>`, links to unpacked wheels, and the files beside them."""
    for name, version in wheels:
        for index in _INDEXES:
            found = top.glob(f"wheels-v*/{index}/{escape(name)}/{escape(version)}-*")
            yield from (entry for entry in found if entry.suffix != ".lock")


def _answers(top: Path, wheels: Sequence[tuple[str, str]]) -> Iterator[Path]:
    """Yield what uv was told by indexes about these projects, and by interpreters."""
    for index in _INDEXES:
        for name, _ in wheels:
            yield from top.glob(f"simple-v*/{index}/{escape(name)}.rkyv")
    yield from top.glob("interpreter-v*/*/*.msgpack")


# --- as a target's user -----------------------------------------------------------------------------------------------


def link(store: Path, cache: Path, abi: str, wheels: Sequence[tuple[str, str]]) -> int:
    """Make a uv cache that holds wheels of the store; return the exit status.

    Files are linked, not copied. Folders without Python modules, which may hold thousands of files, and packages' tests
    are linked as they are, unless several wheels have a part in them: the installation must be able to merge those.
    """
    entries = store / "entries"
    pointers = [pointer for pointer in _pointers(entries, wheels) if _is_for(abi, pointer)]
    unpacked = {store / _ARCHIVE / pointer.readlink().name for pointer in pointers if pointer.is_symlink()}
    outlines = [read_outline(archive) for archive in sorted(unpacked) if archive.is_dir()]
    common = Counter(folder for outline in outlines for folder in outline.folders)
    for outline in outlines:
        (cache / _ARCHIVE).mkdir(exist_ok=True)
        _link_folder(outline, "", f"{cache}/{_ARCHIVE}/{outline.archive.name}", common)
    for pointer in (*pointers, *_answers(entries, wheels)):
        own = cache / pointer.relative_to(entries)
        own.parent.mkdir(parents=True, exist_ok=True)
        if pointer.is_symlink():
            own.symlink_to(pointer.readlink())  # uv's own links are relative
        else:
            shutil.copyfile(pointer, own)  # uv passes over entries that are links to files
    return 0


def _is_for(abi: str, entry: Path) -> bool:
    """Whether an entry `<version>-<python tag>-<abi tag>-<platform tag>` is one that an interpreter can use.

    uv names those with many tags `<version>-<digest>`.
    """
    _, _, abis, *_ = (*entry.name.split("-"), abi, abi)
    return not {abi, "abi3", "none"}.isdisjoint(abis.split("."))


@dataclass(frozen=True)
class Outline:
    """What is in an unpacked wheel: each folder, by its path in there, with its subfolders and its files.

    `looked_into` are those with modules that Python will compile, or with metadata, in or below them.
    """

    archive: Path
    folders: Mapping[str, tuple[list[str], list[str]]]
    looked_into: frozenset[str]


def read_outline(archive: Path) -> Outline:
    """Read the folders of an unpacked wheel."""
    folders: dict[str, tuple[list[str], list[str]]] = {}
    looked_into = {""}
    for parent, inside, names in os.walk(archive):
        folder = parent[len(str(archive)) + 1 :]
        links = [name for name in inside if os.path.islink(f"{parent}/{name}")]  # noqa: PTH114
        folders[folder] = ([name for name in inside if name not in links], names + links)
        if _is_looked_into(folder, names):
            while folder not in looked_into:
                looked_into.add(folder)
                folder = os.path.dirname(folder)  # noqa: PTH120 - a Path would make of the top a dot
    return Outline(archive=archive, folders=folders, looked_into=frozenset(looked_into))


def _is_looked_into(folder: str, names: list[str]) -> bool:
    top, *below = Path(folder).parts or ("",)
    if top.endswith((".dist-info", ".data")):
        return True
    return any(name.endswith(".py") for name in names) and not {"test", "tests"} & set(below)


def _link_folder(outline: Outline, folder: str, own: str, common: Mapping[str, int]) -> None:
    """Make the folder `own` with links to what is in a folder of the archive. In text, as there are thousands."""
    os.mkdir(own)  # noqa: PTH102
    archive = f"{outline.archive}/{folder}".rstrip("/")
    inside, names = outline.folders[folder]
    for name in inside:
        path = os.path.join(folder, name)  # noqa: PTH118 - as in the outline
        if path in outline.looked_into or common[path] > 1:
            _link_folder(outline, path, f"{own}/{name}", common)
        else:
            os.symlink(f"{archive}/{name}", f"{own}/{name}")  # noqa: PTH211
    for name in names:
        os.symlink(f"{archive}/{name}", f"{own}/{name}")  # noqa: PTH211


def main(task: str, asked: Mapping[str, Any]) -> int:
    """Do one of the two tasks; return the exit status."""
    store = Path(asked["store"])
    if task == "fetch":
        return fetch(asked["uv"], store)
    return link(store, Path(asked["cache"]), asked["abi"], asked["wheels"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
