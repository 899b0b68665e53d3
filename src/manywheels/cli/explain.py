"""`explain`: say what an error or a check is, with an example, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from manywheels.cli.request import Request
from manywheels.core.text import did_you_mean
from manywheels.data import table
from manywheels.errors import EXIT_OK, InputError, ManywheelsError

if TYPE_CHECKING:
    from manywheels.verify.model import CheckInfo


def execute(request: Request) -> int:
    """Without codes, print all. Raises InputError for unknown codes."""
    known = explanations()
    codes = [_code(word) for word in request.codes]
    for code in codes:
        if code not in known:
            raise InputError(
                f"There is no error and no check `{code}`{did_you_mean(code, known)}.",
                remedy="`manywheels explain` lists them.",
            )
    print("\n".join(known[code] for code in codes or sorted(known)))
    return EXIT_OK


def explanations() -> dict[str, str]:
    """Return what is said of each code, as lines."""
    from manywheels.verify.checks import CHECKS

    return {kind.code: _of_error(kind) for kind in errors()} | {entry.code: _of_check(entry) for entry in CHECKS}


def _code(word: str) -> str:
    """Return a code as it is written: `mw254` and `254` are MW254."""
    return f"MW{word}" if word.isdecimal() else word.upper()


def _of_check(entry: CheckInfo) -> str:
    facts = table("check_examples")[entry.code]
    return (
        f"{entry.code} {entry.title} (check, {entry.severity})\n"
        f"  The rule: {entry.must_hold} {entry.reason}\n"
        f"  For example: {facts['example']}\n    {facts['message']}\n"
        f"  What to do: {facts['cure']}"
    )


def errors() -> Iterator[type[ManywheelsError]]:
    """Yield the kinds of errors that have a code of their own."""
    kinds = [ManywheelsError]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if "code" in vars(kind) and kind is not ManywheelsError:
            yield kind


def _of_error(kind: type[ManywheelsError]) -> str:
    said = " ".join((kind.__doc__ or "").split())
    facts = table("explanations")[kind.code]
    return (
        f"{kind.code} (error, exit status {kind.exit_status})\n  {said}\n"
        f"  For example: {facts['example']}\n  What to do: {facts['cure']}"
    )
