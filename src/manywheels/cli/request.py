"""What is asked for: a command, and all that was given for it."""

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


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How `verify` shall be done: `imports` runs code of the wheels, `images` are containers to do that in.

    `attested` looks at attestations, which `publisher` should have signed; empty for whoever.
    """

    form: str = "text"
    strict: bool = False
    imports: bool = False
    images: tuple[str, ...] = ()
    attested: bool = False
    publisher: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A command with what was given for it: `paths` is the project, or the wheels of `verify`.

    `matrix` is the CI for whose jobs `plan` is printed, with `per_job` targets at most in each; empty for people.
    """

    command: str
    paths: tuple[Path, ...] = (Path(),)
    given: Mapping[str, Value] = field(default_factory=dict)
    engine: str = "auto"
    toolchain: str = "auto"
    as_json: bool = False
    explain: bool = False
    matrix: str = ""
    per_job: int = 1
    junit: Path | None = None
    verification: Verification = Verification()
    codes: tuple[str, ...] = ()


def read_wheel_settings(request: Request, environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of `verify`, `gather` or `publish`, whose project is optional.

    `publish` reads the pyproject.toml of its project folder, the others that of the working folder. Raises InputError,
    and OutputFolderError if the project's files name a place that only the workflow may name.
    """
    folder = request.paths[0] if request.command == "publish" else Path()
    settings = read_settings(request.given, settings_of(folder), environment)
    trust.require_places(settings, os.environ)
    return settings
