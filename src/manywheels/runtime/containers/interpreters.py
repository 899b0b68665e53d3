"""The Pythons of a manylinux or musllinux image, read from its files: no container is started."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from manywheels.core.documents import parse_json
from manywheels.core.files import cache_dir, write_atomically
from manywheels.errors import EngineError
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.targets import image_folders

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_PYTHONS: Final = "/opt/python"
_FOLDER: Final = re.compile(r"(cp|pp)(\d)(\d{1,2})-((?:cp|pypy)\w{1,30})", re.ASCII)
_VERSION: Final = re.compile(r"\d\.\d{1,2}(?:\.\d{1,2}(?:(?:a|b|rc)\d{1,2})?)?", re.ASCII)
_LARGEST_LISTING: Final = 1 << 22  # bytes of an archive
_MOST_ENTRIES: Final = 1000
_CHUNK: Final = 1 << 15  # bytes
_LARGEST_CACHED: Final = 1 << 20  # bytes


def image_interpreters(client: DockerClient, image: str) -> tuple[Interpreter, ...]:
    """Return the Pythons in /opt/python of an image (name or id) that is here, with paths in the image.

    They are kept in the cache, by the image's id. Where a folder is no link to `…/cpython-3.14.9`, the version is the
    minor one. Raises EngineError without /opt/python, and what the SDK raises.
    """
    cached = cache_dir() / "images" / f"{hashlib.sha256(str(client.images.get(image).id).encode()).hexdigest()}.json"
    pythons = _read(cached)
    if pythons is None:
        pythons = _ask(client, image)
        with suppress(OSError):  # a cache that cannot be written is none
            cached.parent.mkdir(parents=True, exist_ok=True)
            with write_atomically(cached) as file:
                file.write(json.dumps(pythons).encode())
    found = [_interpreter(folder, pythons[folder], image) for folder in pythons if _FOLDER.fullmatch(folder)]
    return tuple(sorted(found, key=lambda python: (len(python.abi), python.abi)))


def _read(cached: Path) -> dict[str, str] | None:
    try:
        with cached.open("rb") as file:
            content = parse_json(file.read(_LARGEST_CACHED))
    except (OSError, ValueError):
        return None
    is_listing = isinstance(content, dict) and all(isinstance(target, str) for target in content.values())
    return content if is_listing else None


def _ask(client: DockerClient, image: str) -> dict[str, str]:
    """Return each entry of /opt/python with what it links to, empty for a folder."""
    from docker.errors import NotFound

    container = client.containers.create(image, ["nothing"])  # never started, only its files are read
    try:
        links = _links(container)
        return _known_folders(container) if links is None else links
    except NotFound:
        raise EngineError(
            f"The image `{image}` has no {_PYTHONS}: it is not a manylinux or musllinux image.",
            remedy="Name one that is built `FROM quay.io/pypa/manylinux_2_28_x86_64` or the like, or omit `image`.",
        ) from None
    except tarfile.TarError as error:
        raise EngineError(
            f"The Pythons of the image `{image}` cannot be listed: {error}.",
            remedy=f"Its {_PYTHONS} must have links to the Pythons, as manylinux images have.",
        ) from None
    finally:
        container.remove(force=True, v=True)


def _links(container: Container) -> dict[str, str] | None:
    """Return the entries of /opt/python, or None if some are no links: their content would be sent along."""
    found = {}
    chunks, _ = container.get_archive(f"{_PYTHONS}/.", chunk_size=_CHUNK)
    with tarfile.open(fileobj=_Stream(chunks), mode="r|") as tar:  # type: ignore[call-overload] # it reads only
        for number, member in enumerate(tar):
            if number > _MOST_ENTRIES:
                raise tarfile.ReadError(f"there are more than {_MOST_ENTRIES}")
            path = PurePosixPath(member.name)
            if path.parts and not member.issym():
                return None
            found[path.name] = member.linkname
    return found


def _known_folders(container: Container) -> dict[str, str]:
    from docker.errors import NotFound

    found = {}
    for folder in image_folders():
        with suppress(NotFound):
            container.get_archive(f"{_PYTHONS}/{folder}/bin/python")
            found[folder] = ""
    return found


class _Stream:
    """An archive of the engine as a file; it ends early, as if truncated, beyond the largest listing."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self._left = _LARGEST_LISTING

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and self._left > 0 and (chunk := next(self._chunks, b"")):
            self._rest += chunk
            self._left -= len(chunk)
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


def _interpreter(folder: str, target: str, image: str) -> Interpreter:
    """For example of `cp314-cp314t`, which links to `/opt/_internal/cpython-3.14.9-nogil`."""
    kind_and_version = _FOLDER.fullmatch(folder)
    assert kind_and_version is not None  # noqa: S101 - the caller looked
    minor = f"{kind_and_version[2]}.{kind_and_version[3]}"
    named = _VERSION.search(PurePosixPath(target).name)
    version = named[0] if named and f"{named[0]}.".startswith(f"{minor}.") else minor
    return Interpreter(
        abi=kind_and_version[4], version=version, path=Path(_PYTHONS, folder, "bin", "python"), source=image
    )
