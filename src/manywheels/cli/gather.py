"""`gather`: combine the sets of several jobs into one."""

from __future__ import annotations

from pathlib import Path

from manywheels.cli.request import Request, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_OK
from manywheels.plan import inputs


def execute(request: Request, cancellation: Cancellation) -> int:
    """Raises ManywheelsError."""
    from manywheels.plan.delivery_options import resolve_delivery
    from manywheels.wheels.gather import SetSource, gather
    from manywheels.wheels.output import open_output

    settings = read_wheel_settings(request)
    folder = Path(settings.parsed("output-dir", inputs.parse_path))
    sources = [SetSource(folder=path, name=str(path)) for path in request.paths]
    delivery = resolve_delivery(settings)
    gathered = gather(
        sources, open_output(folder), digests=delivery.manifest_digests, allow_missing=delivery.allow_missing,
        cancellation=cancellation,
    )  # fmt: skip
    print(gathered.describe(folder))
    return EXIT_OK
