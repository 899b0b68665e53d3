"""The ledger of an upload as an artifact of its own: what became of each file is known however the job ended."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from manywheels import inputs
from manywheels.ci.packing import Member
from manywheels.ci.relay import open_artifacts
from manywheels.ci.results import has_service
from manywheels.cli_request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.core.files import last_written
from manywheels.core.interruptible import until_stopped
from manywheels.core.text import harmless
from manywheels.delivery import resolve_delivery, resolve_publishing
from manywheels.errors import DeliveryError
from manywheels.output import LEDGER
from manywheels.project import settings_of


@contextmanager
def ledger_uploaded(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> Iterator[None]:
    """Upload the ledger that the block writes, whatever becomes of the block; that it cannot be is only a warning."""
    layers = inputs.layered(request.given, settings_of(request.paths[0]))
    options, delivery = resolve_publishing(layers), resolve_delivery(layers)
    path = options.packages_dir / LEDGER
    before = last_written(path)
    try:
        yield
    finally:
        if has_service(environment) and last_written(path) not in {before, None} and not cancellation.requested:
            name = artifact_name(delivery.artifact_name, options.repository)
            artifacts, member = open_artifacts(environment, cancellation), Member(name=LEDGER, path=path)
            try:
                until_stopped(
                    lambda: artifacts.upload(name, [member], retention_days=delivery.retention_days, overwrite=True),
                    cancellation,
                )
            except DeliveryError as error:
                print(harmless(f"warning: the ledger is in no artifact: {error.message}"), flush=True)


def artifact_name(wheels: str, repository: str) -> str:
    """Return the name for a ledger: one for each set and index, so that one run may publish to several.

    It does not begin as the sets' names do: a later job's `artifact-pattern: wheels-*` shall not take it for a set.
    """
    index = urlsplit(repository).hostname or repository
    return f"ledger-{wheels}-{re.sub(r'[^A-Za-z0-9.-]', '-', index)}"
