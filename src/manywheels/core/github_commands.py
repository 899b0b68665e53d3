"""GitHub's workflow commands, masks for secrets, annotations of source lines.

Syntax: `::name key=value,…::data`, delimiters as %XX (actions/runner, `ActionCommand.TryParseV2`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from manywheels.core import text

MOST_ANNOTATIONS: Final = 10  # of one kind in one step; GitHub drops more
_SECRET_NAME: Final = re.compile(r"(?:^|[_-])(?:PASSWORD|TOKEN|SECRET|API[_-]?KEY)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """`kind` is `error` or `warning`, `file` relative to the repository, `line` 1-based."""

    kind: str
    title: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = {"file": text.clean(self.file), "line": str(self.line)} if self.file and self.line else {}
        message = "\n".join(map(text.clean, self.message.split("\n")))
        return command(self.kind, message, {**place, "title": text.clean(self.title)})


def command(name: str, data: str, properties: Mapping[str, str] | None = None) -> str:
    written = ",".join(f"{key}={_escape_property(value)}" for key, value in (properties or {}).items())
    return f"::{name}{' ' if written else ''}{written}::{escape(data)}"


def escape(data: str) -> str:
    return data.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(value: str) -> str:
    return escape(value).replace(":", "%3A").replace(",", "%2C")


def masks(values: Iterable[str]) -> list[str]:
    """Return `add-mask` commands for the values and their lines, to print before anything that may hold one."""
    lines = (part for value in values for part in (value.strip(), *value.splitlines()))
    return [command("add-mask", line) for line in dict.fromkeys(map(str.strip, lines)) if line]


def known_secrets(environment: Mapping[str, str]) -> list[str]:
    """Return passwords and tokens in variables, and passwords in addresses, encoded and decoded."""
    found = [value for name, value in environment.items() if _SECRET_NAME.search(name) and value.strip()]
    for value in environment.values():
        for word in re.findall(r"https?://[^\s'\"]*@\S+", value):
            found += _passwords(word)
    return list(dict.fromkeys(found))


def _passwords(address: str) -> list[str]:
    try:
        password = urlsplit(address).password or ""
    except ValueError:
        return []
    return [password, unquote(password)] if password else []


def at_most(found: list[Annotation]) -> list[Annotation]:
    """The last of MOST_ANNOTATIONS counts the rest."""
    if len(found) <= MOST_ANNOTATIONS:
        return found
    shown = found[: MOST_ANNOTATIONS - 1]
    rest = Annotation(
        kind=found[0].kind,
        title=f"{len(found) - len(shown)} more",
        message=f"GitHub shows {MOST_ANNOTATIONS} for each step; the others are in the step's summary and log.",
    )
    return [*shown, rest]
