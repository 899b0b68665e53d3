"""The project as a run has it: with the options of `config-file`, and CIBW_PROJECT_REQUIRES_PYTHON."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.project import Project, read_project, with_options_of
from manywheels.plan.settings import has_options

_REQUIRES: Final = "CIBW_PROJECT_REQUIRES_PYTHON"
_FILE: Final = "CIBW_CONFIG_FILE"


def read_configured_project(
    path: Path, given: Mapping[str, Value], environment: Mapping[str, str] = os.environ
) -> Project:
    """Raises ProjectError and InputError."""
    project = read_project(path)
    file = _config_file(project, given, environment)
    if file:
        project = with_options_of(project, inputs.parse_path(file, "config-file"))
    requires = environment.get(_REQUIRES, "")
    return _requiring(project, requires) if requires and not has_options(project.settings) else project


def _config_file(project: Project, given: Mapping[str, Value], environment: Mapping[str, str]) -> Value | None:
    """Return the value of `config-file`; cibuildwheel's variable counts where its configuration does."""
    own = given.get("config-file") or inputs.from_environment(environment).get("config-file")
    if own or has_options(project.settings) or not environment.get(_FILE):
        return own
    return Value(value=environment[_FILE], origin=Origin(OriginKind.VARIABLE, _FILE))


def _requiring(project: Project, text: str) -> Project:
    try:
        return replace(project, requires_python=SpecifierSet(text))
    except InvalidSpecifier:
        value = Value(value=text, origin=Origin(OriginKind.VARIABLE, _REQUIRES))
        raise inputs.refuse(value, "requires-python", "a version specifier, as `>=3.9`") from None
