"""Tokens: known here so that no log, no message and no child process ever holds one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from manywheels.errors import ManywheelsError
from manywheels.publish import lines
from manywheels.redaction import redacted
from manywheels.report.github import masks


@dataclass(kw_only=True)
class Secrets:
    """The tokens of this run. GitHub's runner is told of each, and masks it in everything that is logged after."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _known: list[str] = field(default_factory=list, repr=False)

    def keep(self, token: str) -> str:
        """Remember a token, have it masked, and return it."""
        if token and token not in self._known:
            self._known.append(token)
            if self.environment.get("GITHUB_ACTIONS") == "true":
                lines.write("".join(f"{mask}\n" for mask in masks([token])), self.stream)
        return token

    def hide(self, token: str) -> None:
        """Remember a token that the runner itself has made, and masks."""
        if token and token not in self._known:
            self._known.append(token)

    def cleaned(self, text: str) -> str:
        """Return a text, as of a server, without the tokens in it, in whatever form."""
        return redacted(text, self._known)

    @contextmanager
    def kept_out(self) -> Iterator[None]:
        """Take the tokens out of whatever error leaves the block: servers' words and addresses are in many."""
        try:
            yield
        except ManywheelsError as error:
            error.message, error.remedy = self.cleaned(error.message), self.cleaned(error.remedy)
            raise
