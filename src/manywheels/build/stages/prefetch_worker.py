"""Fetch build requirements into the store, and link them into a target's cache, as two users.

Run by path with `python -I -S` in the sandbox, with the standard library alone. It is started twice for each target,
so it imports little of that.

    prefetch_worker.py fetch '{"uv": [...], "store": "…"}'    as the fetching user, who owns what is in the store
    prefetch_worker.py link '{"store": "…", "cache": "…", "abi": "…", "wheels": [[name, version], …]}'
                                                              as a target's user, who owns the cache

In the store, `cache` is uv's cache, closed to others because of its lock files. `archive-v0`, the unpacked wheels, is
outside it, linked from it, and readable for others. `entries` has hard links to what refers to them: uv's entries of
wheels, and indexes' responses.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from contextlib import suppress
from glob import escape
from pathlib import Path

TYPE_CHECKING = False  # `typing`, `dataclasses` and `shutil` take as long to import as all else here
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from subprocess import CompletedProcess
    from typing import Any

_ARCHIVE = "archive-v0"
NO_HARD_LINKS = 3  # an exit status
_WOULD_INSTALL = re.compile(r"^ \+ (?P<name>\S+?)==(?P<version>\S+)$", re.MULTILINE)
# Where uv keeps wheels and responses from indexes, but not from other addresses.
_INDEXES = ("pypi", "index/*")


# --- as the fetching user ---------------------------------------------------------------------------------------------


def fetch(uv: Sequence[str], store: Path) -> int:
    """Fetch what uv would install; print the wheels as JSON, [[name, version], ...]; return the exit status."""
    link = store / "cache" / _ARCHIVE
    if not os.path.lexists(link):
        link.symlink_to(f"../{_ARCHIVE}")
    planned = _run([*uv, "--dry-run"])
    if planned.returncode != 0:
        return planned.returncode
    if "Would download" in planned.stderr:
        _run(uv)
    wheels = [(found["name"], found["version"]) for found in _WOULD_INSTALL.finditer(planned.stderr)]
    share(store, wheels)
    print(json.dumps(wheels))
    return 0


def _run(argv: Sequence[str]) -> CompletedProcess[str]:
    import subprocess  # only for fetching

    return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def share(store: Path, wheels: Sequence[tuple[str, str]]) -> None:
    """Let other users find the wheels, by hard links to the files that refer to them."""
    cache, entries = store / "cache", store / "entries"
    for file in (*_pointers(cache, wheels), *_responses(cache, wheels)):
        shared = entries / file.relative_to(cache)
        shared.parent.mkdir(parents=True, exist_ok=True)
        partial = shared.with_name(f".{shared.name}.partial")
        partial.unlink(missing_ok=True)
        with suppress(FileNotFoundError):
            os.link(file, partial, follow_symlinks=False)
            partial.replace(shared)
            partial.unlink(missing_ok=True)  # `replace` does nothing if both are the same file


def _pointers(top: Path, wheels: Sequence[tuple[str, str]]) -> Iterator[Path]:
    """Yield `wheels-v*/<index>/<name>/<version>-<tags>`, links to unpacked wheels, and the files beside them."""
    for name, version in wheels:
        for index in _INDEXES:
            found = top.glob(f"wheels-v*/{index}/{escape(name)}/{escape(version)}-*")
            yield from (entry for entry in found if entry.suffix != ".lock")


def _responses(top: Path, wheels: Sequence[tuple[str, str]]) -> Iterator[Path]:
    for index in _INDEXES:
        for name, _ in wheels:
            yield from top.glob(f"simple-v*/{index}/{escape(name)}.rkyv")
    yield from top.glob("interpreter-v*/*/*.msgpack")


# --- as a target's user -----------------------------------------------------------------------------------------------


def link(store: Path, cache: Path, abi: str, wheels: Sequence[tuple[str, str]]) -> int:
    """Create a uv cache with wheels of the store; return the exit status: NO_HARD_LINKS where uv cannot use those.

    Files are linked. Folders without Python modules, which may have thousands of files, and tests are linked whole,
    unless several wheels share them: an installation must merge those.
    """
    entries = store / "entries"
    pointers = [pointer for pointer in _pointers(entries, wheels) if _is_for(abi, pointer)]
    unpacked = {store / _ARCHIVE / pointer.readlink().name for pointer in pointers if pointer.is_symlink()}
    outlines = [read_outline(archive) for archive in sorted(unpacked) if archive.is_dir()]
    common = Counter(folder for outline in outlines for folder in outline.folders)
    for outline in outlines:
        (cache / _ARCHIVE).mkdir(exist_ok=True)
        _link_folder(outline, "", f"{cache}/{_ARCHIVE}/{outline.archive.name}", common)
    for pointer in (*pointers, *_responses(entries, wheels)):
        own = cache / pointer.relative_to(entries)
        own.parent.mkdir(parents=True, exist_ok=True)
        if pointer.is_symlink():
            own.symlink_to(pointer.readlink())  # uv's own links are relative
        else:
            own.write_bytes(pointer.read_bytes())  # uv ignores links to files here
    return 0 if _can_hard_link(cache) else NO_HARD_LINKS


def _can_hard_link(cache: Path) -> bool:
    """Whether a symbolic link can have a second name in this file system, as linkat(2) gives it."""
    one, other = cache / ".one-link", cache / ".other-link"
    one.symlink_to(os.devnull)
    try:
        os.link(one, other, follow_symlinks=False)
    except OSError:
        return False
    finally:
        one.unlink()
    is_link = other.is_symlink()
    other.unlink()
    return is_link


def _is_for(abi: str, entry: Path) -> bool:
    """Whether an interpreter can use an entry `<version>-<python tag>-<abi tag>-<platform tag>`.

    An entry `<version>-<digest>` stands for many tags, and may be usable.
    """
    _, _, abis, *_ = (*entry.name.split("-"), abi, abi)
    return not {abi, "abi3", "abi3t", "none"}.isdisjoint(abis.split("."))


class Outline:
    """An unpacked wheel's folders by relative path, with the names of their subfolders and files.

    `looked_into` are those with modules to compile, or metadata, in or below them.
    """

    def __init__(
        self, archive: Path, folders: Mapping[str, tuple[list[str], list[str]]], looked_into: frozenset[str]
    ) -> None:
        self.archive, self.folders, self.looked_into = archive, folders, looked_into


def read_outline(archive: Path) -> Outline:
    folders: dict[str, tuple[list[str], list[str]]] = {}
    looked_into = {""}
    for parent, inside, names in os.walk(archive):
        folder = parent[len(str(archive)) + 1 :]
        links = [name for name in inside if os.path.islink(f"{parent}/{name}")]  # noqa: PTH114
        folders[folder] = ([name for name in inside if name not in links], names + links)
        if _is_looked_into(folder, names):
            while folder not in looked_into:
                looked_into.add(folder)
                folder = os.path.dirname(folder)  # noqa: PTH120 - Path returns `.` for the top
    return Outline(archive=archive, folders=folders, looked_into=frozenset(looked_into))


def _is_looked_into(folder: str, names: list[str]) -> bool:
    top, *below = folder.split("/")
    if top.endswith((".dist-info", ".data")):
        return True
    return any(name.endswith(".py") for name in names) and not {"test", "tests"} & set(below)


def _link_folder(outline: Outline, folder: str, own: str, common: Mapping[str, int]) -> None:
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


def main(task: str, arguments: Mapping[str, Any]) -> int:
    store = Path(arguments["store"])
    if task == "fetch":
        return fetch(arguments["uv"], store)
    return link(store, Path(arguments["cache"]), arguments["abi"], arguments["wheels"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], json.loads(sys.argv[2])))
