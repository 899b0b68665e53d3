"""METADATA and PKG-INFO, as the index reads them."""

from __future__ import annotations

from typing import Final

from packaging.metadata import RawMetadata, parse_email

NOTHING: Final = "UNKNOWN"
# Here UNKNOWN is a value like any other: a project or dependency may have that name.
_KEPT: Final = frozenset({"name", "version", "metadata_version", "requires_dist"})


def read_metadata(content: bytes) -> tuple[RawMetadata, dict[str, list[str]]]:
    """Return the raw fields, and those that cannot be parsed.

    A field that is empty or `UNKNOWN` is left out, as by the index: distutils, and setuptools before 62, wrote
    `UNKNOWN` for what a project does not say. Of a field with several values, the last counts.
    """
    raw, unparsed = parse_email(content)
    kept = {name: value for name, value in raw.items() if name in _KEPT or not _says_nothing(value)}
    return RawMetadata(**kept), unparsed  # type: ignore[typeddict-item]


def _says_nothing(value: object) -> bool:
    if isinstance(value, list):
        return value == [""] or (bool(value) and value[-1].strip() == NOTHING)
    return isinstance(value, str) and (not value or value.strip() == NOTHING)
