"""`publish`: a folder of finished wheels is checked and uploaded."""

from __future__ import annotations

from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.plan import inputs
from manywheels.plan.project import settings_of
from manywheels.verify.rules import verification_rules


def execute(request: Request, cancellation: Cancellation) -> int:
    """Upload the set in the given folder, and return the exit status. Raises ManywheelsError."""
    from manywheels.deliver.index.publish import run

    folder = request.paths[0]  # a job that only publishes may have no checkout
    settings = settings_of(folder)
    return run(inputs.layered(request.given, settings), cancellation, rules=verification_rules(settings))
