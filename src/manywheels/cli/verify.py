"""`verify`: check wheels, and print what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.cli.request import Request, Verification, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.core.text import sanitize, some
from manywheels.errors import EXIT_OK, EXIT_VERIFICATION
from manywheels.plan.delivery_options import resolve_delivery
from manywheels.plan.settings import Settings
from manywheels.report.findings import render
from manywheels.verify import collect, what_else
from manywheels.verify.checks import INSTALL_TRIED
from manywheels.verify.installs import (
    chosen_by_installers,
    imports,
    imports_in,
    interpreter_for,
    requires_python,
)
from manywheels.verify.model import Finding, Problem
from manywheels.verify.rules import verification_rules
from manywheels.verify.run import Extra, verify_wheels
from manywheels.verify.sdists import check_sdists
from manywheels.wheels.gather import require_digest
from manywheels.wheels.leftovers import of_other_versions
from manywheels.wheels.manifest import Manifest, read_manifest
from manywheels.wheels.output import MANIFEST

if TYPE_CHECKING:
    from manywheels.verify.attestations import Attested

Ask = Callable[[Path], Iterable[Finding]]


def execute(request: Request, cancellation: Cancellation) -> int:
    """The rules are those of the working folder's project. Raises ManywheelsError."""
    return verify(request, read_wheel_settings(request), cancellation)


def verify(request: Request, settings: Settings, cancellation: Cancellation) -> int:
    """With `manifest-digest`, the first path is a folder whose manifest must match. Raises ManywheelsError."""
    paths, wanted = request.paths, request.verification
    delivery = resolve_delivery(settings)
    rules = replace(
        verification_rules(settings.project_table, strict=wanted.strict), allow_missing=delivery.allow_missing
    )
    wheels, sdists = collect(paths)
    for path in paths:
        if other := what_else(path):
            print(sanitize(f"{path.name} is {other}, and was not looked at"), file=sys.stderr)
    manifest = _manifest_of(paths, delivery.manifest_digests)
    if older := of_other_versions(manifest, (*sdists, *wheels)):
        told = "not looked at, as they are of other versions than the manifest's"
        print(sanitize(f"note: {told}: {some([path.name for path in older])}"), file=sys.stderr)
        wheels, sdists = (tuple(path for path in kind if path not in older) for kind in (wheels, sdists))
    attestations = _attested(wanted.publisher, cancellation) if wanted.attested else None
    extra = [*_extra_checks(wanted, cancellation), *([Extra(ask=attestations)] if attestations else [])]
    verdict = verify_wheels(wheels, rules, manifest=manifest, extra=extra, cancellation=cancellation)
    reports, findings = check_sdists(sdists, manifest, rules, cancellation)
    verdict = replace(verdict, sdists=reports, set_findings=(*verdict.set_findings, *findings))
    print(render(verdict, wanted.form))
    if attestations and wanted.form == "text":
        print("\n".join(f"{name} was signed by {signer}" for name, signer in sorted(attestations.signers.items())))
    return EXIT_OK if verdict.passed else EXIT_VERIFICATION


def _manifest_of(paths: Sequence[Path], digests: Collection[str]) -> Manifest | None:
    folder, is_alone = paths[0], len(paths) == 1
    if digests:
        sealed = require_digest(folder, digests)
        return sealed if is_alone else None
    return read_manifest(folder) if is_alone and os.path.lexists(folder / MANIFEST) else None


def _extra_checks(wanted: Verification, cancellation: Cancellation) -> list[Extra]:
    importing = [_importing_here(cancellation)] if wanted.imports else []
    importing += [_importing_in(image, cancellation) for image in wanted.images]
    return [
        Extra(ask=lambda path: chosen_by_installers(path, cancellation), unpacks="pip and uv"),
        *(Extra(ask=ask, unpacks="an interpreter") for ask in importing),
    ]


def _attested(publisher: str, cancellation: Cancellation) -> Attested:
    from manywheels.verify.attestations import attested
    from manywheels.verify.signatures import parse_publisher

    return attested(parse_publisher(publisher) if publisher else None, cancellation=cancellation)


def _importing_in(image: str, cancellation: Cancellation) -> Ask:
    def check(path: Path) -> tuple[Finding, ...]:
        return imports_in(path, image, cancellation)

    return check


def _importing_here(cancellation: Cancellation) -> Ask:
    from manywheels.plan.interpreters import discover
    from manywheels.wheels.wheelfile import parse_name

    interpreters = discover().interpreters

    def check(path: Path) -> tuple[Finding, ...]:
        interpreter = interpreter_for(parse_name(path.name), interpreters, requires_python(path))
        if interpreter:
            return imports(path, interpreter, cancellation)
        problem = Problem(
            message="was not imported: this machine has no matching interpreter",
            remedy="Install one (`manywheels doctor` lists those found), or give an image with `--import-in`.",
        )
        return (INSTALL_TRIED.finding(path.name, problem),)

    return check
