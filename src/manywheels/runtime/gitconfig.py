"""Reduce git configuration to what describes a repository (git-config(1)), without git.

A checkout's can name programs, files to read, and credentials.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LARGEST: Final = 1 << 20  # bytes
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # do not wait for a FIFO
_HEADER: Final = re.compile(r'\[[ \t]*([\w.-]+)[ \t]*(?:"((?:\\.|[^"\\\n])*)"[ \t]*)?\]')
_KEY: Final = re.compile(r"([A-Za-z][A-Za-z0-9-]*)[ \t]*(=?)[ \t]*")
_VALUE: Final = re.compile(r'(?:\\[\s\S]|"(?:\\[\s\S]|[^"\\\n])*"|[^\n#;"\\])*')
_PIECE: Final = re.compile(r'\\([\s\S])|(")|([^\\"]+)')
_REST: Final = re.compile(r"[^\n]*")
_BLANKS: Final = re.compile(r"\s*")
_ESCAPES: Final = {"n": "\n", "t": "\t", "b": "\b", "\n": ""}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BARE_WORD: Final = re.compile(r"[\w./:@+*^~=%,-]+")
# By section; `.*` stands for its subsection. None names a program, or a file outside.
_KEPT: Final = {
    "core": {
        "repositoryformatversion", "bare", "filemode", "ignorecase", "symlinks", "precomposeunicode", "autocrlf", "eol",
        "safecrlf", "abbrev", "sparsecheckout", "sparsecheckoutcone", "logallrefupdates",
        "worktree",
    },
    "index": {"sparse", "version"},
    "branch.*": {"remote", "merge"},
    "remote.*": {"url", "fetch", "tagopt", "promisor", "partialclonefilter"},
    "submodule": {"active"},
    "submodule.*": {"active", "url"},
    "user": {"name", "email"},
    "lfs": {"repositoryformatversion"},
}  # fmt: skip
_FORMAT: Final = "extensions"  # of the repository format: git would misread it without these
_OF_LFS: Final = {  # without these, git takes git-lfs's files for changed
    "clean": {"git-lfs clean -- %f"},
    "smudge": {"git-lfs smudge -- %f", "git-lfs smudge --skip -- %f"},
    "process": {"git-lfs filter-process", "git-lfs filter-process --skip"},
}
_OF_THE_USER: Final = frozenset(
    {"filemode", "symlinks", "ignorecase", "precomposeunicode", "autocrlf", "eol", "abbrev"}
)
# A copy has other inodes and owners, but the same sizes and times. So no filter is needed to see that nothing changed.
OF_A_COPY: Final = "[core]\n\tcheckStat = minimal\n\ttrustctime = false\n"


@dataclass(frozen=True, kw_only=True)
class ConfigEntry:
    """A setting. Section and key are in lower case; `name` is the subsection, such as a branch, or None."""

    section: str
    name: str | None
    key: str
    value: str


@dataclass(frozen=True, kw_only=True)
class UsersSettings:
    """What a checkout's state depends on beside its repository: configuration, and patterns of ignored files."""

    configuration: str = ""
    ignored: str = ""


def read_text(path: Path) -> str:
    """Return a text; empty if missing, not a regular file, or larger than 1 MiB."""
    try:
        descriptor = os.open(path, _READ)
    except OSError:
        return ""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return ""
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1)
    return content.decode("utf-8", "surrogateescape") if len(content) <= _LARGEST else ""


def settings_in(text: str) -> Iterator[ConfigEntry]:
    """Invalid lines are skipped."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    section, name, at = "", None, 0
    while at < len(text):
        at = _end(_BLANKS, text, at)
        if header := _HEADER.match(text, at):
            section, at = header[1].lower(), header.end()
            name = re.sub(r"\\(.)", r"\1", header[2]) if header[2] is not None else None
            if name is None:  # the old form `[branch.main]`
                section, _, old = section.partition(".")
                name = old or None
        elif key := _KEY.match(text, at):
            value = _VALUE.match(text, key.end())
            assert value is not None  # noqa: S101 - it matches the empty text
            yield ConfigEntry(
                section=section, name=name, key=key[1].lower(), value=_plain(value[0]) if key[2] else "true"
            )
            at = _end(_REST, text, value.end())
        else:
            at = _end(_REST, text, at)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _plain(written: str) -> str:
    value, kept, quoted = "", 0, False
    for escaped, quote, plain in _PIECE.findall(written):
        text = _ESCAPES.get(escaped, escaped) if escaped else plain
        value += text if value or quoted else text.lstrip()
        quoted ^= bool(quote)
        if escaped or quote or quoted:
            kept = len(value)
    return value[:kept] + value[kept:].rstrip()


def reduced(text: str, *, without: frozenset[str] = frozenset()) -> str:
    """Return a configuration file with kept settings only, and addresses without credentials.

    `without` are keys of `core` to leave out.
    """
    return _written(settings_in(text), without)


def of_the_user(settings: Iterable[ConfigEntry]) -> str:
    """Return a configuration file with the user's settings that decide whether a file counts as changed."""
    kept = (entry for entry in settings if entry.section == "filter" or _is_of_the_user(entry))
    return _written(kept, frozenset())


def _is_of_the_user(entry: ConfigEntry) -> bool:
    return (entry.section, entry.name) == ("core", None) and entry.key in _OF_THE_USER


def _written(settings: Iterable[ConfigEntry], without: frozenset[str]) -> str:
    lines, last = [], ""
    for setting in settings:
        value = _kept(setting)
        if value is None or (setting.section == "core" and setting.key in without):
            continue
        if (header := _header(setting)) != last:
            lines.append(header)
        lines.append(f"\t{setting.key} = {_quoted(value)}")
        last = header
    return "".join(f"{line}\n" for line in lines)


def _kept(setting: ConfigEntry) -> str | None:
    if _CONTROL.search(setting.value) or _CONTROL.search(setting.name or ""):
        return None
    if setting.section == "filter":
        known = _OF_LFS.get(setting.key, ()) if setting.name == "lfs" else ()
        return setting.value if setting.value in known else None
    if setting.section == _FORMAT and setting.name is None:
        return setting.value
    kept = _KEPT.get(setting.section if setting.name is None else f"{setting.section}.*", ())
    if setting.key not in kept or (setting.key == "worktree" and setting.value.startswith("/")):
        return None
    return _address(setting.value) if setting.key == "url" else setting.value


def _address(url: str) -> str | None:
    """Return an address without credentials; None if it names a remote helper program."""
    if "::" in url or url.startswith("-"):
        return None
    scheme, separator, rest = url.partition("://")
    if not separator:  # a path, or ssh's `user@host:path`, without a password
        return url
    place, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{place.rpartition('@')[2]}{slash}{path}"


def _header(setting: ConfigEntry) -> str:
    if setting.name is None:
        return f"[{setting.section}]"
    return f'[{setting.section} "{_escaped(setting.name)}"]'


def _quoted(value: str) -> str:
    return value if _BARE_WORD.fullmatch(value) else f'"{_escaped(value)}"'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
