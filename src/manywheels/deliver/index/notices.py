"""The preflight's warnings, wherever people look: the console, and the annotations and summary of a GitHub job."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from manywheels.core.github_commands import Annotation, at_most
from manywheels.core.markdown import LIMIT, fit, prose
from manywheels.core.printing import say, write_lines

_MOST: Final = 100_000  # bytes of the summary


def show_changes(changes: Sequence[str], environment: Mapping[str, str]) -> None:
    """Say how the release differs from the one before; the first line is a heading."""
    say(*changes)
    if changes and (file := environment.get("GITHUB_STEP_SUMMARY")):
        with Path(file).open("a", encoding="utf-8") as summary:
            lines = (f"- {prose(change.strip())}" for change in changes[1:])
            told = fit(min(_MOST, LIMIT - summary.tell()), lines, "differences", "the log")
            summary.write(f"### {prose(changes[0].capitalize())}\n\n{told}\n\n")


def show_warnings(warnings: Iterable[str], environment: Mapping[str, str]) -> None:
    warnings = tuple(warnings)
    say(*(f"warning: {warning}" for warning in warnings))
    if not warnings:
        return
    if environment.get("GITHUB_ACTIONS") == "true":
        shown = at_most([Annotation(kind="warning", title="publish", message=warning) for warning in warnings])
        write_lines("".join(f"{annotation}\n" for annotation in shown), sys.stdout)
    if file := environment.get("GITHUB_STEP_SUMMARY"):
        with Path(file).open("a", encoding="utf-8") as summary:
            left = min(_MOST, LIMIT - summary.tell())
            told = fit(left, (f"- {prose(warning)}" for warning in warnings), "warnings", "the log")
            summary.write(f"### Warnings before the upload\n\n{told}\n\n")
