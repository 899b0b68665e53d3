"""A project's declarations, read without running its code.

A project is a folder or an sdist (PEP 517 source tree, PEP 625 archive). A dynamic version stays None.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import lzma
import os
import platform
import tarfile
import tomllib
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.regular_files import open_regular
from manywheels.errors import ProjectError

_SDIST_ENDINGS = (".tar.gz", ".tgz", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar", ".zip")
_NO_ENTRIES = (
    "._*",
    ".DS_Store",
    "__MACOSX",
    "pax_global_header",
)  # beside the folder, by macOS
_ENTRIES_SHOWN = 3
# Raised for damaged archives.
_BROKEN = (OSError, EOFError, KeyError, ValueError, RuntimeError, NotImplementedError, tarfile.TarError, lzma.LZMAError,
           zipfile.BadZipFile, zlib.error)  # fmt: skip
_EXTRACTING = "Extracting the sdist"
_GIT = ".git"
_LARGEST_SDIST = 4 << 30  # bytes extracted, including holes in sparse files
_MEMBER_OVERHEAD = 1024  # bytes
_DECLARATION_LIMIT = 8 << 20  # bytes; real files are far smaller
_PIECE = 1 << 20  # bytes read at once


@dataclass(frozen=True, kw_only=True)
class Project:
    """A project's declarations; `name` and `version` are None if only the back end knows them.

    `path` is the folder or sdist, `settings` `[tool.manywheels]`, `cibuildwheel` `[tool.cibuildwheel]` if present.
    Both are of `config_file`, if one is given. `build_requires` are the declared build requirements (PEP 518).
    """

    path: Path
    is_sdist: bool
    name: str | None
    version: str | None
    requires_python: SpecifierSet | None
    build_backend: str
    build_requires: tuple[str, ...] = ("setuptools",)
    settings: Mapping[str, Any] = field(default_factory=dict)
    cibuildwheel: Mapping[str, Any] | None = None
    config_file: str = ""

    @property
    def title(self) -> str:
        return self.name or self.path.name


def read_project(path: Path) -> Project:
    """Read a folder or sdist. Raises ProjectError if it is missing or invalid."""
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:
        raise ProjectError(
            f"`{path}` cannot be read: {error.strerror}.", remedy="Check its name and permissions."
        ) from None
    if is_folder:
        return _parse(path, _Folder(path), is_sdist=False)
    if not is_there:
        raise ProjectError(
            f"There is no `{path}`.", remedy="Give the folder of a project (with a pyproject.toml) or an sdist."
        )
    if not path.name.endswith(_SDIST_ENDINGS):
        raise ProjectError(
            f"`{path}` is neither a folder nor an sdist.",
            remedy="An sdist's name ends in .tar.gz (or .zip); wheels are checked with `manywheels verify`.",
        )
    try:
        with Sdist(path) as sdist:
            return _parse(path, sdist, is_sdist=True)
    except _BROKEN as error:
        raise _unreadable(path, str(error)) from None


def with_options_of(project: Project, name: str) -> Project:
    """Return the project with the options of a TOML file instead of pyproject.toml's.

    `{package}` in its name stands for the project. Raises ProjectError.
    """
    inside = name.removeprefix("{package}/")
    if project.is_sdist and inside != name:
        with Sdist(project.path) as sdist:
            content = sdist.read(inside)
    else:
        content = _Folder(Path()).read(name.replace("{package}", str(project.path)))
    if content is None:
        raise ProjectError(
            f"There is no file `{name}`, which `config-file` names.",
            remedy="Name a TOML file; `{package}` stands for the project's folder.",
        )
    file = Path(name)
    tools = _table(file, _toml(file, content) or {}, "tool")
    return replace(project, config_file=name, **_options(file, tools))


def _options(path: Path, tools: Mapping[str, Any]) -> dict[str, Any]:
    theirs = _table(path, tools, "tool.cibuildwheel") if "cibuildwheel" in tools else None
    return {"settings": _table(path, tools, "tool.manywheels"), "cibuildwheel": theirs}


def settings_of(folder: Path) -> Mapping[str, Any]:
    """Return `[tool.manywheels]`, empty without a pyproject.toml. Raises ProjectError."""
    return read_project(folder).settings if (folder / "pyproject.toml").is_file() else {}


class SourceTree(Protocol):
    """A folder or sdist to read declarations from."""

    def read(self, name: str) -> bytes | None:
        """Return a top-level file's content, or None."""


@dataclass(frozen=True)
class _Folder:
    path: Path

    def read(self, name: str) -> bytes | None:
        try:
            with open_regular(self.path / name) as file:
                return file.read(_DECLARATION_LIMIT)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ProjectError(
                f"`{self.path / name}` cannot be read: {error.strerror}.", remedy="Make it readable for this user."
            ) from None


class Sdist:
    """An open sdist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: tarfile.TarFile | zipfile.ZipFile
        if path.name.endswith(".zip"):
            self._archive = zipfile.ZipFile(path)
            members = ((info.filename, info.file_size) for info in self._archive.infolist())
        else:
            self._archive = tarfile.open(path)  # noqa: SIM115 - closed by __exit__
            members = ((info.name, info.size) for info in self._archive)
        self._names = self._bounded(members)
        # The names of the members that are written with `./` in front, as by `tar czf x.tar.gz ./x`, or `//` between.
        self._members = {str(PurePosixPath(name)): name for name in self._names}
        try:
            self.top = self._only_folder()
        except ProjectError:
            self._archive.close()
            raise

    def _only_folder(self) -> str:
        if odd := next((name for name in self._names if name.startswith("/") or _parts(name)[:1] == ("..",)), None):
            raise _unreadable(self._path, f"the member {odd!r} leaves the archive's folder")
        tops = {_parts(name)[0]: None for name in self._names if _parts(name)}  # in order
        folders = [top for top in tops if not any(fnmatchcase(top, pattern) for pattern in _NO_ENTRIES)]
        if len(folders) == 1:
            return folders[0]
        shown = [f"`{top}`" for top in folders[:_ENTRIES_SHOWN]] + ["…"] * bool(folders[_ENTRIES_SHOWN:])
        raise ProjectError(
            f"`{self._path}` is not an sdist: it has {len(folders)} top-level entries and not one folder: "
            f"{', '.join(shown) or 'it is empty'}.",
            remedy="Make it with `python -m build --sdist` or `uv build --sdist`, or give the folder of the project.",
        )

    def _bounded(self, members: Iterable[tuple[str, int]]) -> list[str]:
        names, left = [], _LARGEST_SDIST
        for name, size in members:
            names.append(name)
            left -= size + _MEMBER_OVERHEAD
            if left < 0:
                self._archive.close()
                raise _unreadable(self._path, f"it holds more than {_LARGEST_SDIST >> 30} GiB")
        return names

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes | None:
        """Return the content of a file in the top folder, or None."""
        member = self._members.get(f"{self.top}/{name}")
        if member is None:
            return None
        if isinstance(self._archive, zipfile.ZipFile):
            with self._archive.open(member) as file:
                return file.read(_DECLARATION_LIMIT)
        extracted = self._archive.extractfile(member)
        return extracted.read(_DECLARATION_LIMIT) if extracted else None

    def extract(self, folder: Path, cancellation: Cancellation) -> Path:
        """Extract below `folder`, without `.git`; return the project's folder there. Raises Cancelled.

        Refuses members outside of the folder, special files (PEP 706's `data` filter) and writing through links.
        """
        if isinstance(self._archive, zipfile.ZipFile):
            for name in self._names:
                if os.path.isabs(name) or ".." in PurePosixPath(name).parts:  # noqa: PTH117 - a member name
                    raise _unreadable(self._path, f"the member {name!r} leaves the archive's folder")
            for name in self._names:
                cancellation.stop_if_requested(_EXTRACTING)
                if _GIT not in PurePosixPath(name).parts:
                    self._archive.extract(name, folder)
        elif hasattr(tarfile, "data_filter"):
            links = _Links(self._path)

            def checked(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
                cancellation.stop_if_requested(_EXTRACTING)
                links.require_untouched_by(member)
                return tarfile.data_filter(member, path) if _GIT not in PurePosixPath(member.name).parts else None

            self._archive.extractall(folder, filter=checked)  # noqa: S202 - filtered
        else:  # Debian 12 has Python 3.11.2
            raise ProjectError(
                f"Python {platform.python_version()} cannot extract `{self._path}` safely: its tarfile has no filters.",
                remedy="Run manywheels with Python 3.11.4 or newer; or extract the sdist, and give its folder instead.",
            )
        return folder / self.top


def _parts(name: str) -> tuple[str, ...]:
    return PurePosixPath(name).parts


class _Links:
    """The symbolic links of a tar archive, which no other member may replace or be written through.

    tarfile's filter resolves paths and was bypassed there (CVE-2025-4138, -4330, -4517); this compares names.
    """

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._links: set[PurePosixPath] = set()

    def require_untouched_by(self, member: tarfile.TarInfo) -> None:
        """Record a link; refuse members written or linked through one."""
        paths = [PurePosixPath(member.name), *([PurePosixPath(member.linkname)] if member.islnk() else [])]
        for path in paths:
            if ".." in path.parts or not self._links.isdisjoint((path, *path.parents)):
                raise _unreadable(self._archive, f"the member {member.name!r} is written through a link")
        if member.issym():
            self._links.add(paths[0])


def extract_sdist(path: Path, folder: Path, cancellation: Cancellation) -> Path:
    """Return the project's folder below `folder`. Raises ProjectError."""
    try:
        with Sdist(path) as sdist:
            return sdist.extract(folder, cancellation)
    except _BROKEN as error:
        raise _unreadable(path, str(error)) from None


def _unreadable(path: Path, reason: str) -> ProjectError:
    return ProjectError(f"The sdist `{path}` cannot be read: {reason}.", remedy="Download or build it again.")


def _parse(path: Path, tree: SourceTree, *, is_sdist: bool) -> Project:
    file = path / "pyproject.toml"
    pyproject = _toml(file, tree.read("pyproject.toml"))
    setup_py, setup_cfg = tree.read("setup.py"), tree.read("setup.cfg")
    if pyproject is None and setup_py is None and setup_cfg is None:
        raise ProjectError(
            f"`{path}` has no pyproject.toml and no setup.py: it is not a Python project.",
            remedy="Give the folder that holds the project's pyproject.toml with `package-dir`."
            if not is_sdist
            else "Extract it, and give the folder in it that holds the project's pyproject.toml with `package-dir`.",
        )
    pyproject = pyproject or {}
    metadata = _table(file, pyproject, "project")
    legacy = _setup_cfg(setup_cfg) | _setup_py(setup_py)
    tools = _table(file, pyproject, "tool")
    requires = metadata.get("requires-python") or legacy.get("python_requires")
    build_system = _table(file, pyproject, "build-system")
    return Project(
        path=path,
        is_sdist=is_sdist,
        name=_text(metadata.get("name")) or legacy.get("name"),
        version=_text(metadata.get("version")) or legacy.get("version"),
        requires_python=_specifier(path, requires),
        build_backend=build_system.get("build-backend") or "setuptools.build_meta:__legacy__",
        build_requires=_texts(build_system.get("requires"), otherwise=("setuptools",)),
        **_options(file, tools),
    )


def _toml(path: Path, content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"`{path}` is not valid TOML: {error}.", remedy="Correct the file at that place.") from None


def _table(path: Path, parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name.rpartition(".")[2], {})
    if not isinstance(value, dict):
        raise ProjectError(f"`{path}`: `{name}` is not a table.", remedy=f"Write it as `[{name}]` with keys below.")
    return value


def _texts(value: object, *, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(filter(None, map(_text, value))) if isinstance(value, list) else otherwise


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _specifier(path: Path, text: object) -> SpecifierSet | None:
    if not text:
        return None
    try:
        return SpecifierSet(str(text))
    except InvalidSpecifier:
        raise ProjectError(
            f"`{path}`: requires-python is `{text}`, which is not a version specifier.",
            remedy='Write it as in ">=3.9".',
        ) from None


def _setup_cfg(content: bytes | None) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string((content or b"").decode())
    except (configparser.Error, UnicodeDecodeError):
        return {}  # setuptools reports it when it builds
    found = {key: parser.get("metadata", key, fallback="") for key in ("name", "version")}
    found["python_requires"] = parser.get("options", "python_requires", fallback="")
    # only setuptools resolves `attr:` and `file:`
    return {key: value for key, value in found.items() if value and not value.startswith(("attr:", "file:"))}


def _setup_py(content: bytes | None) -> dict[str, str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about invalid escapes, which the build shows as well
            tree = ast.parse(content or b"")
    except (SyntaxError, ValueError):
        return {}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "setup"):
            continue
        for keyword in node.keywords:
            value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
            if keyword.arg in {"name", "version", "python_requires"} and isinstance(value, str):
                found[keyword.arg] = value
    return found


def digest_source(folder: Path, cancellation: Cancellation) -> str:
    """Return `sha256:<hex>` over every file's relative path, type, executable bit and content, sorted.

    Without `.git`, which depends on the clone's depth. Raises Cancelled.
    """
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        cancellation.stop_if_requested("Reading the source")
        relative = os.fsencode(path.relative_to(folder).as_posix())
        mode = path.lstat().st_mode
        if path.is_symlink():
            digest.update(b"link\0%s\0%s\0" % (relative, os.fsencode(path.readlink())))
            continue
        digest.update(b"file\0%s\0%d\0" % (relative, bool(mode & 0o100)))
        digest.update(bytes.fromhex(digest_file(path, cancellation)))
    return f"sha256:{digest.hexdigest()}"


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files, without `.git`; os.walk would recurse before Python 3.12."""
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name != ".git":
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        yield Path(entry.path)
