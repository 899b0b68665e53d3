"""What indexes look for in an sdist's archive, beyond what twine does."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import RawMetadata

from manywheels.core.cancellation import Cancellation
from manywheels.wheels.encrypted import encrypted_by, is_searched


@dataclass(frozen=True, kw_only=True)
class Contents:
    """`missing` has each License-File that is not there, and where it should be; `encrypted` members and programs."""

    missing: tuple[tuple[str, str], ...] = ()
    encrypted: tuple[tuple[str, str], ...] = ()
    is_zip_too: bool = False


def read_contents(path: Path, metadata: RawMetadata, cancellation: Cancellation) -> Contents:
    """The tar must be bounded, and have PKG-INFO. Raises tarfile's and zlib's errors, and Cancelled."""
    with tarfile.open(path, "r:gz") as archive:
        encrypted = tuple(_encrypted(archive, cancellation))
        names = set(archive.getnames())
    top = os.path.commonpath(names)
    places = {name: os.path.join(top, name) for name in metadata.get("license_files", [])}  # noqa: PTH118 - in the tar
    return Contents(
        missing=tuple((name, place) for name, place in places.items() if place.rstrip("/") not in names),
        encrypted=encrypted,
        is_zip_too=zipfile.is_zipfile(path),
    )


def _encrypted(archive: tarfile.TarFile, cancellation: Cancellation) -> Iterator[tuple[str, str]]:
    for member in archive:
        cancellation.stop_if_requested("Reading the distributions")
        if member.isfile() and is_searched(member.name, member.size):
            stream = archive.extractfile(member)
            if stream and (program := encrypted_by(stream.read())):
                yield member.name, program
