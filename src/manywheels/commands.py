"""Which function carries out which command; a command's modules are imported when it is carried out."""

from __future__ import annotations

import json

from manywheels import inputs
from manywheels.cli_request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_OK
from manywheels.inputs import Given, Source


def execute(request: Request, cancellation: Cancellation) -> int:  # noqa: PLR0911 - one for each command
    """Carry out a request and return the exit status. Raises ManywheelsError for what stops it before it begins."""
    match request.command:
        case "build":
            from manywheels import cli_build

            return cli_build.execute(request, cancellation)
        case "plan":
            from manywheels import cli_plan

            return cli_plan.execute(request)
        case "verify":
            from manywheels.verify import command

            return command.execute(request, cancellation)
        case "gather":
            from manywheels import cli_gather

            return cli_gather.execute(request, cancellation)
        case "publish":
            from manywheels import cli_publish

            return cli_publish.execute(request, cancellation)
        case "explain":
            from manywheels import cli_explain

            return cli_explain.execute(request)
        case "schema":
            from manywheels.schema import schema

            print(json.dumps(schema(), indent=2))
            return EXIT_OK
        case "doctor":
            from manywheels.doctor import examine

            return examine()
    raise inputs.refuse(
        Given(value=request.command, origin="command", source=Source.COMMAND_LINE),
        "command",
        ", ".join(inputs.COMMANDS),
    )
