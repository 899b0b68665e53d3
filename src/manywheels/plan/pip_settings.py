"""What pip's variables say, told to uv in its own.

uv builds by default, creates the environments and installs what tests need, and reads none of pip's settings.
`data/pip.toml` has the table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from manywheels.core.credentials import has_credentials
from manywheels.data import table

# Where pip and uv, and the builds that they start, look for constraints.
_CONSTRAINTS: Final = ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT", "UV_CONSTRAINT", "UV_BUILD_CONSTRAINT")
_ON: Final = frozenset({"1", "y", "yes", "t", "true", "on"})  # as pip reads switches
_WITH_PATHS: Final = ("places", "links", "file")


@dataclass(frozen=True, kw_only=True)
class Followed:
    """An environment with uv's variables after pip's; `made` are these, with the names of pip's.

    `notes` say which settings uv does not follow.
    """

    environment: dict[str, str]
    follower: Follower
    made: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def changed(self, change: Callable[[dict[str, str]], dict[str, str]]) -> Followed:
        """Change variables, and have uv's follow again what pip's say then."""
        return self.follower.follow(
            change({name: value for name, value in self.environment.items() if name not in self.made})
        )


@dataclass(frozen=True, kw_only=True)
class Follower:
    """Translates environments: `locate` changes a path or address, `is_there` tells whether a local folder exists.

    `constraints` is a file that counts in addition to all others.
    """

    locate: Callable[[str], str] = str
    is_there: Callable[[str], bool] = os.path.isdir
    constraints: str = ""

    def follow(self, environment: Mapping[str, str]) -> Followed:
        given = self._located(environment)
        values: dict[str, str] = {}
        made: dict[str, str] = {}
        notes = [f"uv does not follow {name}: {advice}" for name, advice in _untranslated_in(given)]
        for entry in table("pip")["variable"]:
            found = self._translated(entry, given)
            found = {name: value for name, value in found.items() if name not in made}
            own = [name for name in (*entry["uv"], *entry.get("instead", ())) if given.get(name)]
            if not own:
                values |= found
                made |= dict.fromkeys(found, entry["pip"])
                notes += self._absent(entry, given)
            elif entry["kind"] != "file" and any(given.get(name) != value for name, value in found.items()):
                notes.append(f"uv does not follow {entry['pip']}, as {own[0]} is set")
        strategy = table("pip")["strategy"]
        if strategy["pip"] in made.values() and not given.get(strategy["uv"]):
            values[strategy["uv"]] = strategy["value"]
            made[strategy["uv"]] = strategy["pip"]
        environment = self._constrained({**given, **values})
        return Followed(environment=environment, follower=self, made=made, notes=tuple(notes))

    def _located(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment in which pip's own variables name the same files in each working folder."""
        changed = {
            entry["pip"]: " ".join(map(self.locate, environment[entry["pip"]].split()))
            for entry in table("pip")["variable"]
            if entry["kind"] in _WITH_PATHS and environment.get(entry["pip"])
        }
        return {**environment, **changed}

    def _translated(self, entry: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
        first, *others = entry["uv"]
        text = given.get(entry["pip"], "").strip()
        if is_on(given.get(entry.get("unless", ""), "")):
            return {}
        match entry["kind"]:
            case "flag":
                return {first: entry["value"]} if is_on(text) else {}
            case "links":
                text = ",".join(filter(self._is_usable, text.split()))
            case "file":
                text = "" if self.is_there(text) else text
            case "packages":
                names = _format_control(text)
                if ":all:" in names:
                    return {others[0]: "1"}
                text = " ".join(names)
        return {first: text} if text else {}

    def _absent(self, entry: Mapping[str, Any], given: Mapping[str, str]) -> Iterator[str]:
        for word in given.get(entry["pip"], "").split() if entry["kind"] == "links" else ():
            if not self._is_usable(word):
                yield f"{entry['pip']} names `{word}`, which is absent"

    def _is_usable(self, word: str) -> bool:
        path = local_path(word)
        return path is None or self.is_there(path)

    def _constrained(self, environment: dict[str, str]) -> dict[str, str]:
        if not self.constraints:
            return environment
        words = {name: environment.get(name, "").split() for name in _CONSTRAINTS}
        added = {name: [*given, *({self.constraints} - {*given})] for name, given in words.items()}
        return environment | {name: " ".join(given) for name, given in added.items()}


def is_on(text: str) -> bool:
    return text.strip().lower() in _ON


def _format_control(text: str) -> list[str]:
    """Return what `--no-binary` or `--only-binary` names: `:none:` clears what is before it, `:all:` stands for all."""
    names: list[str] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        names = [] if word == ":none:" else [*names, word]
    return names


def local_path(word: str) -> str | None:
    """Return the path of a word of pip's: a path or a `file:` URL; None for other addresses."""
    if word.startswith("file:"):
        return unquote(urlsplit(word).path)
    return None if "://" in word else word


def names_with_paths() -> tuple[str, ...]:
    """Return pip's variables whose words may be paths."""
    entries = table("pip")["variable"]
    return tuple(dict.fromkeys(entry["pip"] for entry in entries if entry["kind"] in _WITH_PATHS))


def pips_names() -> tuple[str, ...]:
    """Return the variables of pip that are known here, translated or not."""
    entries = table("pip")["variable"]
    return tuple(dict.fromkeys((*(entry["pip"] for entry in entries), *table("pip")["untranslated"])))


def _untranslated_in(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, advice in table("pip")["untranslated"].items():
        if environment.get(name) and environment[name] != os.devnull:
            yield name, advice


def withheld(caller: Mapping[str, str], passed: Iterable[str]) -> list[str]:
    """Return notes on the caller's indexes that builds are not told, because of their credentials."""
    names = [name for name in table("environment")["pass"] if has_credentials(caller.get(name, ""))]
    hidden = [name for name in names if name not in set(passed) and name.startswith(("PIP_", "UV_"))]
    return [
        f"{name} holds credentials, so that builds do not see it, unless `environment-pass` names it" for name in hidden
    ]
