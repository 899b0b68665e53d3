"""Wheels and sdists as an index takes them; twine reads their metadata."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from packaging.metadata import Metadata, RawMetadata
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from manywheels.core.cancellation import Cancellation
from manywheels.core.regular_files import files_in, open_regular
from manywheels.errors import WheelFileError
from manywheels.verify.bounds import Unbounded, require_bounded
from manywheels.verify.sdist_contents import Contents, read_contents
from manywheels.wheels.metadata import read_metadata

if TYPE_CHECKING:
    from twine.package import PackageFile

SUFFIXES: Final = (".tar.gz", ".zip", ".whl")  # sdists first: an install meanwhile finds at least the source
_PIECE: Final = 1 << 20  # bytes
_BROKEN: Final = (OSError, ValueError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, LookupError)


class Unreadable(Exception):
    """A file is not a distribution that the index would accept; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A wheel or sdist: `project` is normalised, `size` in bytes, `sha256` in hex, `fields` the form's.

    `contents` are an sdist's.
    """

    path: Path
    project: str
    version: str
    size: int
    sha256: str
    fields: tuple[tuple[str, str], ...]
    metadata: RawMetadata = field(default_factory=RawMetadata, compare=False)
    contents: Contents = field(default_factory=Contents, compare=False)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def is_sdist(self) -> bool:
        return not self.name.endswith(".whl")

    def digest(self, algorithm: str) -> str | None:
        """Return its digest in hex; None if it cannot be computed or the file has changed since it was read."""
        return _digest(self.path, self.sha256.lower(), algorithm)

    def field(self, name: str) -> str | None:
        """Return the first value."""
        return next((value for field, value in self.fields if field == name), None)


@cache
def _digest(path: Path, sha256: str, algorithm: str) -> str | None:
    try:
        is_short = algorithm == "blake2b_256"
        digest = hashlib.blake2b(digest_size=32) if is_short else hashlib.new(algorithm, usedforsecurity=False)
        proof = hashlib.sha256()
        with open_regular(path) as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
                proof.update(piece)
    except (OSError, ValueError):  # a machine may refuse an algorithm
        return None
    return digest.hexdigest() if proof.hexdigest() == sha256 else None


def find_files(folder: Path) -> tuple[Path, ...]:
    """Return a folder's distributions, sdists first. Raises WheelFileError if there are none."""
    if not folder.is_dir():
        raise WheelFileError(
            f"The folder `{folder}` does not exist.", remedy="Build first, or name the folder with `packages-dir`."
        )
    files = [path for path in files_in(folder, *SUFFIXES) if not path.name.startswith(".")]
    if not files:
        raise WheelFileError(
            f"The folder `{folder}` has no distributions to publish.",
            remedy="Name a folder with wheels (*.whl) or sdists (*.tar.gz) with `packages-dir`.",
        )
    return tuple(sorted(files, key=lambda path: (path.suffix == ".whl", path.name)))


def read_distribution(path: Path, cancellation: Cancellation | None = None) -> Distribution:
    """Raises Unreadable and Cancelled."""
    from twine.exceptions import TwineException

    name, version = _parse_name(path)
    cancellation = cancellation or Cancellation()
    try:
        require_bounded(path, cancellation)  # twine reads whole archives, however large
        package = _read_package(path)
        is_tar = path.name.endswith(".tar.gz")
        contents = read_contents(path, package.metadata, cancellation) if is_tar else Contents()
    except Unbounded as error:
        raise Unreadable(str(error)) from None
    except TwineException as error:
        raise Unreadable(str(error).replace(f"{path.absolute().parent}/", "")) from None
    except _BROKEN as error:
        raise Unreadable(f"it cannot be read: {error}") from None
    metadata: dict[str, Any] = dict(package.metadata_dictionary())
    if (canonicalize_name(metadata["name"]), _parse_version(metadata["version"])) != (name, version):
        declared = f"{metadata['name']} {metadata['version']}"
        raise Unreadable(f"its name says {name} {version}, its metadata {declared}")
    return Distribution(
        path=path,
        project=name,
        version=str(version),
        size=path.stat().st_size,
        sha256=metadata["sha256_digest"],
        metadata=package.metadata,
        contents=contents,
        fields=(*_as_fields(metadata), (":action", "file_upload"), ("protocol_version", "1")),
    )


def _read_package(path: Path) -> PackageFile:
    """Read a distribution as twine does, but metadata as the index does. Raises Unreadable and twine's exceptions."""
    from twine.package import DIST_EXTENSIONS, DIST_TYPES, PackageFile

    kind = next(kind for suffix, kind in DIST_EXTENSIONS.items() if path.name.endswith(suffix))
    archive = DIST_TYPES[kind](str(path.absolute()))  # absolute: a relative path may begin with `-`
    raw, unparsed = read_metadata(archive.read())
    version = _parse_version(raw.get("metadata_version", ""))
    if version is None or version < Version("2.4"):  # setuptools wrote it into older ones
        raw.pop("license_files", None)
    wrong = [f"unrecognised or malformed field `{field}`" for field in sorted(unparsed)]
    try:
        Metadata.from_raw(raw)
    except ExceptionGroup as group:
        wrong += sorted(str(error) for error in group.exceptions)
    except RecursionError:
        wrong.append("a marker is nested too deeply to be parsed")
    if wrong:
        raise Unreadable(f"its metadata are invalid: {'; '.join(wrong)}")
    return PackageFile(str(path.absolute()), None, raw, archive.py_version, kind)


def _parse_version(version: str) -> Version | None:
    try:
        return Version(version)
    except InvalidVersion:
        return None


def _parse_name(path: Path) -> tuple[str, Version]:
    try:
        if path.suffix == ".whl":
            name, version, _, _ = parse_wheel_filename(path.name)
        else:
            name, version = parse_sdist_filename(path.name)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise Unreadable(str(error)) from None
    return name, version


def _as_fields(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in metadata.items():
        if name == "project_urls":
            yield from ((name, f"{label}, {url}") for label, url in value.items())
        elif name == "keywords":
            yield name, ", ".join(value)
        elif isinstance(value, list | tuple):
            yield from ((name, item) for item in value)
        else:
            yield name, value
