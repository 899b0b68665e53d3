"""What git itself is asked about a checkout's copy, whose configuration names no programs of the project's choice."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, ProjectError
from manywheels.runtime import gitconfig, sandbox
from manywheels.runtime.git import git_top
from manywheels.runtime.gitconfig import ConfigEntry
from manywheels.runtime.sandbox import Command

_LIST_TIMEOUT: Final = 120.0  # seconds
_LARGEST_LIST: Final = 256 << 20  # bytes of file names
_LARGEST_GIT: Final = 4 << 20  # KiB of memory for git
_BOUNDED: Final = f'ulimit -f {_LARGEST_LIST // 512}; ulimit -v {_LARGEST_GIT}; exec "$@" 2>/dev/null'
_NO_PROGRAMS: Final = (
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.untrackedCache=false",
)
_USERS: Final = ("HOME", "XDG_CONFIG_HOME")  # here are the user's ignore list and attributes
_CONFIGURATION: Final = re.compile(r"GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|COUNT|(KEY|VALUE)_[0-9]+)")
_OFFLINE: Final = {
    "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none",
}  # fmt: skip
_NO_FILTER: Final = ":(attr:!filter)"
_SECOND: Final = 1_000_000_000  # nanoseconds; most gits compare whole seconds


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A repository that is a copy, and the files that are compared with it."""

    repository: Path
    files: Path


def read_users_settings(cancellation: Cancellation) -> gitconfig.UsersSettings:
    """Return what decides in place whether a file counts as changed or ignored. Raises Cancelled and ProjectError."""
    nowhere = Checkout(repository=Path("/dev/null"), files=Path("/"))
    variables = {name: value for name, value in os.environ.items() if _CONFIGURATION.fullmatch(name)}
    listed = _ask(nowhere, ("config", "--list", "-z", "--includes"), cancellation, variables)
    entries = [entry for entry in map(_entry, listed or ()) if entry]
    named = [entry.value for entry in entries if (entry.section, entry.key) == ("core", "excludesfile")]
    home = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    ignored = Path(os.path.expanduser(named[-1] if named else f"{home}/git/ignore"))  # noqa: PTH111 - `~` may not exist
    return gitconfig.UsersSettings(
        configuration=gitconfig.of_the_user(entries), ignored=gitconfig.read_text(ignored.resolve())
    )


def _entry(listed: str) -> ConfigEntry | None:
    name, _, value = listed.partition("\n")
    section, _, rest = name.partition(".")
    subsection, _, key = rest.rpartition(".")
    return ConfigEntry(section=section, name=subsection or None, key=key, value=value) if key else None


def missing_files(checkout: Checkout, cancellation: Cancellation) -> list[str]:
    """Return the tracked files that are not there; none without git. Raises Cancelled and ProjectError."""
    return _ask(checkout, ("ls-files", "-z", "--deleted"), cancellation) or []


def versions_and_files(checkout: Checkout, cancellation: Cancellation) -> list[str] | None:
    """Return the commit and the tags that there are, and the index; None if git cannot say it.

    Raises Cancelled and ProjectError.
    """
    commit = _ask(checkout, ("rev-parse", "--verify", "--quiet", "HEAD"), cancellation) or []  # there may be none yet
    shown = ("for-each-ref", "--format=%(objectname) %(*objectname) %(refname)", "refs/tags")
    tags, index = _ask(checkout, shown, cancellation), _ask(checkout, ("ls-files", "-z", "--stage"), cancellation)
    return None if tags is None or index is None else [*commit, *tags, *index]


def tracked_below(folder: Path, cancellation: Cancellation) -> list[str] | None:
    """Return the files in a folder of a checkout that git tracks, or a submodule or link that leads there.

    None if git cannot say it. This asks the checkout's own repository, with no program of its configuration. Raises
    Cancelled and ProjectError.
    """
    top = git_top(folder.parent)
    if top is None:
        return []
    ways = [*reversed([at for at in folder.parents if at != top and at.is_relative_to(top)]), folder]
    place = next((at for at in ways if at.is_symlink()), folder)
    words = ("ls-files", "-z", "--", f":(top,literal){place.relative_to(top)}")
    return _ask(Checkout(repository=top / ".git", files=top), words, cancellation)


def ignored_files(checkout: Checkout, package: Path, cancellation: Cancellation) -> list[str]:
    """Return what git ignores outside the package, a folder in place of its files.

    Where git cannot say it, that is all beside the package's folder at the top.

    Raises Cancelled and ProjectError.
    """
    words = ("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
    names = _ask(checkout, (*words, "--", ".", f":(exclude,literal){package}"), cancellation)
    if names is None:
        return sorted(set(os.listdir(checkout.files)) - {".git", package.parts[0]})  # noqa: PTH208
    return [name.rstrip("/") for name in names if is_in(checkout.files, name.rstrip("/"))]


def keep_state(checkout: Checkout, cancellation: Cancellation) -> None:
    """Have git believe the index that files are unchanged, where it would compare their content. Raises Cancelled.

    It does so for files written in the same second as the index, as in a fresh clone, and would need the user's
    filters. Files without a filter are compared here.
    """
    index = checkout.repository / "index"
    if not index.is_file():
        return
    changed = _changed_files(checkout, cancellation)
    _make_newer(index)
    for name in changed.difference(_changed_files(checkout, cancellation)) if changed else ():
        _make_newer(checkout.files / name)  # it differs from the index, and shall go on to do so


def _make_newer(file: Path) -> None:
    status = file.lstat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + _SECOND), follow_symlinks=False)


def _changed_files(checkout: Checkout, cancellation: Cancellation) -> set[str]:
    words = ("diff-files", "-z", "--name-only", "--ignore-submodules=all", "--", _NO_FILTER)
    return {name for name in _ask(checkout, words, cancellation) or () if is_in(checkout.files, name)}


def is_in(top: Path, name: str) -> bool:
    """Whether a file exists in `top`: an index may hold any name, and a link on the way could lead out."""
    path = Path(name)
    if path.is_absolute() or ".." in path.parts:
        return False
    return os.path.lexists(top / name) and not is_below_a_link(top, name)


def is_below_a_link(top: Path, name: str) -> bool:
    return any((top / part).is_symlink() for part in Path(name).parents)


def _ask(
    checkout: Checkout, arguments: Iterable[str], cancellation: Cancellation, variables: dict[str, str] | None = None
) -> list[str] | None:
    """Return the names that git prints; None if it fails or is not there."""
    argv = ("git", f"--git-dir={checkout.repository}", f"--work-tree={checkout.files}", *_NO_PROGRAMS, *arguments)
    environment = {name: os.environ[name] for name in ("PATH", *_USERS) if name in os.environ} | _OFFLINE
    if variables is None:  # no filter of the user's runs as root on a project's files
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    with tempfile.TemporaryDirectory(prefix="manywheels-") as folder:
        listed = Path(folder) / "files"
        outcome = sandbox.run(
            Command(
                argv=("/bin/sh", "-c", _BOUNDED, "sh", *argv), folder=checkout.files,
                environment=environment | (variables or {}), log=listed, timeout=_LIST_TIMEOUT,
            ),
            cancellation,
        )  # fmt: skip
        if outcome.cancelled:
            raise Cancelled("Copying the source was stopped.", remedy="")
        if outcome.timed_out or listed.stat().st_size >= _LARGEST_LIST:
            raise ProjectError(
                f"git does not finish listing the files of `{checkout.files}`.",
                remedy="Find out why `git ls-files --others` takes so long: a `.gitignore` that is not a regular file, "
                "or folders with millions of files.",
            )
        if not outcome.succeeded:
            return None
        names = listed.read_bytes().split(b"\0")
    return [name for name in map(os.fsdecode, names) if name]
