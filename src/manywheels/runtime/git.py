"""A copy of the source stays the git checkout that the source is, so that setuptools-scm and its like find the version.

git accepts it whoever owns the original, because the copy belongs to the user who builds. Of a `.git`, only what
`repository` names is copied. The repository's objects are copied once, into the snapshot, and shared with the targets'
copies through git's alternates.

A checkout is not trusted: links in its `.git` are not followed, and a `.git` file is followed only where the repository
that it names leads back to this checkout. git itself is run with the copy, whose configuration names no programs.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.text import sanitize
from manywheels.errors import Cancelled, ProjectError
from manywheels.runtime import gitconfig, repository, sandbox
from manywheels.runtime.copying import copy_entry
from manywheels.runtime.sandbox import Command
from manywheels.runtime.trees import Walk, walk

_LISTING: Final = 120.0  # seconds for git to list the files of a checkout
_LARGEST_LIST: Final = 256 << 20  # bytes of their names
_LARGEST_GIT: Final = 4 << 20  # KiB that git may have in memory
_BOUNDED: Final = f'ulimit -f {_LARGEST_LIST // 512}; ulimit -v {_LARGEST_GIT}; exec "$@" 2>/dev/null'
_NO_PROGRAMS: Final = (
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.untrackedCache=false",
)
_OF_GIT: Final = ("PATH", "HOME", "XDG_CONFIG_HOME")  # where the user says which files are ignored everywhere
_NOTHING_ELSE: Final = {
    "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Led:
    """Where a checkout's `.git` leads to: what only this checkout has, and what others have in common with it."""

    own: Path
    common: Path


def git_top(folder: Path) -> Path | None:
    """Return the folder of the git checkout that `folder` is in, or None."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def files_beside(copy: Path, top: Path, package: Path, cancellation: Cancellation) -> list[str]:
    """Return the files of a checkout outside the package that git tracks or would add; none where git is not installed.

    `copy` is the copy of the checkout's repository; `package` is relative to `top`. Raises Cancelled and ProjectError.
    """
    argv = ("git", f"--git-dir={copy}", f"--work-tree={top}", *_NO_PROGRAMS, "ls-files", "-z", "--cached", "--others",
            "--exclude-standard", "--", ".", f":(exclude,literal){package}")  # fmt: skip
    environment = {name: os.environ[name] for name in _OF_GIT if name in os.environ} | _NOTHING_ELSE
    with tempfile.TemporaryDirectory(prefix="manywheels-") as folder:
        listed = Path(folder) / "files"
        outcome = sandbox.run(
            Command(
                argv=("/bin/sh", "-c", _BOUNDED, "sh", *argv), folder=top, environment=environment, log=listed,
                timeout=_LISTING,
            ),
            cancellation,
        )  # fmt: skip
        if outcome.cancelled:
            raise Cancelled("Copying the source was stopped.", remedy="")
        if outcome.timed_out or listed.stat().st_size >= _LARGEST_LIST:
            raise ProjectError(
                f"git does not come to an end with listing the files of `{top}`.",
                remedy="Look for what `git ls-files --others` waits for: a `.gitignore` that is no regular file, or "
                "folders with millions of files.",
            )
        names = listed.read_bytes().split(b"\0") if outcome.succeeded else []
    return [name for name in map(os.fsdecode, names) if name and _is_in(top, name)]


def _is_in(top: Path, name: str) -> bool:
    """Whether a file is there, and in the checkout: a folder that git knows may have become a link to elsewhere."""
    return os.path.lexists(top / name) and not any((top / part).is_symlink() for part in Path(name).parents)


def copy_repository(entry: Path, target: Path, cancellation: Cancellation) -> None:
    """Make `target` a repository of its own like the one that a checkout's `.git` is, or leads to. Raises Cancelled."""
    led = _led_to(entry)
    if led is None:
        if not entry.is_symlink():
            copy_entry(entry, target)
        print(f"note: {sanitize(_leads_nowhere(entry))}", file=sys.stderr, flush=True)
    elif led.own == entry:
        repository.copy(entry, target, cancellation)
    else:
        repository.copy_linked(led.own, led.common, target, cancellation)


def copy_nested(entry: Path, target: Path, cancellation: Cancellation) -> None:
    """Copy the `.git` of a checkout inside of another: a repository, or the file or link that leads to one."""
    if entry.is_dir() and not entry.is_symlink():
        repository.copy(entry, target, cancellation)
    else:
        copy_entry(entry, target)


def _leads_nowhere(entry: Path) -> str:
    return (
        f"`{entry}` leads to no repository that leads back to it, so the copy for builds has no history; "
        "`git worktree repair`, or `git config core.worktree`, tells the repository where its checkout is"
    )


def _led_to(entry: Path) -> _Led | None:
    """Return where a checkout's `.git` leads to; None where that is no repository of this checkout's.

    Whoever wrote the checkout can name any folder in there. What lies inside the checkout is its own. Elsewhere, the
    repository must name this checkout: as git writes it for submodules, and for linked worktrees.
    """
    top = entry.parent.resolve()
    if entry.is_symlink():
        own = entry.resolve()
    elif entry.is_dir():
        return _Led(own=entry, common=entry)
    else:
        kind, _, place = gitconfig.read_text(entry).strip().partition(": ")
        if kind != "gitdir":
            return None
        own = (top / place).resolve()
    is_worktree = own.parent.name == "worktrees" and (own / "commondir").is_file()
    common = own.parent.parent if is_worktree else own
    if not repository.is_real(common, "HEAD") or not own.is_dir():
        return None
    is_ours = common.is_relative_to(top) or _names(own, top, is_worktree=is_worktree)
    return _Led(own=own, common=common) if is_ours else None


def _names(own: Path, top: Path, *, is_worktree: bool) -> bool:
    """Whether a repository names that checkout as its own (gitrepository-layout(5))."""
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
    """Return the repository of a submodule or linked worktree, which lies outside of it; None for other folders."""
    led = _led_to(top / ".git") if (top / ".git").is_file() else None
    return led.common if led else None


def objects_of(copy: Path) -> Path:
    """Return where the copy of a repository has its objects, if it is one."""
    return copy / ".git" / "objects"


def borrow_objects(copy: Path, lender: Path) -> None:
    """Let a copy without objects of its own find the lender's, if it has any (gitrepository-layout(5))."""
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
    """Let every user read a folder and the files in it; return its subfolders."""
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
