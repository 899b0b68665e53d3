"""`explain`: describe the checks of `verify`."""

from __future__ import annotations

from manywheels.cli.request import Request
from manywheels.errors import EXIT_OK, InputError


def execute(request: Request) -> int:
    """Without codes, print all checks. Raises InputError for unknown codes."""
    from manywheels.verify.checks import CHECKS

    entries = {entry.code: entry for entry in CHECKS}
    for code in request.codes:
        if code.upper() not in entries:
            raise InputError(f"There is no check `{code}`.", remedy="`manywheels explain` lists the checks.")
    for code in [code.upper() for code in request.codes] or sorted(entries):
        entry = entries[code]
        print(f"{code} {entry.title} ({entry.severity})\n  {entry.must_hold}\n  {entry.reason}")
    return EXIT_OK
