"""`plan`: print what `build` would do, as a table, as JSON or as a CI job matrix."""

from __future__ import annotations

import json
import os

from manywheels.cli.complete_plan import make_plan
from manywheels.cli.request import Request
from manywheels.errors import EXIT_OK
from manywheels.plan.installer_files import read_caller
from manywheels.plan.options import resolve
from manywheels.plan.project import read_project


def execute(request: Request) -> int:
    """Raises InputError, ProjectError and SelectionError."""
    from manywheels.report.plan import as_json, as_table, github_matrix, gitlab_matrix

    project = read_project(request.paths[0])
    options = resolve(request.given, project, toolchain=request.toolchain)
    plan, _ = make_plan(project, options)
    caller = read_caller(os.environ)
    if request.matrix:
        written = github_matrix if request.matrix == "github" else gitlab_matrix
        print(written(plan, request.per_job))
    elif request.as_json:
        print(json.dumps(as_json(plan, project, options, caller, explain=request.explain), indent=2))
    else:
        as_table(plan, project, options, caller, explain=request.explain)
    return EXIT_OK
