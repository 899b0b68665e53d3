"""`plan`: print what `build` would do, as a table, as JSON or as a CI job matrix."""

from __future__ import annotations

import json
import os

from manywheels.cli.complete_plan import foresee_images, make_plan
from manywheels.cli.container_build import has_one_image, needs_container
from manywheels.cli.request import Request
from manywheels.core.text import sanitize
from manywheels.errors import EXIT_OK
from manywheels.plan.configured_project import read_configured_project
from manywheels.plan.installer_files import read_caller
from manywheels.plan.options import NothingToBuild, resolve


def execute(request: Request) -> int:
    """Raises InputError, ProjectError and SelectionError."""
    from manywheels.report.plan import Shown, as_json, as_table, github_matrix, gitlab_matrix

    project = read_configured_project(request.paths[0], request.given)
    try:
        options = resolve(request.given, project, toolchain=request.toolchain, one_image=has_one_image(request))
    except NothingToBuild as nothing:
        print(json.dumps({"targets": [], "notes": [str(nothing)]}) if request.as_json else sanitize(f"note: {nothing}"))
        return EXIT_OK
    in_containers = needs_container(request.engine, options)
    plan = foresee_images(project, options) if in_containers else make_plan(project, options)[0]
    engine = "container" if in_containers else "host"
    shown = Shown(plan=plan, project=project, options=options, caller=read_caller(os.environ), engine=engine)
    if request.identifiers:
        print("\n".join(plan.identifiers))
    elif request.matrix:
        written = github_matrix if request.matrix == "github" else gitlab_matrix
        print(written(plan, request.per_job))
    elif request.as_json:
        print(json.dumps(as_json(shown, explain=request.explain), indent=2))
    else:
        as_table(shown, explain=request.explain)
    return EXIT_OK
