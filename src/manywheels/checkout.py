"""A copy of the source stays the git checkout that the source is, so that setuptools-scm and its like find the version.

git accepts it whoever owns the original, because the copy belongs to the user who builds. Credentials stay behind. The
repository's objects are copied once, into the snapshot, and shared with the targets' copies through git's alternates.
"""

from __future__ import annotations

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from manywheels.copying import copy_entry, copy_tree
from manywheels.sandbox import Cancellation

_CONFIGURATIONS: Final = ("config", "config.worktree")
_NO_PROGRAMS: Final = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")  # of the repository's choice
_OF_GIT: Final = ("PATH", "HOME", "XDG_CONFIG_HOME")  # where the user says which files are ignored everywhere
_FORGOTTEN: Final = frozenset({"credential", "include", "includeif"})  # sections
_SECTION: Final = re.compile(r'\s*\[\s*([\w.-]+)(?:\s*"(?:\\.|[^"\\])*")?\s*\]')
_OF_A_CHECKOUT: Final = ("HEAD", "index", "config.worktree")
_OF_OTHER_CHECKOUTS: Final = ("worktrees", "modules")


def git_top(folder: Path) -> Path | None:
    """Return the folder of the git checkout that `folder` is in, or None."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def files_beside(top: Path, package: Path) -> list[str]:
    """Return the files outside the package that git tracks or would add; none where git is not installed."""
    argv = ["git", "-c", f"safe.directory={top}", *_NO_PROGRAMS, "-C", str(top), "ls-files", "-z", "--cached",
            "--others", "--exclude-standard", "--", ".", f":(exclude,literal){package}"]  # fmt: skip
    environment = {name: os.environ[name] for name in _OF_GIT if name in os.environ}
    try:
        listed = subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL, env=environment)
    except (OSError, subprocess.CalledProcessError):
        return []
    names = [os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    return [name for name in names if os.path.lexists(top / name)]


def copy_repository(entry: Path, target: Path, cancellation: Cancellation) -> None:
    """Make `target` a repository of its own like the one that a checkout's `.git` is, or leads to."""
    own = _led_to(entry)
    if own is None:
        copy_entry(entry, target)
    elif own == entry:
        copy_tree(entry, target, lambda _: False, cancellation)
    else:
        _copy_linked(own, target, cancellation)


def _copy_linked(own: Path, target: Path, cancellation: Cancellation) -> None:
    """Copy the repository of a submodule or linked worktree, where `.git` is but a path (gitrepository-layout(5)).

    HEAD and the index are its own, the rest may be in common with other worktrees.
    """
    common = _common(own)
    left_out = {common / name for name in (*_OF_A_CHECKOUT, *_OF_OTHER_CHECKOUTS)}
    copy_tree(common, target, left_out.__contains__, cancellation)
    for name in _OF_A_CHECKOUT:
        if (own / name).is_file():
            copy_entry(own / name, target / name)
    for name in ("config", "config.worktree"):
        if (target / name).is_file():
            _unset_place(target / name)


def _led_to(entry: Path) -> Path | None:
    """Return the folder that a checkout's `.git` is or leads to; None where it leads nowhere."""
    if entry.is_dir():
        return entry.resolve()
    kind, _, place = entry.read_text("utf-8", "surrogateescape").strip().partition(": ")
    folder = (entry.parent / place).resolve()
    return folder if kind == "gitdir" and folder.is_dir() else None


def _common(own: Path) -> Path:
    """Return the repository of a checkout's own folder: another one for a linked worktree."""
    with suppress(FileNotFoundError):
        return (own / (own / "commondir").read_text("utf-8", "surrogateescape").strip()).resolve()
    return own


def repository_elsewhere(top: Path) -> Path | None:
    """Return the repository of a submodule or linked worktree, which lies outside of it; None for other folders."""
    own = _led_to(top / ".git") if (top / ".git").is_file() else None
    return _common(own) if own else None


def _unset_place(config: Path) -> None:
    """Take out of a git configuration where the files are, or that there are none: they are beside the copy."""
    text = config.read_text("utf-8", "surrogateescape")
    config.write_text(re.sub(r"(?im)^\s*(worktree|bare)\s*=.*\n?", "", text), "utf-8", "surrogateescape")


def forget_credentials(copy: Path) -> None:
    """Take out of a copy's git configurations what CI systems put in to fetch with; project code can read the copy.

    Submodules and worktrees have theirs below the repository's own, and one that was checked out inside has one there.
    """
    for parent, folders, names in os.walk(copy):
        if ".git" in Path(parent).parts:
            folders[:] = [name for name in folders if name != "objects"]
            for path in (Path(parent, name) for name in _CONFIGURATIONS if name in names):
                if not path.is_symlink():
                    text = path.read_text("utf-8", "surrogateescape")
                    path.write_text("".join(_without_credentials(text)), "utf-8", "surrogateescape")


def _without_credentials(text: str) -> Iterator[str]:
    """Yield the lines of a git configuration (git-config(1)) that hold no credentials; passwords leave addresses."""
    dropping = False
    for line in re.findall(r"[ \t]*[#;].*|(?:\\[\s\S]|[^\\\n])+", text):  # a value goes on behind a backslash
        header, setting = _SECTION.match(line), line
        if header:
            dropping = header[1].lower() in _FORGOTTEN
            setting = line[header.end() :]  # one may stand behind its section
        if re.search(r"^\s*extraheader\b", setting, re.IGNORECASE | re.MULTILINE):
            setting = ""
        kept = (header[0] if header else "") + setting
        if kept and not dropping:
            yield re.sub(r"(://)[^/@\s]+@", r"\1", kept) + "\n"


def objects_of(copy: Path) -> Path:
    """Return where the copy of a repository has its objects, if it is one."""
    return copy / ".git" / "objects"


def borrow_objects(copy: Path, lender: Path) -> None:
    """Let a copy without objects of its own find the lender's, if it has any (gitrepository-layout(5))."""
    objects = objects_of(lender)
    if not objects.is_dir():
        return
    info = objects_of(copy) / "info"
    info.mkdir(parents=True)
    inherited = objects / "info" / "alternates"
    alternates = [str(objects), *(inherited.read_text("utf-8").splitlines() if inherited.exists() else [])]
    (info / "alternates").write_text("\n".join(alternates) + "\n", encoding="utf-8")


def share_objects(copy: Path) -> None:
    """Let other users read a copy's objects, which they borrow."""
    objects = objects_of(copy)
    if not objects.is_dir():
        return
    for folder in (copy, copy / ".git"):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    for parent, _, names in os.walk(objects):
        Path(parent).chmod(Path(parent).stat().st_mode | stat.S_IROTH | stat.S_IXOTH)
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IROTH)
