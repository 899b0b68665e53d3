"""Option types: how TOML values become text, and how two values join; the rules are cibuildwheel's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from manywheels.data import table
from manywheels.errors import InputError

Table = Mapping[str, Any]
ARCHS: Final = ("x86_64", "i686", "aarch64", "ppc64le", "s390x", "armv7l", "riscv64")
# The images for one architecture, only in pyproject.toml; PyPy's may be another.
IMAGE_OPTION: Final = re.compile(rf"((many|musl)linux-({'|'.join(ARCHS)})|manylinux-pypy_(x86_64|i686|aarch64))-image")
IMAGE_OPTIONS: Final = (
    *(f"{family}linux-{arch}-image" for family in ("many", "musl") for arch in ARCHS),
    *(f"manylinux-pypy_{arch}-image" for arch in ("x86_64", "i686", "aarch64")),
)


class Inherit(StrEnum):
    """How an override combines with the value before it."""

    NONE = "none"
    APPEND = "append"
    PREPEND = "prepend"


@dataclass(frozen=True, kw_only=True)
class Format:
    """How values of one type are written. `joint` is between list items (None: no lists).

    `allowed` describes valid TOML in messages.
    """

    allowed: str
    joint: str | None = None
    quoted: bool = False
    table: Callable[[Table], str] | None = None
    merge: Callable[[str, str], str] | None = None


def _write_assignments(values: Table) -> str:
    """Write variables as `NAME="value"` words, in which `$NAME` still expands."""
    return " ".join(
        '{}="{}"'.format(name, _scalar(value).replace("\\", "\\\\").replace('"', '\\"'))
        for name, value in values.items()
    )


def _write_pairs(values: Table) -> str:
    """Write `key=value` words; a list of values repeats its key."""
    pairs = [(key, item) for key, value in values.items() for item in (value if isinstance(value, list) else [value])]
    return " ".join(shlex.quote(f"{key}={_scalar(item)}") for key, item in pairs)


def _merge_pairs(before: str, after: str) -> str:
    """The second text's keys replace the first's, in their places."""
    merged = _by_key(before) | _by_key(after)
    return shlex.join(word for words in merged.values() for word in words)


def _by_key(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in shlex.split(text):
        found.setdefault(word.partition("=")[0], []).append(word)
    return found


def _write_fields(values: Table) -> str:
    """Write a table as `name: pip; args: --no-cache-dir`."""
    fields = []
    for name, value in values.items():
        words = [_scalar(item) for item in (value if isinstance(value, list) else [value])]
        fields.append(f"{name}: {shlex.join(words)}")
    return "; ".join(fields)


_SCALAR: Final = Format(allowed="a string, a number, true or false")
_WORDS: Final = Format(allowed="a string or a list of strings", joint=" ")
_ARGUMENTS: Final = Format(allowed="a string or a list of strings", joint=" ", quoted=True)
_FIELDS: Final = Format(allowed="a string or a table of strings and lists of strings", table=_write_fields)
FORMATS: Final[Mapping[str, Format]] = {
    **dict.fromkeys(("text", "path", "choice", "flag", "number", "jobs", "duration"), _SCALAR),
    "patterns": _WORDS,
    "words": _WORDS,
    "arguments": _ARGUMENTS,
    "extras": Format(allowed="a string or a list of strings", joint=","),
    "commands": Format(allowed="a string or a list of strings", joint=" && "),
    "assignments": Format(
        allowed="a string, a list of strings or a table of strings", joint=" ", table=_write_assignments
    ),
    "settings": Format(
        allowed="a string, a list of strings or a table of strings", joint=" ", table=_write_pairs, merge=_merge_pairs
    ),
    "front-end": _FIELDS,
    "constraints": _FIELDS,
}


def _format_of(name: str) -> Format:
    return FORMATS[table("options").get(name, {}).get("type", "text")]


def write(name: str, value: object, origin: str) -> str:
    """Raises InputError for a value that is not of the option's type."""
    form = _format_of(name)
    match value:
        case bool() | str() | int() | float():
            return _scalar(value)
        case list() if form.joint is not None and all(isinstance(item, str) for item in value):
            return form.joint.join(map(shlex.quote, value) if form.quoted else value)
        case dict() if form.table and all(_is_leaf(item) for item in value.values()):
            return form.table(value)
    raise InputError(f"{origin}: a value of this type cannot be used.", remedy=f"Give {form.allowed}.")


def join(name: str, before: str, after: str, rule: Inherit, origin: str) -> str:
    """Raises InputError for types that cannot be joined."""
    if rule is Inherit.NONE:
        return after
    words = table("options").get(name, {}).get("stands_for", {})
    before, after = words.get(before, before), words.get(after, after)
    first, second = (before, after) if rule is Inherit.APPEND else (after, before)
    form = _format_of(name)
    if form.merge is None and form.joint is None:
        raise InputError(
            f"{origin}: `{name}` has a single value, which `inherit` cannot join to.",
            remedy=f"Remove `{name}` from `inherit`: the override's value then replaces the other.",
        )
    if not first or not second:
        return first or second
    return form.merge(first, second) if form.merge else f"{first}{form.joint}{second}"


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_leaf(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str | int) for item in value)
    return isinstance(value, str | int | float)
