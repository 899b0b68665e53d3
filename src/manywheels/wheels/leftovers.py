"""What lies in the folder of a finished set: its own files, and what other releases or targets have left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.regular_files import is_regular
from manywheels.wheels.manifest import Manifest
from manywheels.wheels.wheelfile import STABLE_ABIS, release_of


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Wheels and sdists of the project beside its set, by what `publish` does with them.

    It sends an sdist that nobody sealed, refuses other files of the set's version, and leaves those of other versions.
    """

    sent: tuple[Path, ...] = ()
    refused: tuple[Path, ...] = ()
    left: tuple[Path, ...] = ()

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.refused, *self.sent, *self.left)


def beside(manifest: Manifest, folder: Path) -> Beside:
    """Return what else of the manifest's project is in its folder."""
    others = others_beside(manifest, folder)
    left = of_other_releases(manifest, others)
    own = [path for path in others if path not in left]
    sdists = [path for path in own if path.suffix != ".whl"]
    is_sent = len(sdists) == 1 and manifest.wheels and not manifest.sdist and not manifest.sdist_failure
    sent = tuple(sdists if is_sent else ())
    return Beside(sent=sent, refused=tuple(path for path in own if path not in sent), left=tuple(left))


def of_targets_without_wheel(manifest: Manifest, paths: Iterable[Path]) -> list[Path]:
    """Return the wheels in `paths` that are for a target without one in the manifest. All have names of wheels."""
    lacking = [record.identifier for record in manifest.targets if record.wheel is None]
    tags = {path: parse_wheel_filename(path.name)[3] for path in paths if path.suffix == ".whl"}
    return [path for path, of_it in tags.items() if any(_is_for(tag, name) for name in lacking for tag in of_it)]


def _is_for(tag: Tag, identifier: str) -> bool:
    """Whether a tag is that of a wheel for a target, as `cp312-manylinux_x86_64`."""
    python, _, platform = identifier.partition("-")
    family, _, arch = platform.partition("_")
    if not (tag.platform.startswith((family, "linux_")) and tag.platform.endswith(f"_{arch}")):
        return False
    if tag.abi in STABLE_ABIS:
        least, own = (name.removeprefix("cp3").rstrip("t") for name in (tag.interpreter, python))
        return python.startswith("cp") and least.isdigit() and own.isdigit() and int(least) <= int(own)
    return tag.interpreter == python.rstrip("t") and tag.abi.endswith("t") == python.endswith("t")


def others_beside(manifest: Manifest, folder: Path) -> tuple[Path, ...]:
    """Return the wheels and sdists of the manifest's project in its folder that it does not have, sorted."""
    projects = _projects(manifest)
    sealed = {file.name for file in manifest.files}
    found = (path for suffix in (".whl", ".tar.gz") for path in folder.glob(f"*{suffix}"))
    return tuple(
        sorted(
            path
            for path in found
            if path.name not in sealed and is_regular(path) and (release_of(path.name) or ("",))[0] in projects
        )
    )


def of_other_releases(manifest: Manifest | None, paths: Iterable[Path]) -> list[Path]:
    """Return the distributions of other releases than the manifest's.

    A file of the same release that the manifest lacks is none of them, but a mistake.
    """
    own = {release_of(file.name) for file in manifest.files} if manifest else set()
    return [path for path in paths if own and release_of(path.name) not in {None, *own}]


def of_other_versions(manifest: Manifest | None, paths: Iterable[Path]) -> list[Path]:
    """Return the distributions of other releases that are of the manifest's own project."""
    others = of_other_releases(manifest, paths)
    return [path for path in others if manifest and (release_of(path.name) or ("",))[0] in _projects(manifest)]


def _projects(manifest: Manifest) -> set[str]:
    found = {release[0] for file in manifest.files if (release := release_of(file.name))}
    return found or {canonicalize_name(manifest.project)}  # all targets failed


def unchanged(manifest: Manifest, folder: Path, cancellation: Cancellation) -> Iterator[Path]:
    """Yield the manifest's files that are in its folder as it seals them. Raises Cancelled."""
    for file in manifest.files:
        path = folder / file.name
        if is_regular(path) and digest_file(path, cancellation) == file.sha256:
            yield path


def remove(paths: Iterable[Path]) -> list[Path]:
    """Return what could not be removed."""
    left = []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            left.append(path)
    return left
