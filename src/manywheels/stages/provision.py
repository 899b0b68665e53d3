"""Provision: what builds require is fetched once, by a user that runs nothing but uv, and lent to the targets.

A cache that project code can write must not be another target's, nor a later run's. So where targets have users of
their own, each has a uv cache of its own, too. That they need not all fetch and unpack the same is the purpose of this:
the wheels among the build requirements are fetched into a store that belongs to the fetching user, and linked into the
target's cache. Nothing of a project is run for it, and no sdist is built. What cannot be had so, the build's own front
end fetches itself; so nothing in here is a reason for a target to fail.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from manywheels import sandbox
from manywheels.copying import remove_tree
from manywheels.sandbox import Cancellation, Command

_TIMEOUT: Final = 300.0  # seconds; what is not there by then, the build fetches itself
_BY_DEFAULT: Final = ("setuptools",)  # PEP 518, where there is no `requires`
# Of a build's variables, those that say where wheels come from.
_TOLD: Final = ("UV_", "PIP_", "SSL_", "REQUESTS_", "NIX_SSL", "PATH", "http", "no_proxy", "all_proxy", "HTTP",
                "NO_PROXY", "ALL_PROXY")  # fmt: skip
# What uv has been told by indexes and by interpreters.
_ANSWERS: Final = ("simple-*/**/*.rkyv", "interpreter-*/**/*.msgpack")
_WOULD_INSTALL: Final = re.compile(r"^ \+ (?P<name>\S+?)==(?P<version>\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Provision:
    """What is fetched, and for whom: `fetcher` is the id of the user that fetches into `store`, which is its own.

    `abi` and `python` are the target's; `cache` is the uv cache of its user, `user`, and must not exist. `scratch` is a
    folder that is made and removed.
    """

    uv: str
    python: Path
    abi: str
    requirements: tuple[str, ...]
    environment: Mapping[str, str]
    store: Path
    fetcher: int
    cache: Path
    user: int
    scratch: Path


def requirements_of(package: Path) -> tuple[str, ...]:
    """Return the build requirements that a project declares, but for those that it names by their address."""
    try:
        declared = tomllib.loads((package / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
    except (OSError, ValueError, KeyError, TypeError):
        return _BY_DEFAULT
    return tuple(text for text in declared if _is_on_an_index(text))


def _is_on_an_index(text: object) -> bool:
    try:
        return isinstance(text, str) and Requirement(text).url is None
    except InvalidRequirement:
        return False


def provide(request: Provision, cancellation: Cancellation) -> None:
    """Fetch what is required and not in the store, and lend it to the target."""
    for folder in (request.store, request.scratch):
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, request.fetcher, request.fetcher)
    wheels = _resolve(request, cancellation)
    if not all(any(_entries(wheel, request)) for wheel in wheels):
        sandbox.run(_uv(request), cancellation)
    remove_tree(request.scratch)
    lend([entry for wheel in wheels for entry in _entries(wheel, request)], request)


@dataclass(frozen=True, kw_only=True)
class _Wheel:
    name: str
    version: str


def _resolve(request: Provision, cancellation: Cancellation) -> list[_Wheel]:
    """Ask uv what the requirements come to; nothing, where it cannot say."""
    if not sandbox.run(_uv(request, "--dry-run"), cancellation).succeeded:
        return []
    said = (request.scratch / "log").read_text("utf-8", "replace")
    return [
        _Wheel(name=canonicalize_name(found["name"]), version=found["version"])
        for found in _WOULD_INSTALL.finditer(said)
    ]


def _uv(request: Provision, *options: str) -> Command:
    told = {name: value for name, value in request.environment.items() if name.startswith(_TOLD)}
    scratch = request.scratch
    return Command(
        argv=(request.uv, "pip", "install", "--no-config", "--color=never", "--only-binary", ":all:", *options,
              "--python", str(request.python), "--target", str(scratch / "site"), "--", *request.requirements),
        folder=scratch,
        environment=told | {"UV_CACHE_DIR": str(request.store), "HOME": str(scratch), "TMPDIR": str(scratch)},
        log=scratch / "log",
        timeout=_TIMEOUT,
        user=request.fetcher,
    )  # fmt: skip


def _entries(wheel: _Wheel, request: Provision) -> Iterator[Path]:
    """Return uv's unpacked wheels of a version for the target: `wheels-v*/<index>/<name>/<version>-<tags>`, links."""
    for entry in request.store.glob(f"wheels-*/**/{wheel.name}/{wheel.version}-*"):
        abi = entry.name.removeprefix(f"{wheel.version}-").split("-")[1:2]
        if entry.is_symlink() and abi and not {request.abi, "abi3", "none"}.isdisjoint(abi[0].split(".")):
            yield entry


# --- lending ----------------------------------------------------------------------------------------------------------


def lend(entries: list[Path], request: Provision) -> None:
    """Make the cache of the target's user hold unpacked wheels of the store; the user can read their files, not write.

    Files are linked, not copied. Folders without Python modules, which may hold thousands of files, and packages' tests
    are linked as they are, unless several wheels have a part in them: the installation must be able to merge those.
    """
    outlines = {entry: _outline(entry.resolve()) for entry in entries}
    common = Counter(folder for outline in outlines.values() for folder in outline.folders)
    _make(request.cache, request)
    for entry, outline in outlines.items():
        copy = request.cache / outline.archive.relative_to(request.store)
        _make(copy.parent, request)
        _lend_folder(outline, "", copy, common)
        target = request.cache / entry.relative_to(request.store)
        _make(target.parent, request)
        target.symlink_to(entry.readlink())  # a relative one
        for pointer in entry.parent.glob(f"{glob.escape(entry.name)}.*"):
            if pointer.suffix != ".lock":  # a lock in common would let one target hold up the others
                _link(pointer, target.with_name(pointer.name))
    for pattern in _ANSWERS:
        for answer in request.store.glob(pattern):
            _make((request.cache / answer.relative_to(request.store)).parent, request)
            with suppress(FileNotFoundError):  # uv replaces it for another target; this one can ask again
                _link(answer, request.cache / answer.relative_to(request.store))


@dataclass(frozen=True, kw_only=True)
class _Outline:
    """What is in an unpacked wheel: each folder, by its path in there, with its subfolders and its files.

    `looked_into` are those with modules that Python will compile, or with metadata, in or below them.
    """

    archive: Path
    folders: Mapping[str, tuple[list[str], list[str]]]
    looked_into: frozenset[str]


@cache
def _outline(archive: Path) -> _Outline:
    """Read an unpacked wheel's folders: once, for it does not change and is lent to every target."""
    folders: dict[str, tuple[list[str], list[str]]] = {}
    looked_into = {""}
    for parent, inside, names in os.walk(archive):
        folder = os.path.relpath(parent, archive) if parent != str(archive) else ""
        links = [name for name in inside if Path(parent, name).is_symlink()]
        folders[folder] = ([name for name in inside if name not in links], names + links)
        if _is_looked_into(folder, names):
            while folder not in looked_into:
                looked_into.add(folder)
                folder = os.path.dirname(folder)  # noqa: PTH120 - a Path would make of the top a dot
    return _Outline(archive=archive, folders=folders, looked_into=frozenset(looked_into))


def _is_looked_into(folder: str, names: list[str]) -> bool:
    top, *below = Path(folder).parts or ("",)
    if top.endswith((".dist-info", ".data")):
        return True
    return any(name.endswith(".py") for name in names) and not {"test", "tests"} & set(below)


def _lend_folder(outline: _Outline, folder: str, target: Path, common: Mapping[str, int]) -> None:
    target.mkdir()
    inside, names = outline.folders[folder]
    for name in inside:
        path = os.path.join(folder, name)  # noqa: PTH118 - as in the outline
        if path in outline.looked_into or common[path] > 1:
            _lend_folder(outline, path, target / name, common)
        else:
            (target / name).symlink_to(outline.archive / path)
    for name in names:
        source = outline.archive / folder / name
        if source.is_symlink():
            (target / name).symlink_to(source.resolve())
        else:
            _link(source, target / name)


def _make(folder: Path, request: Provision) -> None:
    """Make a folder, and those above it up to the cache, for the target's user."""
    if not folder.exists():
        _make(folder.parent, request)
        folder.mkdir()
        os.chown(folder, request.user, request.user)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EMLINK, errno.EPERM}:
            raise
        shutil.copy2(source, target)
