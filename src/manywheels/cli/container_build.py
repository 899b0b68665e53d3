"""Whether a build needs containers, and the command line of the program in each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from manywheels.cli.request import Request
from manywheels.plan import architectures, inputs
from manywheels.plan.inputs import Value
from manywheels.plan.interpreters import in_manylinux_image
from manywheels.plan.options import Options
from manywheels.plan.platforms import Platform
from manywheels.plan.project import Project
from manywheels.plan.targets import Target
from manywheels.runtime.containers.engine import has_engine

if TYPE_CHECKING:
    from manywheels.runtime.containers.program import ContainerBuild


# Handled by `container_build`.
_NOT_PASSED: Final = {"output-dir", "fresh", "clear", "image", "verbose", "config-file", "shard", "archs"}


def has_one_image(request: Request) -> bool:
    """Whether a build is bound to the image around it, as GitLab's jobs without an engine are."""
    return not request.part and in_manylinux_image() and (request.engine == "host" or not has_engine())


def needs_container(engine: str, options: Options) -> bool:
    """Whether the wheels are built in containers; `auto` uses an engine for what this machine is not."""
    if engine != "auto":
        return engine == "container"
    return any(platform.image for platform in options.platforms) or (
        has_engine() and not all(map(_is_here, options.platforms))
    )


def _is_here(platform: Platform) -> bool:
    """Whether this machine is of the platform's architecture and libc and, if it is an image, of its policy."""
    if platform.arch != architectures.machine() or platform.policy.libc != architectures.libc():
        return False
    return not in_manylinux_image() or os.environ.get("AUDITWHEEL_POLICY", "") == platform.policy.name


def container_build(
    request: Request, project: Project, options: Options, platform: Platform, targets: Sequence[Target], *, leads: bool
) -> ContainerBuild:
    """Return what the container of a platform is to build, and the sdist if it `leads`.

    Raises InputError for an invalid flag.
    """
    from manywheels.runtime.containers.program import ContainerBuild

    # Inside, `auto` would be the container's own architecture.
    archs = " ".join(dict.fromkeys(target.arch for target in options.known_targets))
    arguments = [
        *_arguments(request.given),
        f"--archs={archs}",
        f"--compiler-cache={options.compiler_cache}",
        "--report=",
        "--trace=",
        f"--toolchain={request.toolchain}",
    ]
    arguments += [f"--part={' '.join(target.identifier for target in targets)}"]
    arguments += ["--no-sdist"] if options.sdist and not leads else []
    arguments += ["--verbose"] if options.verbose else []
    return ContainerBuild(
        package=project.path,
        output_dir=options.output_dir,
        platform=platform,
        arguments=tuple(arguments),
        environment_pass=options.environment_pass,
        needs_engine=any((tests := options.for_target(target).tests) and tests.image for target in targets),
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
