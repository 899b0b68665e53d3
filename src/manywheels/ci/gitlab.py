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
from typing import Final

from manywheels import cli, commands, inputs
from manywheels.ci.variables import read_inputs
from manywheels.commands import Request
from manywheels.errors import InputError, WheelFileError
from manywheels.inputs import Given
from manywheels.manifest import FILE_NAME
from manywheels.project import settings_of
from manywheels.report.html import FILE_NAME as REPORT
from manywheels.sandbox import Cancellation
from manywheels.sharding import parse_shard

_JUNIT: Final = "manywheels-junit.xml"
_GATHERED: Final = "gathered"
_REGISTRY: Final = "gitlab"


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Do what a job of the templates asks for; return its exit status."""
    with cli.cancellable() as cancellation:
        return cli.run_guarded(lambda: _run(environment, cancellation), cancellation)


def read_request(environment: Mapping[str, str]) -> Request:
    """Return the request that the inputs make. Raises InputError."""
    given = read_inputs(environment, inputs.GITLAB_PREFIX, "include: inputs")
    command = given.pop("command", Given(value="build", origin="default"))
    package = given.pop("package-dir", Given(value=".", origin="default"))
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
    return replace(request, junit=Path(folder.value, _JUNIT))


def _output_dir(given: Mapping[str, Given], environment: Mapping[str, str]) -> Given:
    """Return the output folder; that of one of several jobs is a folder of its own in there."""
    layers = inputs.layered(given, {})
    folder, shard = layers["output-dir"], parse_shard(layers["shard"], "shard", environment)
    return replace(folder, value=str(Path(folder.value, f"shard-{shard.index}-of-{shard.count}"))) if shard else folder


def _run(environment: Mapping[str, str], cancellation: Cancellation) -> int:
    request = read_request(environment)
    if request.command == "publish":
        return _publish(request, environment, cancellation)
    return commands.execute(request, cancellation)


def _publish(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    from manywheels.publish.command import run

    given = {**request.given, **to_registry(request.given, environment)}
    gathered = gather_jobs(Path(given["output-dir"].value))
    given["packages-dir"] = Given(value=str(gathered), origin="the gathered jobs")
    settings = settings_of(request.paths[0])
    rules = commands.verification_rules(settings)
    return run(inputs.layered(given, settings), cancellation, environment, rules=rules)


def gather_jobs(folder: Path) -> Path:
    """Put together what the building jobs left anywhere in a folder, and return where.

    Raises SetMismatch and WheelFileError.
    """
    from manywheels.gather import Source, gather
    from manywheels.output import open_output

    target = folder / _GATHERED
    found = sorted(path.parent for path in folder.rglob(FILE_NAME) if path.parent != target)
    if not found:
        raise WheelFileError(
            f"There are no wheels of a building job in `{folder}`: no {FILE_NAME} is there.",
            remedy="Name the building jobs in `needs`, and give both the same `output-dir`.",
        )
    gathered = gather([Source(folder=path, name=str(path)) for path in found], open_output(target))
    wheels = gathered.manifest.wheels
    print(f"gathered {len(wheels)} wheels from {len(found)} folders into {target}", flush=True)
    return target


def to_registry(given: Mapping[str, Given], environment: Mapping[str, str]) -> dict[str, Given]:
    """Return what `repository-url: gitlab` stands for: the project's own package registry, by the job's token.

    Raises InputError where this is no job of GitLab's.
    """
    wanted = given.get("repository-url")
    if wanted is None or wanted.value.strip() != _REGISTRY:
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
    return {name: Given(value=value, origin="`repository-url: gitlab`") for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
