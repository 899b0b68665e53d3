"""Private copies of the source: one snapshot for the run, one copy of it for each target.

Files are cloned where the file system can (`FICLONE`: Btrfs, XFS), else copied; never hard-linked, for a build could
write through the link. A git checkout stays one, so that setuptools-scm and its like find the version; git accepts it
whoever owns the original, because the copy belongs to the user who builds. The objects of the repository are copied
once, into the snapshot, and shared with the targets' copies through git's alternates. Where targets are built by users
of their own, each copy belongs to the target's.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import stat
import subprocess
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.errors import DiskError, ProjectError
from manywheels.paths import cache_dir
from manywheels.project import Project, digest_file, digest_source, extract_sdist
from manywheels.sandbox import Cancellation

_LOCK: Final = ".lock"
_ELSEWHERE: Final = Path("/var/lib/manywheels/work")
_FICLONE: Final = 0x40049409
_GET_FLAGS: Final = 0x80086601  # FS_IOC_GETFLAGS, ioctl_iflags(2)
_SET_FLAGS: Final = 0x40086602
_TOP_OF_A_TREE: Final = 0x00020000  # FS_TOPDIR_FL
_JUNK: Final = frozenset({"__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_CONFIGURATIONS: Final = ("config", "config.worktree")
_NO_PROGRAMS: Final = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")  # of the repository's choice
_OF_GIT: Final = ("PATH", "HOME", "XDG_CONFIG_HOME")  # where the user says which files are ignored everywhere
_FORGOTTEN: Final = frozenset({"credential", "include", "includeif"})  # sections
_SECTION: Final = re.compile(r'\s*\[\s*([\w.-]+)(?:\s*"(?:\\.|[^"\\])*")?\s*\]')
_COMPILED: Final = re.compile(r"(lib|temp|bdist)\..+")
_COPYING: Final = "Copying the source"
_OF_A_CHECKOUT: Final = ("HEAD", "index", "config.worktree")
_OF_OTHER_CHECKOUTS: Final = ("worktrees", "modules")
_CANNOT_CLONE: Final = frozenset({errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The source as it was when the run began: `root` is the whole tree, `package` the project's place in it."""

    root: Path
    package: Path
    digest: str


@contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for one run, beside uv's cache so that files can be hard-linked from it; remove it afterwards.

    `parent` is another place for it. Folders that killed runs left behind are known by their lock, which nobody holds,
    and are removed too. Raises DiskError.
    """
    parent = parent or _work_parent()
    parent.mkdir(parents=True, exist_ok=True)
    with (cache_dir() / "work.lock").open("wb") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        for abandoned in parent.glob("run-*"):
            with suppress(OSError), (abandoned / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(abandoned)
        folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
        _spread(folder)
        held = (folder / _LOCK).open("wb")
        fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        remove_tree(folder)
        held.close()


def _work_parent() -> Path:
    """Return where work folders are made: in the cache, unless its path has a blank. Raises DiskError.

    MAKEFLAGS, CC, PIP_CONSTRAINT and many a configure script are split at blanks, and have no way to quote one.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    usual = cache_dir() / "work"
    if not _has_blank(usual):
        return usual
    own = Path(tempfile.gettempdir(), f"manywheels-{os.geteuid()}")
    with suppress(FileExistsError):
        own.mkdir(mode=0o700)
    status = own.lstat()
    if _has_blank(own) or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise DiskError(
            f"There is no place to work in: `{usual}` has a blank in it, and `{own}` cannot be used.",
            remedy="Name a folder without blanks with MANYWHEELS_CACHE; compilers' variables cannot hold one.",
        )
    own.chmod(0o700)
    return own / "work"


def _has_blank(path: Path) -> bool:
    return any(map(str.isspace, str(path)))


def _spread(folder: Path) -> None:
    """Let ext4 give each subfolder a part of the disk of its own, as it does at the top of a file system (chattr +T).

    Where many inodes were freed within the last minutes, as by the end of a build environment, ext4 looks at each of
    them again for every file that is made there: 1,000 files can take a second then.
    """
    with suppress(OSError):  # another file system, which has no such trouble
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            flags = array("i", [0, 0])  # the kernel writes an int; its own declaration says a long
            fcntl.ioctl(descriptor, _GET_FLAGS, flags)
            flags[0] |= _TOP_OF_A_TREE
            fcntl.ioctl(descriptor, _SET_FLAGS, flags)
        finally:
            os.close(descriptor)


def public_work_parent(closed: Iterable[Path]) -> Path:
    """Return where a work folder can be that other users reach: the usual place if they can, and it has no blank.

    `closed` are folders that they cannot enter during the run. The other place belongs to root, like all of its kind.
    """
    usual = cache_dir() / "work"
    usual.mkdir(parents=True, exist_ok=True)
    ways = (usual, *usual.parents)
    reachable = all(way.stat().st_mode & stat.S_IXOTH for way in ways) and not any(map(ways.__contains__, closed))
    if reachable and not _has_blank(usual):
        return usual
    _ELSEWHERE.mkdir(mode=0o755, parents=True, exist_ok=True)
    return _ELSEWHERE


def store_beside(work: Path) -> Path:
    """Return where what was fetched for builds is kept between runs, on the same disk as the run's work folder."""
    return work.parent.parent / "fetched"


def remove_tree(folder: Path) -> None:
    """Remove a folder and everything in it, also where a build took away its own rights to it."""

    def make_writable(function: Callable[[str], object], path: str, _error: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(0o700)
            if not Path(path).is_symlink():  # what it leads to is not ours
                Path(path).chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=make_writable)
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


def take_snapshot(
    project: Project, folder: Path, cancellation: Cancellation, *, leave_out: Iterable[Path] = ()
) -> Snapshot:
    """Copy or extract the project into `folder`, which must not exist. Raises Cancelled and ProjectError.

    For a project inside a git repository the whole repository is taken: the project's own folder with everything in
    it, the rest as git sees it (tracked files, and untracked ones that are not ignored). Virtual environments, tools'
    caches, what setuptools compiled here before, and the folders in `leave_out` stay behind.
    """
    if project.is_sdist:
        root = extract_sdist(project.path, folder, cancellation)
        return Snapshot(root=root, package=Path(), digest=f"sha256:{digest_file(project.path)}")
    package = project.path.resolve()
    top = git_top(package)
    left_out = {path.resolve() for path in (*leave_out, folder, cache_dir())}
    if top:
        left_out.add(top / ".git")

    def is_left_out(path: Path) -> bool:
        return path in left_out or _is_junk(path)

    relative = package.relative_to(top or package)
    folder.mkdir(parents=True)
    with _told_by_name(top or package, folder):
        if top and top != package:
            _copy_beside(top, relative, folder, is_left_out, cancellation)
        copy_tree(package, folder / relative, is_left_out, cancellation)
        if top:
            _copy_repository(top / ".git", folder / ".git", cancellation)
            _forget_credentials(folder / ".git" / "config")
    return Snapshot(root=folder, package=relative, digest=digest_source(folder / relative, cancellation))


@contextmanager
def _told_by_name(source: Path, folder: Path) -> Iterator[None]:
    """Make a ProjectError of what cannot be read below `source`, unless it is below `folder`."""
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename or "."))
        if not place.is_relative_to(source) or place.is_relative_to(folder):
            raise
        raise ProjectError(
            f"`{place}` cannot be copied: {error.strerror}.",
            remedy="Make it readable for this user, and let nothing change the project while it is copied.",
        ) from None


def _copy_beside(
    top: Path, package: Path, folder: Path, is_left_out: Callable[[Path], bool], cancellation: Cancellation
) -> None:
    """Copy what git sees of a repository beside the package."""
    for name in _git_files(top, package):
        if any(is_left_out(top / part) for part in (Path(name), *Path(name).parents[:-1])):
            continue
        cancellation.stop_if_requested(_COPYING)
        if (top / name).is_dir() and not (top / name).is_symlink():
            copy_tree(top / name, folder / name, is_left_out, cancellation)  # a submodule
        else:
            _copy_entry(top / name, folder / name)


def _copy_repository(entry: Path, target: Path, cancellation: Cancellation) -> None:
    """Make `target` a repository of its own like the one that a checkout's `.git` is, or leads to."""
    own = _led_to(entry)
    if own is None:
        _copy_entry(entry, target)
    elif own == entry:
        copy_tree(entry, target, lambda _: False, cancellation)
    else:
        _copy_linked(own, target, cancellation)


def _copy_linked(own: Path, target: Path, cancellation: Cancellation) -> None:
    """Copy the repository of a submodule or linked worktree, where `.git` is but a path (gitrepository-layout(5)).

    HEAD and the index are its own, the rest may be in common with other worktrees.
    """
    common = own
    with suppress(FileNotFoundError):
        common = (own / (own / "commondir").read_text("utf-8", "surrogateescape").strip()).resolve()
    left_out = {common / name for name in (*_OF_A_CHECKOUT, *_OF_OTHER_CHECKOUTS)}
    copy_tree(common, target, left_out.__contains__, cancellation)
    for name in _OF_A_CHECKOUT:
        if (own / name).is_file():
            _copy_entry(own / name, target / name)
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


def _unset_place(config: Path) -> None:
    """Take out of a git configuration where the files are, or that there are none: they are beside the copy."""
    text = config.read_text("utf-8", "surrogateescape")
    config.write_text(re.sub(r"(?im)^\s*(worktree|bare)\s*=.*\n?", "", text), "utf-8", "surrogateescape")


def copy_source(snapshot: Snapshot, folder: Path, cancellation: Cancellation, *, user: int | None = None) -> Path:
    """Make a target's private copy in `folder`, which must not exist; return the project's own folder in it.

    The copy belongs to `user`, None for the program's own; git accepts no repository of somebody else.

    Raises Cancelled.
    """
    objects = snapshot.root / ".git" / "objects"
    copy_tree(snapshot.root, folder, lambda path: path == objects, cancellation)
    if objects.is_dir():
        info = folder / ".git" / "objects" / "info"
        info.mkdir(parents=True)
        inherited = objects / "info" / "alternates"
        alternates = [str(objects), *(inherited.read_text("utf-8").splitlines() if inherited.exists() else [])]
        (info / "alternates").write_text("\n".join(alternates) + "\n", encoding="utf-8")
    if user is not None:
        give_tree(folder, user)
    return folder / snapshot.package


def give_tree(folder: Path, user: int) -> None:
    """Give a folder, and everything in it, to a user. No process of that user may run meanwhile."""
    for parent, _, names in os.walk(folder):
        os.chown(parent, user, user, follow_symlinks=False)
        for name in names:
            os.chown(Path(parent, name), user, user, follow_symlinks=False)
    # symbolic links to folders, which are no folders to walk into, keep their owner: it means nothing for them


def share_objects(snapshot: Snapshot) -> None:
    """Let other users read the repository's objects, which the targets' copies refer to."""
    objects = snapshot.root / ".git" / "objects"
    if not objects.is_dir():
        return
    for folder in (snapshot.root, snapshot.root / ".git"):
        folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    for parent, _, names in os.walk(objects):
        Path(parent).chmod(Path(parent).stat().st_mode | stat.S_IROTH | stat.S_IXOTH)
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IROTH)


def _forget_credentials(config: Path) -> None:
    """Take out of a copy's git configurations what CI systems put in to fetch with; project code can read the copy.

    `config` is that of the copy's own repository. Submodules and worktrees have theirs below its folder, and one that
    was checked out inside of it below its own.
    """
    for parent, folders, names in os.walk(config.parent.parent):
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


def copy_tree(source: Path, target: Path, is_left_out: Callable[[Path], bool], cancellation: Cancellation) -> None:
    """Copy a folder with its modes, times and symbolic links; sockets, devices and FIFOs stay behind.

    Raises Cancelled.
    """
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            cancellation.stop_if_requested(_COPYING)
            path = source / entry.name
            if is_left_out(path):
                continue
            if entry.is_dir(follow_symlinks=False):
                copy_tree(path, target / entry.name, is_left_out, cancellation)
            else:
                _copy_entry(path, target / entry.name)
    shutil.copystat(source, target)
    target.chmod(target.stat().st_mode | stat.S_IRWXU)  # a read-only folder could not be filled or removed


def clone_file(source: Path, target: Path) -> None:
    """Copy a regular file's content and mode, sharing its blocks where the file system can."""
    with source.open("rb") as read, target.open("wb") as write:
        try:
            fcntl.ioctl(write, _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in _CANNOT_CLONE:
                raise
            shutil.copyfileobj(read, write, 1 << 20)
    shutil.copystat(source, target)


def _copy_entry(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = source.lstat().st_mode
    if stat.S_ISLNK(mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISREG(mode):
        clone_file(source, target)


def _is_junk(path: Path) -> bool:
    return path.name in _JUNK or (path / "pyvenv.cfg").exists() or _is_of_setuptools(path)


def _is_of_setuptools(path: Path) -> bool:
    """Whether setuptools put compiled files there. It takes newer ones for its own, whoever compiled them and how."""
    project = path.parent.parent
    return bool(path.parent.name == "build" and _COMPILED.fullmatch(path.name)) and any(
        (project / name).is_file() for name in ("setup.py", "pyproject.toml")
    )


def git_top(folder: Path) -> Path | None:
    """Return the folder of the git checkout that `folder` is in, or None."""
    for candidate in (folder, *folder.parents):
        if (candidate / ".git").exists():
            return candidate
    return None


def _git_files(top: Path, package: Path) -> list[str]:
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
