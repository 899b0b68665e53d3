"""Which of the caller's variables a container gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from manywheels.data import table
from manywheels.plan.pip_settings import local_path, names_with_paths

# The image sets the first itself; the others name files outside it.
_IMAGE_OWN: Final = re.compile(r"LANG|LC_\w+|AUDITWHEEL_\w+|DEVTOOLSET_\w+|PKG_CONFIG_PATH")
_CERTIFICATES_AND_TOOLS: Final = re.compile(r"\w*CERT\w*|\w*CA_BUNDLE|CARGO_HOME|RUSTUP_\w+|S?CCACHE_DIR")


@dataclass(frozen=True)
class Mounted:
    """A folder of this machine that the container has as `inside`."""

    folder: Path
    inside: PurePosixPath

    def translated(self, word: str) -> str | None:
        """Return a path or `file:` URL as the container's, None if it is not in the folder."""
        path = self.folder / (local_path(word) or word)
        if not path.is_relative_to(self.folder) or ".." in path.parts or not path.exists():
            return None
        return str(self.inside / path.relative_to(self.folder))


def forwarded(caller: Mapping[str, str], mounted: Mounted | None = None) -> dict[str, str]:
    """Return the caller's proxies, indexes and build settings, without values that name files which are not mounted."""
    found: dict[str, str] = {}
    for name in table("environment")["pass"]:
        if name in caller and not _IMAGE_OWN.fullmatch(name):
            value = _inside(name, caller[name], mounted)
            if not _names_files(name, value, mounted):
                found[name] = value
    return found


def local_only(caller: Mapping[str, str], mounted: Mounted | None = None) -> list[str]:
    """Return the variables lost in a container: indexes and constraints that are files of this machine."""
    return [
        name
        for name in table("environment")["pass"]
        if _names_files(name, _inside(name, caller.get(name, ""), mounted), mounted)
        and not _IMAGE_OWN.fullmatch(name)
        and not _CERTIFICATES_AND_TOOLS.fullmatch(name)
    ]


def _inside(name: str, value: str, mounted: Mounted | None) -> str:
    """Return a value in which pip's paths are the container's."""
    if mounted is None or name not in names_with_paths():
        return value
    return " ".join(mounted.translated(word) or word for word in value.split())


def _names_files(name: str, value: str, mounted: Mounted | None = None) -> bool:
    """Whether a word of a value, or what follows `name=`, is a path or a `file:` URL that is not mounted."""
    words = [re.sub(r"^[\w.-]+=", "", word) for word in re.split(r"[\s,]+", value)]
    if mounted and name in names_with_paths():
        words = [word for word in words if not Path(word).is_relative_to(mounted.inside)]
    if name.endswith(("CONSTRAINT", "OVERRIDE")):
        return any(word and ("://" not in word or word.startswith("file:")) for word in words)
    return any(word.startswith(("/", "./", "../", "~", "file:")) for word in words)
