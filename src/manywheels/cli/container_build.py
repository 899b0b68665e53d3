"""Where a build is done: here, on the machine or in the image that the program is in, or in another image's container.

What is asked for decides (`--engine`). Where nothing is, a container is started for what cannot be done here: an image
that the user named, another architecture, and, in the image of one policy, a build for another.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from manywheels.cli.request import Request
from manywheels.errors import InputError
from manywheels.plan import architectures, inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.interpreters import in_manylinux_image
from manywheels.plan.options import Options
from manywheels.plan.project import Project
from manywheels.runtime.containers.engine import has_engine

if TYPE_CHECKING:
    from manywheels.runtime.containers.program import ContainerBuild


# The inputs of a build that are not handed in: places of this machine's, the image, and how much is told.
_HANDLED_HERE: Final = {"output-dir", "image", "verbose"}


def needs_container(engine: str, options: Options) -> bool:
    """Tell whether the build is done in a container. Raises InputError where `host` was asked for and cannot do it."""
    foreign = options.arch != architectures.machine()  # that it runs programs of another one makes no compiler for it
    match engine:
        case "container":
            return True
        case "host" if foreign:
            raise InputError(
                f"This machine is {architectures.machine()} and cannot build for `{options.arch}` itself.",
                remedy="Run on a machine (or a CI runner) of that architecture, or use `--engine container`.",
            )
        case "host":
            return False
    return bool(options.image) or foreign or _is_in_image_of_another_policy(options)


def _is_in_image_of_another_policy(options: Options) -> bool:
    """Whether this is an image of another policy, and an engine is there to start the right one."""
    here = os.environ.get("AUDITWHEEL_POLICY", "")
    return in_manylinux_image() and here != options.platform.name and has_engine()


def container_build(request: Request, project: Project, options: Options) -> ContainerBuild:
    """Return what a container is to be started for. Raises InputError where an input cannot be handed in."""
    from manywheels.runtime.containers.program import ContainerBuild

    # The container does not have the CI's variables that number this job.
    shard = Value(value=str(options.shard), origin=Origin(OriginKind.PROGRAM, "shard"))
    given = {**request.given, "shard": shard} if options.shard else request.given
    arguments = [*_arguments(given), "--report=", f"--toolchain={request.toolchain}"]
    arguments += ["--verbose"] if options.verbose else []
    return ContainerBuild(
        package=project.path,
        output_dir=options.output_dir,
        policy=options.platform,
        arch=options.arch,
        arguments=tuple(arguments),
        environment_pass=options.environment_pass,
        terminal=sys.stdout.isatty() and sys.stderr.isatty(),
        image=options.image,
        needs_engine=bool(options.test_in),
    )


def _arguments(given: Mapping[str, Value]) -> Iterator[str]:
    """Write what was given for building, which is what `plan` takes, as the command line's options.

    The rest is done out here: what is delivered and told, and secrets, which arguments of processes show to everybody.
    """
    for name in (entry.name for entry in inputs.inputs_of("plan") if entry.name not in _HANDLED_HERE):
        if name not in given:
            continue
        if name not in inputs.flags():
            yield f"--{name}={given[name].value}"
        elif inputs.parse_flag(given[name], name):
            yield f"--{name}"
