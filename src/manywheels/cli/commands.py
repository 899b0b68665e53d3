"""Which function carries out which command; a command's modules are imported when it is carried out."""

from __future__ import annotations

import json

from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_OK
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value


def execute(request: Request, cancellation: Cancellation) -> int:  # noqa: PLR0911 - one for each command
    """Carry out a request and return the exit status. Raises ManywheelsError for what stops it before it begins."""
    match request.command:
        case "build":
            from manywheels.cli import build

            return build.execute(request, cancellation)
        case "plan":
            from manywheels.cli import plan

            return plan.execute(request)
        case "verify":
            from manywheels.cli import verify

            return verify.execute(request, cancellation)
        case "gather":
            from manywheels.cli import gather

            return gather.execute(request, cancellation)
        case "publish":
            from manywheels.cli import publish

            return publish.execute(request, cancellation)
        case "explain":
            from manywheels.cli import explain

            return explain.execute(request)
        case "schema":
            from manywheels.plan.schema import schema

            print(json.dumps(schema(), indent=2))
            return EXIT_OK
        case "doctor":
            from manywheels.cli.doctor import examine

            return examine()
    raise inputs.refuse(
        Value(value=request.command, origin=Origin(OriginKind.COMMAND_LINE, "command")),
        "command",
        ", ".join(inputs.COMMANDS),
    )
