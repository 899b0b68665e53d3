"""`publish`: check a folder of finished wheels, and upload them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from manywheels.cli.request import Request, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.plan.settings import Settings
from manywheels.verify.rules import verification_rules


def execute(request: Request, cancellation: Cancellation) -> int:
    """Raises ManywheelsError."""
    return upload(read_wheel_settings(request), cancellation)


def upload(settings: Settings, cancellation: Cancellation, environment: Mapping[str, str] = os.environ) -> int:
    """Raises ManywheelsError."""
    from manywheels.deliver.index.publish import publish

    return publish(settings, cancellation, environment, rules=verification_rules(settings.project_table))
