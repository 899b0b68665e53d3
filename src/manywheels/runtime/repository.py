"""Copy what git needs of a repository to find a checkout's version.

Other files (gitrepository-layout(5)) may hold credentials, hooks, and configuration that names programs.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.runtime import gitconfig
from manywheels.runtime.copying import COPYING, copy_entry, copy_tree
from manywheels.runtime.gitconfig import UsersSettings

_OF_A_CHECKOUT: Final = ("HEAD", "index", "info/sparse-checkout")  # each linked worktree has its own
_IN_COMMON: Final = ("packed-refs", "shallow", "info/exclude", "info/attributes", "info/grafts")
_SHARED_INDEX: Final = re.compile(r"sharedindex\.[0-9a-f]+")
_ANYTHING: Final = re.compile(r"[\s\S]*")
_PART_OF_A_PATH: Final = r"(?:[0-9a-f]{2}|pack|info|info/commit-graphs)"
_FOLDERS: Final = {
    "objects": re.compile(
        rf"{_PART_OF_A_PATH}|[0-9a-f]{{2}}/[0-9a-f]+|pack/(?:pack-[0-9a-f]+\.[a-z]+|multi-pack-index[\w.-]*)"
        r"|info/(?:packs|commit-graph|commit-graphs/[\w.-]+)"
    ),
    "refs": _ANYTHING,
    "reftable": _ANYTHING,
    "lfs/objects": _ANYTHING,
    "annex/objects": _ANYTHING,
}
_PLACE: Final = frozenset({"worktree", "bare"})  # where the files are
_MOST_ALTERNATES: Final = 100


def copy(repository: Path, target: Path, user: UsersSettings, cancellation: Cancellation) -> None:
    """Copy a repository with its submodules', without following links. Raises Cancelled."""
    for name in ("", *_repositories_below(repository, cancellation)):
        _copy_common(repository / name, target / name, user, cancellation)
        _copy_own(repository / name, target / name, cancellation)


def copy_linked(own: Path, common: Path, target: Path, user: UsersSettings, cancellation: Cancellation) -> None:
    """Copy a submodule's or linked worktree's repository to the `.git` beside its files. Raises Cancelled.

    `own` has this checkout's part, `common` the rest.
    """
    _copy_common(common, target, user, cancellation, without=_PLACE)
    _copy_own(own, target, cancellation, without=_PLACE)


def is_real(repository: Path, name: str, kind: int = stat.S_IFREG) -> bool:
    """Whether an entry of this kind (of stat(2)) exists, with no link on the way."""
    place = repository
    for part in Path(name).parts:
        if place != repository and not _is(place, stat.S_IFDIR):
            return False
        place /= part
    return _is(place, kind)


def _is(path: Path, kind: int) -> bool:
    try:
        return stat.S_IFMT(path.lstat().st_mode) == kind
    except OSError:
        return False


def _copy_common(
    source: Path,
    target: Path,
    user: UsersSettings,
    cancellation: Cancellation,
    *,
    without: frozenset[str] = frozenset(),
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name in filter(lambda name: is_real(source, name), _IN_COMMON):
        copy_entry(source / name, target / name, cancellation)
    for name, known in _FOLDERS.items():
        if is_real(source, name, stat.S_IFDIR):
            _copy_folder(source / name, target / name, known, cancellation)
    _write_alternates(source / "objects", target / "objects")
    own = gitconfig.reduced(gitconfig.read_text(source / "config"), without=without)
    _write(target / "config", f"{user.configuration}{own}{gitconfig.OF_A_COPY}")
    if user.ignored:
        own = gitconfig.read_text(target / "info/exclude")
        _write(target / "info/exclude", f"{user.ignored}\n{own}")


def _copy_own(source: Path, target: Path, cancellation: Cancellation, *, without: frozenset[str] = frozenset()) -> None:
    shared = [entry.name for entry in os.scandir(source) if _SHARED_INDEX.fullmatch(entry.name)]
    for name in filter(lambda name: is_real(source, name), (*_OF_A_CHECKOUT, *shared)):
        copy_entry(source / name, target / name, cancellation)
    if text := gitconfig.reduced(gitconfig.read_text(source / "config.worktree"), without=without):
        _write(target / "config.worktree", text)


def _copy_folder(source: Path, target: Path, known: re.Pattern[str], cancellation: Cancellation) -> None:
    start = len(str(source)) + 1

    def is_left_out(path: Path) -> bool:
        return not known.fullmatch(str(path)[start:]) or path.is_symlink()

    copy_tree(source, target, is_left_out, cancellation)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8", "surrogateescape")


def _write_alternates(source: Path, target: Path) -> None:
    if not is_real(source, "info/alternates"):
        return
    lines = gitconfig.read_text(source / "info/alternates").splitlines()[:_MOST_ALTERNATES]
    places = [os.path.normpath(source / line) for line in lines if line and not line.startswith(("#", '"'))]
    (target / "info").mkdir(exist_ok=True)
    (target / "info/alternates").write_text("".join(f"{place}\n" for place in places), "utf-8", "surrogateescape")


def _repositories_below(repository: Path, cancellation: Cancellation) -> Iterator[str]:
    """Yield submodules' names, which may have blanks, slashes and submodules."""
    waiting = ["modules"]
    while waiting:
        name = waiting.pop()
        if not is_real(repository, name, stat.S_IFDIR):
            continue
        for entry in os.scandir(repository / name):
            cancellation.stop_if_requested(COPYING)
            below = f"{name}/{entry.name}"
            if is_real(repository, f"{below}/HEAD"):
                yield below
                waiting.append(f"{below}/modules")
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(below)
