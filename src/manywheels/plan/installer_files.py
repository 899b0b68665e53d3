"""What the caller's pip.conf and uv.toml say of indexes and versions, as the variables that say the same.

Builds have another HOME, and run in containers: the files would not be found there.
"""

from __future__ import annotations

import configparser
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from manywheels.core.credentials import has_credentials
from manywheels.data import table
from manywheels.plan.pip_settings import is_on, local_path, names_with_paths, pips_names

_LARGEST: Final = 1 << 20  # bytes of a file
_SECTIONS: Final = ("global", "install")  # of pip.conf: `build`, the usual front end, calls `pip install`


@dataclass(frozen=True, kw_only=True)
class Caller:
    """The caller's variables with those from files; `origins` are the latter's files.

    `notes` name what these files say and builds are not told.
    """

    environment: dict[str, str]
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Said:
    """A file's setting as the variable `name`; empty if there is none that says the same."""

    file: Path
    setting: str
    name: str
    value: str


def read_caller(environment: Mapping[str, str], folder: Path | None = None) -> Caller:
    """Variables that are set win over files. Words of pip's that are files below `folder` become absolute paths.

    An address with credentials stays in its file: others can read a process's variables.
    """
    notes: list[str] = []
    variables: dict[str, str] = {}
    origins: dict[str, str] = {}
    untranslated = table("pip")["untranslated"]
    for said in (*_of_pip(environment, notes), *_of_uv(environment, notes)):
        where = f"`{said.setting}` of {said.file}"
        if has_credentials(said.value):
            notes.append(f"builds are not told {where}, as it holds credentials{_instead(said.name)}")
        elif said.name in untranslated:
            notes.append(f"builds do not follow {where}: {untranslated[said.name]}")
        elif not said.name:
            notes.append(f"builds do not follow {where}: set uv's variable for it in `environment`")
        else:
            variables[said.name] = said.value
            origins[said.name] = str(said.file)
    for name, advice in untranslated.items():
        if environment.get(name) and name != "PIP_CONFIG_FILE":  # which is read here
            notes.append(f"builds do not follow {name}: {advice}")
    set_by_caller = {name: value for name, value in environment.items() if value or name not in variables}
    merged = _absolute(variables | set_by_caller, folder or Path.cwd())
    return Caller(
        environment=merged,
        origins={name: file for name, file in origins.items() if name not in set_by_caller},
        notes=tuple(dict.fromkeys(notes)),
    )


def _instead(name: str) -> str:
    return f": set {name}, and name it in `environment-pass`" if name else ""


def _absolute(environment: dict[str, str], folder: Path) -> dict[str, str]:
    home = environment.get("HOME", "/nonexistent")

    def whole(word: str) -> str:
        path = local_path(word)
        if path is None or word.startswith("file:"):
            return word
        path = f"{home}{path[1:]}" if path.startswith("~/") else path
        path = os.path.normpath(folder / path)
        return path if os.path.exists(path) else word  # noqa: PTH110 - normalised, as a container has other folders

    names = [name for name in names_with_paths() if environment.get(name)]
    return environment | {name: " ".join(map(whole, environment[name].split())) for name in names}


# --- pip.conf ---------------------------------------------------------------------------------------------------------


def _of_pip(environment: Mapping[str, str], notes: list[str]) -> Iterator[_Said]:
    names = set(pips_names())
    for file in _pip_files(environment):
        for setting, value in _settings_of(file, notes):
            name = f"PIP_{setting.lstrip('-').replace('-', '_').upper()}"
            if name in names and value.strip():
                yield _Said(file=file, setting=setting, name=name, value=" ".join(value.split()))


def _pip_files(environment: Mapping[str, str]) -> list[Path]:
    """Return pip's configuration files, the one that wins last; a virtual environment's own is not among them."""
    chosen = environment.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home, own = _homes(environment)
    shared = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files = [Path(folder, "pip/pip.conf") for folder in shared.split(os.pathsep) if folder] + [Path("/etc/pip.conf")]
    if chosen and Path(chosen).exists():
        return [*files, Path(chosen)]
    return [*files, home / ".pip/pip.conf", own / "pip/pip.conf"]


def _homes(environment: Mapping[str, str]) -> tuple[Path, Path]:
    home = Path(environment.get("HOME") or "/nonexistent")
    return home, Path(environment.get("XDG_CONFIG_HOME") or home / ".config")


def _settings_of(file: Path, notes: list[str]) -> Iterator[tuple[str, str]]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(_text(file), source=str(file))
    except configparser.Error as error:
        notes.append(f"builds do not follow {file}, which cannot be read: {str(error).splitlines()[0]}")
        return
    for section in _SECTIONS:
        if parser.has_section(section):
            yield from parser.items(section)


def _text(file: Path) -> str:
    """Return a file's text; empty if it is absent, unreadable or too large to be a configuration."""
    try:
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return ""
        return file.read_text("utf-8")
    except (OSError, ValueError):
        return ""


# --- uv.toml ----------------------------------------------------------------------------------------------------------


def _of_uv(environment: Mapping[str, str], notes: list[str]) -> Iterator[_Said]:
    known, others = table("pip")["uv-toml"], table("pip")["uv-toml-untranslated"]["settings"]
    for file in _uv_files(environment):
        try:
            content = tomllib.loads(_text(file))
        except ValueError as error:
            notes.append(f"builds do not follow {file}, which cannot be read: {error}")
            continue
        for setting, value in content.items():
            if setting == "index" and (said := _indexes(file, value)):
                yield from said
            elif setting in known and (text := _text_of(setting, value, file)):
                yield _Said(file=file, setting=setting, name=known[setting], value=text)
            elif setting in others:
                yield _Said(file=file, setting=setting, name="", value="")


def _uv_files(environment: Mapping[str, str]) -> list[Path]:
    """Return uv's configuration files outside of projects, the one that wins last."""
    if is_on(environment.get("UV_NO_CONFIG", "")):
        return []
    if chosen := environment.get("UV_CONFIG_FILE"):
        return [Path(chosen)]
    shared = [folder for folder in (environment.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep) if folder]
    system = [*(Path(folder, "uv/uv.toml") for folder in shared), Path("/etc/uv/uv.toml")]
    return [*[file for file in system if file.exists()][:1], _homes(environment)[1] / "uv/uv.toml"]


def _text_of(setting: str, value: object, file: Path) -> str:
    """Return a value as uv's variable has it; empty if it cannot be."""
    if isinstance(value, bool):
        return "true" if value else ""
    given = value if isinstance(value, list) else [value]
    words = [word for word in given if isinstance(word, str)]
    if len(words) < len(given):
        return ""
    if setting == "find-links":
        return ",".join(_from_folder(words, file))
    return " ".join(words)


def _from_folder(words: Iterable[str], file: Path) -> Iterator[str]:
    for word in words:
        path = local_path(word)
        yield word if path is None or word.startswith("file:") else str(file.parent / path)


def _indexes(file: Path, value: object) -> list[_Said]:
    """Return `[[index]]`; nothing if one of them cannot be told by a variable."""
    entries: list[dict[str, Any]] = value if isinstance(value, list) else []
    simple = {"name", "url", "default"}
    if not all(isinstance(one, dict) and isinstance(one.get("url"), str) and simple >= {*one} for one in entries):
        return []
    words = {"UV_DEFAULT_INDEX": [_index(one) for one in entries if one.get("default") is True]}
    words["UV_INDEX"] = [_index(one) for one in entries if one.get("default") is not True]
    return [
        _Said(file=file, setting="index", name=name, value=" ".join(found)) for name, found in words.items() if found
    ]


def _index(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}={entry['url']}" if isinstance(entry.get("name"), str) else str(entry["url"])
