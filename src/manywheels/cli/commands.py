"""The commands: their titles, and the functions that run them, imported only when needed."""

from __future__ import annotations

import json
from typing import Final

from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.data import completion
from manywheels.errors import EXIT_OK
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value

TITLES: Final = {
    "build": "build, repair and verify the project's wheels",
    "plan": "show what `build` would do, without doing it",
    "verify": "check that wheels are what their tags say",
    "gather": "put the sets that several jobs built together, if they are whole and belong together",
    "publish": "check a folder of finished wheels, and upload them to the index",
    "clean": "remove what builds have left: the finished set, caches, and the container engine's images and volumes",
    "explain": "say what an error or a check is, with an example, and what to do",
    "schema": "print the JSON schema of `[tool.manywheels]`, for editors",
    "completion": "print a shell's completion of this command line",
    "doctor": "show what this machine has, and the cure for what is missing",
}


def execute(request: Request, cancellation: Cancellation) -> int:  # noqa: PLR0911 - one return per command
    """Return the exit status. Raises ManywheelsError."""
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
        case "clean":
            from manywheels.cli import clean

            return clean.execute(request, cancellation)
        case "explain":
            from manywheels.cli import explain

            return explain.execute(request)
        case "schema":
            from manywheels.plan.schema import schema

            print(json.dumps(schema(), indent=2))
            return EXIT_OK
        case "completion":
            print(completion(request.shell), end="")
            return EXIT_OK
        case "doctor":
            from manywheels.cli import doctor

            return doctor.execute()
    raise inputs.refuse(
        Value(value=request.command, origin=Origin(OriginKind.COMMAND_LINE, "command")),
        "command",
        ", ".join(inputs.COMMANDS),
    )
