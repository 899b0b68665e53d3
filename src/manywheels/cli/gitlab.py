"""The program of GitLab's jobs: inputs from `MANYWHEELS_INPUT_*`, never evaluated by a shell.

`parallel` build jobs use subfolders, because GitLab extracts all artifacts into one folder. The publishing job gathers
the sets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.cli import commands, guard, publish
from manywheels.cli.ci_inputs import read_inputs
from manywheels.cli.gather import GATHERED, gather_folders, sealed
from manywheels.cli.request import Request, read_wheel_settings
from manywheels.core.cancellation import Cancellation
from manywheels.errors import EXIT_OK, InputError, ToolchainError, WheelFileError
from manywheels.plan import inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.settings import Settings, read_settings
from manywheels.plan.sharding import parse_shard
from manywheels.runtime.containers.engine import has_engine
from manywheels.wheels.output import JUNIT, MANIFEST, REPORT

if TYPE_CHECKING:
    from manywheels.wheels.gather import Gathered

_REGISTRY: Final = "gitlab"


def main(environment: Mapping[str, str] = os.environ) -> int:
    guard.escape_unprintable()
    with guard.cancellable() as cancellation:
        return guard.run_guarded(lambda: _run(environment, cancellation), cancellation)


def read_request(environment: Mapping[str, str]) -> Request:
    """Raises InputError."""
    given = read_inputs(environment, inputs.GITLAB_PREFIX, "include: inputs", defaults=inputs.gitlab_defaults())
    command = given.pop("command", inputs.default("build"))
    package = given.pop("package-dir", inputs.default("."))
    # The job's `artifacts: paths` use the input, so even its default overrides `[tool.manywheels]`.
    folder = given["output-dir"] = _output_dir(given, environment)
    request = Request(
        command=inputs.parse_choice(command, "command", inputs.COMMANDS),
        paths=(Path(inputs.parse_path(package, "package-dir")),),
        given=given,
    )
    if request.command != "build":
        return request
    given["report"] = replace(folder, value=str(Path(folder.value, REPORT)))
    # GitLab chooses the job's image before pyproject.toml is read; without an engine, the build has to use it.
    return replace(request, junit=Path(folder.value, JUNIT), engine="auto" if has_engine() else "host")


def _output_dir(given: Mapping[str, Value], environment: Mapping[str, str]) -> Value:
    settings = read_settings(given)
    folder = settings.value("output-dir")
    shard = settings.parsed("shard", partial(parse_shard, environment=environment))
    if shard is None:
        return folder
    name = "-".join(["shard", *filter(None, [shard.arch]), f"{shard.index}-of-{shard.count}"])
    return replace(folder, value=str(Path(folder.value, name)))


def _run(environment: Mapping[str, str], cancellation: Cancellation) -> int:
    request = read_request(environment)
    if request.command == "publish":
        return _publish(request, environment, cancellation)
    if request.command == "gather":
        settings = read_wheel_settings(request, environment)
        gather_jobs(Path(settings.value("output-dir").value), settings, cancellation)
        return EXIT_OK
    try:
        return commands.execute(request, cancellation)
    except ToolchainError as error:
        if request.engine == "host":
            error.remedy = (
                "Set the component's input `platform`, or `image`: pyproject.toml cannot choose the image of a job."
            )
        raise


def _publish(request: Request, environment: Mapping[str, str], cancellation: Cancellation) -> int:
    settings = publishing_settings(request, environment)
    folder, gathered = gather_jobs(Path(settings.value("output-dir").value), settings, cancellation)
    return publish.upload(settings.with_values(sealed(gathered.manifest, folder)), cancellation, environment)


def publishing_settings(request: Request, environment: Mapping[str, str]) -> Settings:
    """Raises InputError."""
    settings = read_wheel_settings(request, environment)
    return settings.with_values(to_registry(settings.value("repository-url"), environment))


def gather_jobs(folder: Path, settings: Settings, cancellation: Cancellation) -> tuple[Path, Gathered]:
    """Return the folder of the gathered set, and the set. Raises SetMismatch and WheelFileError."""
    from manywheels.wheels.gather import is_of_a_set

    target = folder / GATHERED
    elsewhere = [Path(name).absolute() for name in settings.parsed("foreign", inputs.parse_words)]
    files = {Path(place): list(filter(is_of_a_set, names)) for place, _, names in os.walk(folder)}
    found = sorted(place for place, names in files.items() if names and not _is_below(place, [target, *elsewhere]))
    if not any(MANIFEST in files[place] for place in found):
        raise WheelFileError(
            f"`{folder}` has no wheels of a build job: there is no {MANIFEST}.",
            remedy="Name the build jobs in `needs`, and give both the same `output-dir`.",
        )
    gathered = gather_folders(found, target, settings, cancellation)
    print(gathered.describe(target), flush=True)
    return target, gathered


def _is_below(place: Path, folders: Iterable[Path]) -> bool:
    return any(place.absolute().is_relative_to(folder.absolute()) for folder in folders)


def to_registry(wanted: Value, environment: Mapping[str, str]) -> dict[str, Value]:
    """Return the inputs for `repository-url: gitlab`: the project's registry, with the job's token; else none.

    Raises InputError outside of GitLab jobs.
    """
    if wanted.value.strip() != _REGISTRY:
        return {}
    address, project = environment.get("CI_API_V4_URL"), environment.get("CI_PROJECT_ID")
    token = environment.get("CI_JOB_TOKEN")
    if not (address and project and token):
        raise InputError(
            f"{wanted.origin}: `{_REGISTRY}` is the package registry of a GitLab job's project; this is no such job.",
            remedy="GitLab sets CI_API_V4_URL, CI_PROJECT_ID and CI_JOB_TOKEN in jobs; elsewhere give the address.",
        )
    values = {
        "repository-url": f"{address}/projects/{project}/packages/pypi",
        "user": "gitlab-ci-token",
        "password": token,
    }
    # PROGRAM even if the project's files request it: the token only goes to the registry that issued it.
    origin = Origin(OriginKind.PROGRAM, "`repository-url: gitlab`")
    return {name: Value(value=value, origin=origin) for name, value in values.items()}


if __name__ == "__main__":
    sys.exit(main())
