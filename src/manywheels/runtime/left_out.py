"""What of a source stays behind when it is copied, although a build in place would find it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.copying import COPYING
from manywheels.runtime.gitconfig import read_text
from manywheels.wheels.output import MANIFEST

_CACHES: Final = frozenset({"__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_COMPILED: Final = re.compile(r"(lib|temp|bdist)\..+")
_CREDENTIALS: Final = (".netrc", "_netrc", ".git-credentials", ".pypirc", "gha-creds-*.json")  # put beside the project
_SECRETS: Final = (
    *_CREDENTIALS, ".env", ".env.*", ".envrc", ".npmrc", ".yarnrc.yml", "pip.conf", "credentials.toml", ".ssh", ".aws",
    ".docker", ".kube", ".gnupg", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "*.pem", "*.key", "*.p12", "*.pfx",
    "*.tfstate", "*.tfstate.*",
)  # fmt: skip
_OF_CARGO: Final = frozenset({"deps", "build", "examples", "incremental", ".fingerprint"})  # the rest are its results
_CACHE_TAG: Final = "Signature: 8a477f597d28d172789f06886806bc55"  # https://bford.info/cachedir/
_MOST_NAMED: Final = 1000
LARGEST: Final = 1 << 30  # bytes copied beside the package that are not git's
MOST: Final = 50_000  # files
BOUNDS: Final = f"{LARGEST >> 30} GiB or {MOST:,} files"


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a tree, or of the part that was measured."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(files=self.files + other.files, bytes=self.bytes + other.bytes)

    @property
    def is_small(self) -> bool:
        return self.files <= MOST and self.bytes <= LARGEST


@dataclass(kw_only=True)
class LeftOut:
    """Decides what of a source stays behind: less of the package than of what is beside it.

    `never` are folders that are not even looked into. While files are copied, `repositories` gets each `.git`, `places`
    what a build might miss, and `unreadable` what cannot be read beside the package.
    """

    top: Path
    package: Path
    never: set[Path]
    repositories: list[Path] = field(default_factory=list)
    places: list[Path] = field(default_factory=list)
    unreadable: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._way = frozenset((self.package, *self.package.parents))

    def __call__(self, path: Path) -> bool:
        if path.name == ".git":
            self.repositories.append(path)
            return True
        if path not in self.never and not self._is_junk(path):
            return False
        if len(self.places) < _MOST_NAMED:
            self.places.append(path)
        return True

    def pass_over(self, path: Path, error: OSError) -> None:
        """Raises the error if it is about the package."""
        if path == self.package or self._is_inside(path):
            raise error
        self.unreadable.append(path)

    def leave_large(self, names: Iterable[str], cancellation: Cancellation) -> list[Path]:
        """Leave out the largest, so that the others are within the bounds; return those. Raises Cancelled."""
        paths = [path for path in map(self.top.joinpath, names) if path not in self._way and not self._is_inside(path)]
        sizes = {path: self.size_beside(path, cancellation) for path in paths}
        total, large = Size(), []
        for path in sorted(paths, key=lambda path: (sizes[path].bytes, sizes[path].files)):
            if (total + sizes[path]).is_small:
                total += sizes[path]
            else:
                large.append(path)
        self.never.update(large)
        return large

    def size_beside(self, folder: Path, cancellation: Cancellation) -> Size:
        """Return what would be copied of a folder or file, without the package. Raises Cancelled.

        It is not measured to the end if it is not small.
        """
        pending, size = [folder], Size()
        while pending and size.is_small:
            cancellation.stop_if_requested(COPYING)
            path = pending.pop()
            if path == self.package or path in self.never or path.name == ".git" or self._is_junk(path):
                continue
            with suppress(OSError):  # it is gone, or cannot be read
                if path.is_dir() and not path.is_symlink():
                    pending += path.iterdir()
                else:
                    size += Size(files=1, bytes=path.lstat().st_size)
        return size

    def _is_junk(self, path: Path) -> bool:
        if path in self._way:
            return False
        if path.name in _CACHES or os.path.lexists(f"{path}/pyvenv.cfg") or _is_of_setuptools(path):
            return True
        if os.path.lexists(f"{path}/{MANIFEST}"):  # another run's wheels
            return True
        if _is_one_of(_CREDENTIALS, path) and path.parent in {self.top, self.package}:
            return True
        return not self._is_inside(path) and _is_junk_beside(path)

    def _is_inside(self, path: Path) -> bool:
        return str(path).startswith(f"{self.package}/")


def find_in(
    places: Iterable[Path], names: Iterable[PurePosixPath], cancellation: Cancellation
) -> tuple[Path, Path] | None:
    """Return a file that has one of these names, or ends in such a path, and its place. Raises Cancelled."""
    wanted = [name for name in names if name.name]
    left = MOST
    for place in places if wanted else ():
        pending = [place]
        while pending and left:
            cancellation.stop_if_requested("Looking for a missing file")
            left -= 1
            path = pending.pop()
            with suppress(OSError):  # it cannot be read
                if path.is_dir() and not path.is_symlink():
                    pending += path.iterdir()
                elif any(path.name == name.name and _ends_in(path, name) for name in wanted):
                    return path, place
    return None


def _ends_in(path: Path, name: PurePosixPath) -> bool:
    parts = [part for part in name.parts if part not in {"..", "/"}]
    # An absolute path is of the target's copy: only its last part is known to be the same.
    return path.parts[-len(parts) :] == tuple(parts) or name.is_absolute()


def _is_junk_beside(path: Path) -> bool:
    if _is_one_of(_SECRETS, path):
        return True
    if not path.is_dir() or path.is_symlink():
        return False
    if path.name in _OF_CARGO and os.path.lexists(f"{path.parent}/.cargo-lock"):
        return True
    return path.name == "node_modules" or os.path.lexists(f"{path}/conda-meta") or _is_cache(path)


def _is_cache(path: Path) -> bool:
    """cargo's folder, which has results as well, says that it is one, too."""
    tag = f"{path}/CACHEDIR.TAG"
    is_tagged = os.path.lexists(tag) and read_text(Path(tag)).startswith(_CACHE_TAG)
    return is_tagged and not os.path.lexists(f"{path}/.rustc_info.json")


def _is_one_of(patterns: Iterable[str], path: Path) -> bool:
    return any(fnmatchcase(path.name, pattern) for pattern in patterns)


def _is_of_setuptools(path: Path) -> bool:
    """Whether setuptools compiled these files: it would reuse them, whatever their flags."""
    if not _COMPILED.fullmatch(path.name) or path.parent.name != "build":
        return False
    return any((path.parent.parent / name).is_file() for name in ("setup.py", "pyproject.toml"))
