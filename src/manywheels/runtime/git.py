"""Copy a checkout's git repository, so that setuptools-scm and the like find the version.

A checkout is not trusted: only the files that `repository` lists are copied; links in its `.git` are not followed, and
a `.git` file only to a repository that refers back. git itself runs on the copy, whose configuration names no programs.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from manywheels.core.cancellation import Cancellation
from manywheels.core.text import sanitize
from manywheels.runtime import gitconfig, repository
from manywheels.runtime.copying import copy_entry
from manywheels.runtime.gitconfig import UsersSettings
from manywheels.runtime.trees import Walk, walk


@dataclass(frozen=True, kw_only=True)
class _GitFolders:
    """This checkout's `own` folder, and the `common` one of all worktrees."""

    own: Path
    common: Path


def git_top(folder: Path) -> Path | None:
    """Return the git checkout that `folder` is in, or None."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def source_root(package: Path) -> Path:
    """Return the checkout that a package is in; without git, the working folder if the package is in it."""
    if top := git_top(package):
        return top
    here = Path.cwd()
    return here if package.is_relative_to(here) and may_be_source(here) else package


def may_be_source(folder: Path) -> bool:
    """Whether all in a folder may belong to a project: not if it has a whole home, or others can put files there."""
    home = Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - there may be no home
    return not home.is_relative_to(folder) and not folder.stat().st_mode & stat.S_IWOTH


def copy_repository(entry: Path, target: Path, user: UsersSettings, cancellation: Cancellation) -> None:
    """Copy the repository that a `.git` is, or refers to. Raises Cancelled."""
    folders = _find_folders(entry)
    if folders is None:
        if not entry.is_symlink():
            copy_entry(entry, target)
        print(f"note: {sanitize(_no_repository(entry))}", file=sys.stderr, flush=True)
    elif folders.own == entry:
        repository.copy(entry, target, user, cancellation)
    else:
        repository.copy_linked(folders.own, folders.common, target, user, cancellation)


def copy_nested(entry: Path, target: Path, top: Path, user: UsersSettings, cancellation: Cancellation) -> Path | None:
    """Copy the `.git` of a checkout inside another, whatever its kind; `top` is the outer one's copy.

    Return the copy's repository, if it has one. Raises Cancelled.
    """
    if entry.is_symlink():
        copy_entry(entry, target)
        return None
    if entry.is_dir():
        repository.copy(entry, target, user, cancellation)
        return target
    place = target.parent / gitconfig.read_text(entry).strip().removeprefix("gitdir: ")
    below = os.path.relpath(os.path.normpath(place), top / ".git")
    if below.startswith("modules/") and repository.is_real(top / ".git", f"{below}/HEAD"):
        copy_entry(entry, target)
        return top / ".git" / below
    folders = _find_folders(entry)
    if folders is None or folders.own != folders.common:  # another worktree of the same repository
        copy_entry(entry, target)
        return None
    repository.copy_linked(folders.own, folders.common, target, user, cancellation)
    return target


def _no_repository(entry: Path) -> str:
    return (
        f"`{entry}` names no repository that refers back to it, so the copy for builds has no history; "
        "`git worktree repair`, or `git config core.worktree`, tells the repository where its checkout is"
    )


def _find_folders(entry: Path) -> _GitFolders | None:
    """Return the repository's folders; None if it is not this checkout's.

    A checkout's author can name any folder, so one outside must refer back, as those of submodules and linked worktrees
    do.
    """
    top = entry.parent.resolve()
    if entry.is_symlink():
        own = entry.resolve()
    elif entry.is_dir():
        return _GitFolders(own=entry, common=entry)
    else:
        kind, _, place = gitconfig.read_text(entry).strip().partition(": ")
        if kind != "gitdir" or "\0" in place:
            return None
        own = (top / place).resolve()
    is_worktree = own.parent.name == "worktrees" and (own / "commondir").is_file()
    common = own.parent.parent if is_worktree else own
    if not repository.is_real(common, "HEAD") or not own.is_dir():
        return None
    is_ours = common.is_relative_to(top) or _names(own, top, is_worktree=is_worktree)
    return _GitFolders(own=own, common=common) if is_ours else None


def _names(own: Path, top: Path, *, is_worktree: bool) -> bool:
    """Whether a repository refers back to a checkout (gitrepository-layout(5))."""
    if is_worktree:
        return (own / gitconfig.read_text(own / "gitdir").strip()).resolve() == top / ".git"
    found = [
        setting.value
        for name in ("config", "config.worktree")
        for setting in gitconfig.settings_in(gitconfig.read_text(own / name))
        if (setting.section, setting.name, setting.key) == ("core", None, "worktree")
    ]
    return bool(found) and (own / found[-1]).resolve() == top


def linked_repository(top: Path) -> Path | None:
    """Return a submodule's or linked worktree's repository, which is outside it; else None."""
    folders = _find_folders(top / ".git") if (top / ".git").is_file() else None
    return folders.common if folders else None


def objects_of(copy: Path) -> Path:
    return copy / ".git" / "objects"


def borrow_objects(copy: Path, lender: Path) -> None:
    """Have a copy without objects use the lender's (gitrepository-layout(5))."""
    if not repository.is_real(lender, ".git/objects", stat.S_IFDIR):
        return
    objects = objects_of(lender)
    info = objects_of(copy) / "info"
    info.mkdir(parents=True)
    inherited = gitconfig.read_text(objects / "info" / "alternates").splitlines()
    (info / "alternates").write_text("\n".join([str(objects), *inherited]) + "\n", "utf-8", "surrogateescape")


def share_objects(copy: Path) -> None:
    """Let other users read a copy's objects, which they borrow."""
    if not repository.is_real(copy, ".git/objects", stat.S_IFDIR):
        return
    for folder in (copy, copy / ".git"):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    walk(objects_of(copy), _open_to_others)


def _open_to_others(at: Walk) -> list[str]:
    os.fchmod(at.descriptor, os.fstat(at.descriptor).st_mode | stat.S_IROTH | stat.S_IXOTH)
    below = []
    with os.scandir(at.descriptor) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif entry.is_file(follow_symlinks=False):
                mode = entry.stat(follow_symlinks=False).st_mode
                os.chmod(entry.name, mode | stat.S_IROTH, dir_fd=at.descriptor)
    return below
