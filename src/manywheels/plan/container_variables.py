"""Which of the caller's variables a container gets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from manywheels.data import table

# The image sets the first itself; the others name files outside it.
_IMAGE_OWN: Final = re.compile(r"LANG|LC_\w+|AUDITWHEEL_\w+|DEVTOOLSET_\w+|PKG_CONFIG_PATH")
_CERTIFICATES_AND_TOOLS: Final = re.compile(r"\w*CERT\w*|\w*CA_BUNDLE|CARGO_HOME|RUSTUP_\w+|S?CCACHE_DIR")


def forwarded(caller: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's proxies, indexes and build settings, without values that name files."""
    return {
        name: caller[name]
        for name in table("environment")["pass"]
        if name in caller and not _IMAGE_OWN.fullmatch(name) and not _names_files(name, caller[name])
    }


def local_only(caller: Mapping[str, str]) -> list[str]:
    """Return the variables lost in a container: indexes and constraints that are files of this machine."""
    return [
        name
        for name in table("environment")["pass"]
        if _names_files(name, caller.get(name, ""))
        and not _IMAGE_OWN.fullmatch(name)
        and not _CERTIFICATES_AND_TOOLS.fullmatch(name)
    ]


def _names_files(name: str, value: str) -> bool:
    """Whether a word of a value, or what follows `name=`, is a path or a `file:` URL."""
    words = [re.sub(r"^[\w.-]+=", "", word) for word in value.split()]
    if name.endswith("CONSTRAINT"):
        return any("://" not in word or word.startswith("file:") for word in words)
    return any(word.startswith(("/", "./", "../", "~", "file:")) for word in words)
