"""`publish`: check a folder of finished wheels, and upload them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from manywheels.cli.request import Request, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.core.printing import say
from manywheels.plan.settings import Settings
from manywheels.verify.rules import verification_rules


def execute(request: Request, cancellation: Cancellation) -> int:
    """Raises ManywheelsError."""
    settings = read_wheel_settings(request)
    return upload(_with_foreign(settings, cancellation) if settings.value("foreign").value else settings, cancellation)


def _with_foreign(settings: Settings, cancellation: Cancellation) -> Settings:
    """Put the set in the folder, and what `foreign` names, together in a folder below it. Raises ManywheelsError."""
    from manywheels.cli.gather import GATHERED, gather_folders, sealed
    from manywheels.plan.delivery_options import resolve_publishing

    folder = resolve_publishing(settings).packages_dir
    gathered = gather_folders([folder], folder / GATHERED, settings, cancellation)
    say(*gathered.describe(folder / GATHERED).splitlines())
    return settings.with_values(sealed(gathered.manifest, folder / GATHERED))


def upload(settings: Settings, cancellation: Cancellation, environment: Mapping[str, str] = os.environ) -> int:
    """Raises ManywheelsError."""
    from manywheels.deliver.index.publish import publish

    return publish(settings, cancellation, environment, rules=verification_rules(settings.project_table))
