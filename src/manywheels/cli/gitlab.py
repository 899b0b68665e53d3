"""The GitLab door: what the templates' jobs start. Inputs come as `MANYWHEELS_INPUT_*`, and no shell reads them.

A building job leaves its set, an HTML report and a JUnit report in the output folder; under `parallel` each has a
folder of its own there, because GitLab lays the artifacts of all jobs over one another. The publishing job gathers
them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from manywheels.cli import commands, guard
from manywheels.cli.ci_inputs import read_inputs
from manywheels.cli.request import Request
from manywheels.core.cancellation import Cancellation
from manywheels.errors import InputError, ToolchainError, WheelFileError
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.project import settings_of
from manywheels.plan.sharding import parse_shard
from manywheels.runtime.containers.engine import has_engine
from manywheels.verify.rules import verification_rules
from manywheels.wheels.output import JUNIT, MANIFEST, REPORT

_GATHERED: Final = "gathered"
_REGISTRY: Final = "gitlab"


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Do what a job of the templates asks for; return its exit status."""
    guard.print_anything()
    with guard.cancellable() as cancellation:
        return guard.run_guarded(lambda: _run(environment, cancellation), cancellation)


def read_request(environment: Mapping[str, str]) -> Request:
    """Return the request that the inputs make. Raises InputError."""
    given = read_inputs(environment, inputs.GITLAB_PREFIX, "include: inputs")
    command = given.pop("command", inputs.default("build"))
    package = given.pop("package-dir", inputs.default("."))
    # The artifacts' paths follow the input, so it goes before `[tool.manywheels]` even where it is the default.
    folder = given["output-dir"] = _output_dir(given, environment)
    request = Request(
        command=inputs.parse_choice(command, "command", inputs.COMMANDS),
        paths=(Path(inputs.parse_path(package, "package-dir")),),
        given=given,
    )
    if request.command != "build":
        return request
    given["report"] = replace(folder, value=str(Path(folder.value, REPORT)))
    # GitLab chooses the job's image before anybody reads pyproject.toml. Without an engine it is the one to build in.
    return replace(request, junit=Path(folder.value, JUNIT), engine="auto" if has_engine() else "host")


def _output_dir(given: Mapping[str, Value], environment: Mapping[str, str]) -> Value:
    """Return the output folder; that of one of several jobs is a folder of its own in there."""
    layers = inputs.layered(given, {})
    folder, shard = layers["output-dir"], parse_shard(layers["shard"], "shard", environment)
    return replace(folder, value=str(Path(folder.value, f"shard-{shard.index}-of-{shard.count}"))) if shard else folder


def _run(environment: Mapping[str, str], cancellation: Cancellation) -> int:
    request = read_request(environment)
    if request.command == "publish":
        return _publish(request, environment, cancellation)
    try:
        return commands.execute(request, cancellation)
    except ToolchainError as error:
        if request.engine == "host":
            error.remedy = (
                "Set the component's input `platform`, or `image`: pyproject.toml cannot choose the image of a job."
            )
        raise


def _publish(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    from manywheels.deliver.index.publish import run

    settings = settings_of(request.paths[0])
    layers = publishing_layers(request, settings, environment)
    gathered = gather_jobs(Path(layers["output-dir"].value))
    layers["packages-dir"] = Value(value=str(gathered), origin=Origin(OriginKind.PROGRAM, "the gathered jobs"))
    return run(layers, cancellation, environment, rules=verification_rules(settings))


def publishing_layers(
    request: Request, settings: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[str, Value]:
    """Return a value for every input of the publishing job. Raises InputError."""
    layers = inputs.layered(request.given, settings, environment)
    return layers | to_registry(layers, environment)


def gather_jobs(folder: Path) -> Path:
    """Put together what the jobs before left anywhere in a folder, sdists too, and return where.

    Raises SetMismatch and WheelFileError.
    """
    from manywheels.wheels.gather import SetSource, gather, is_of_a_set
    from manywheels.wheels.output import open_output

    target = folder / _GATHERED
    files = {Path(place): list(filter(is_of_a_set, names)) for place, _, names in os.walk(folder)}
    found = sorted(place for place, names in files.items() if names and place != target)
    if not any(MANIFEST in files[place] for place in found):
        raise WheelFileError(
            f"There are no wheels of a building job in `{folder}`: no {MANIFEST} is there.",
            remedy="Name the building jobs in `needs`, and give both the same `output-dir`.",
        )
    gathered = gather([SetSource(folder=path, name=str(path)) for path in found], open_output(target))
    print(gathered.describe(target), flush=True)
    return target


def to_registry(layers: Mapping[str, Value], environment: Mapping[str, str]) -> dict[str, Value]:
    """Return what `repository-url: gitlab` stands for: the project's own package registry, by the job's token.

    Raises InputError where this is no job of GitLab's.
    """
    wanted = layers["repository-url"]
    if wanted.value.strip() != _REGISTRY:
        return {}
    address, project = environment.get("CI_API_V4_URL"), environment.get("CI_PROJECT_ID")
    token = environment.get("CI_JOB_TOKEN")
    if not (address and project and token):
        raise InputError(
            f"{wanted.origin}: `{_REGISTRY}` is the package registry of a job's own project, and this is no job.",
            remedy="GitLab gives jobs CI_API_V4_URL, CI_PROJECT_ID and CI_JOB_TOKEN; elsewhere give the address.",
        )
    values = {
        "repository-url": f"{address}/projects/{project}/packages/pypi",
        "user": "gitlab-ci-token",
        "password": token,
    }
    # Whoever asked for it: the address and the token are both of the job, so the token goes nowhere else.
    origin, source = "`repository-url: gitlab`", OriginKind.PROGRAM
    return {name: Value(value=value, origin=Origin(source, origin)) for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
