"""Whether a build needs a container, and the container's command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from manywheels.cli.request import Request
from manywheels.plan import architectures, inputs
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.interpreters import in_manylinux_image
from manywheels.plan.options import Options
from manywheels.plan.project import Project
from manywheels.runtime.containers.engine import has_engine

if TYPE_CHECKING:
    from manywheels.runtime.containers.program import ContainerBuild


# Handled by `container_build`.
_NOT_PASSED: Final = {"output-dir", "image", "verbose", "config-file"}


def needs_container(engine: str, options: Options) -> bool:
    """The host cross-builds for other architectures, unless an engine can run their images."""
    match engine:
        case "container":
            return True
        case "host":
            return False
    from manywheels.build.toolchain import Machine

    is_foreign = options.arch != architectures.machine() or options.platform.libc != Machine.here().libc
    return bool(options.image) or (is_foreign and has_engine()) or _is_in_image_of_another_policy(options)


def _is_in_image_of_another_policy(options: Options) -> bool:
    """Whether an engine can start the right image instead."""
    here = os.environ.get("AUDITWHEEL_POLICY", "")
    return in_manylinux_image() and here != options.platform.name and has_engine()


def container_build(request: Request, project: Project, options: Options) -> ContainerBuild:
    """Raises InputError for an invalid flag."""
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
        config_file=project.config_file,
        create_arguments=options.container_engine.of_container,
    )


def _arguments(given: Mapping[str, Value]) -> Iterator[str]:
    """Delivery and reports are done outside. Secrets are never passed: every user can read processes' arguments."""
    for name in (entry.name for entry in inputs.inputs_of("plan") if entry.name not in _NOT_PASSED):
        if name not in given:
            continue
        if name not in inputs.flags():
            yield f"--{name}={given[name].value}"
        elif inputs.parse_flag(given[name], name):
            yield f"--{name}"
