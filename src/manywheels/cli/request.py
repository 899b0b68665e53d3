"""A command and its inputs, from the command line or a CI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from manywheels.plan import trust
from manywheels.plan.inputs import Value
from manywheels.plan.project import settings_of
from manywheels.plan.settings import Settings, read_settings

FORMATS: Final = ("text", "json", "sarif", "github")
MATRICES: Final = ("github", "gitlab")
SHELLS: Final = ("bash", "zsh", "fish")
KINDS: Final = ("output", "cache", "volumes", "images")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Options of `verify`. `imports` imports wheels here, which runs their code, `images` in containers.

    `attested` checks attestations; a given `publisher` must have signed them.
    """

    form: str = "text"
    strict: bool = False
    imports: bool = False
    images: tuple[str, ...] = ()
    attested: bool = False
    publisher: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A command and its inputs; `paths` is the project, `verify`'s wheels or `gather`'s folders.

    `matrix` is the CI to print jobs for, of at most `per_job` targets each; empty for a table. `identifiers` prints the
    targets' names alone. `shell` is the one whose completion to print. `kinds` are what `clean` removes, none for all;
    with `dry_run`, it only lists them. `part` are the identifiers of a part of a run that another program has planned;
    it may leave the sdist to another part, share a `jobserver` with other parts, and be `traced` by that program.
    `leave_out` are paths from the project's folder, of reports that program writes.
    """

    command: str
    paths: tuple[Path, ...] = (Path(),)
    given: Mapping[str, Value] = field(default_factory=dict)
    engine: str = "auto"
    toolchain: str = "auto"
    as_json: bool = False
    quiet: bool = False
    explain: bool = False
    matrix: str = ""
    identifiers: bool = False
    per_job: int = 1
    junit: Path | None = None
    verification: Verification = Verification()
    codes: tuple[str, ...] = ()
    shell: str = ""
    kinds: tuple[str, ...] = ()
    dry_run: bool = False
    part: tuple[str, ...] = ()
    without_sdist: bool = False
    jobserver: Path | None = None
    traced: bool = False
    leave_out: tuple[str, ...] = ()


def read_wheel_settings(request: Request, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of `verify`, `gather` or `publish`, whose project is optional.

    `publish` reads its project's pyproject.toml, the others the working folder's. Raises InputError, and
    OutputFolderError for a place that only the workflow may name.
    """
    folder = request.paths[0] if request.command == "publish" else Path()
    settings = read_settings(request.given, settings_of(folder), environment)
    trust.require_places(settings, os.environ)
    return settings
