"""The plan of a build, with the interpreters of images, or of this machine after missing ones have been installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.cli.install_pythons import OF_IMAGES, install, install_in_image
from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import begin, wait
from manywheels.core.text import sanitize
from manywheels.errors import EngineError, InterpreterError
from manywheels.plan import architectures
from manywheels.plan.interpreters import Interpreter
from manywheels.plan.options import Options
from manywheels.plan.platforms import Platform
from manywheels.plan.project import Project
from manywheels.plan.sharding import take_part
from manywheels.plan.targets import Plan, PlannedTarget, Target, newest_of_each, select, select_where

if TYPE_CHECKING:
    from manywheels.plan.interpreters import Discovery


def make_plan(project: Project, options: Options) -> tuple[Plan, Discovery]:
    """Return this job's plan, and all interpreters found. Raises SelectionError."""
    from manywheels.plan.interpreters import discover

    discovery = discover()
    plan = select(options.selection, options.known_targets, discovery.interpreters, project.requires_python)
    return take_part(plan, options.shard), discovery


def plan_in_images(project: Project, options: Options, cancellation: Cancellation) -> Plan:
    """Return this job's plan for containers, whose images are pulled if missing.

    The program in a container looks for Pythons that its image lacks: it may install them. Raises EngineError,
    SelectionError and Cancelled.
    """
    from manywheels.runtime.containers.engine import connected
    from manywheels.runtime.containers.image import pull_for_architecture, require_architecture
    from manywheels.runtime.containers.interpreters import image_interpreters

    with connected("list the Pythons of an image") as client:

        def ask(platform: Platform) -> tuple[Interpreter, ...]:
            kernel = require_architecture(client, platform.arch)  # before a pull that is in vain
            with architectures.named(platform.arch, kernel):
                pull_for_architecture(client, platform.image_name, platform.arch)
            return image_interpreters(client, platform.image_name)

        def within(platform: Platform) -> tuple[Interpreter, ...]:
            if platform not in options.platforms:  # nothing is built in its image, or other jobs pull it
                return _assumed_in(platform, options)
            found = wait(begin(lambda: ask(platform)), cancellation)
            cancellation.stop_if_requested("Planning")
            return found or ()

        plan = _select_in_images(project, options, within)
    targets = (
        replace(planned, interpreter=planned.interpreter or _assumed(planned.target, "the image"))
        for planned in plan.targets
    )
    return replace(plan, targets=tuple(targets))


def _assumed_in(platform: Platform, options: Options) -> tuple[Interpreter, ...]:
    """Return what an image that is not here is taken to have."""
    targets = (target for target in options.known_targets if options.platform_of(target) == platform)
    return tuple(_assumed(target, f"{platform.image_name}, which is not here yet") for target in targets)


def _assumed(target: Target, source: str) -> Interpreter:
    path = Path("/opt/python", target.folder, "bin/python")
    return Interpreter(abi=target.abi, version=target.python, path=path, source=source)


def foresee_images(project: Project, options: Options) -> Plan:
    """Return this job's plan for containers; an image that is not here is taken to have all known Pythons.

    Nothing is pulled. Raises SelectionError.
    """
    from manywheels.runtime.containers.engine import connected
    from manywheels.runtime.containers.image import has_image
    from manywheels.runtime.containers.interpreters import image_interpreters

    def within(platform: Platform) -> tuple[Interpreter, ...]:
        with suppress(EngineError), connected("list the Pythons of an image") as client:
            if has_image(client, platform.image_name):
                return image_interpreters(client, platform.image_name)
        return _assumed_in(platform, options)

    return _select_in_images(project, options, within)


def _select_in_images(
    project: Project, options: Options, within: Callable[[Platform], tuple[Interpreter, ...]]
) -> Plan:
    @cache
    def here(platform: Platform) -> dict[str, Interpreter]:
        return newest_of_each(within(platform))

    def find(target: Target) -> Interpreter | None:
        return here(options.platform_of(target)).get(target.tag)

    plan = select_where(options.selection, options.known_targets, find, project.requires_python)
    return take_part(plan, options.shard)


def complete_plan(project: Project, options: Options, cancellation: Cancellation) -> Plan:
    """Return this job's plan, after missing interpreters were installed: by uv, or an image's own program.

    Raises InterpreterError if one requested by name is missing, or all are; SelectionError; Cancelled.
    """
    from manywheels.plan.interpreters import in_manylinux_image

    plan, discovery = make_plan(project, options)
    reason = "it has no others"
    of_image = shutil.which(OF_IMAGES) if in_manylinux_image() else None
    if plan.missing and (of_image or not in_manylinux_image()):
        installer = OF_IMAGES if of_image else "uv"
        # One for all platforms: on this machine, the same Python builds for each.
        targets = list({planned.target.tag: planned.target for planned in plan.missing}.values())
        names = " ".join(target.spec for target in targets)
        print(f"asking {installer} for Python {names}", file=sys.stderr, flush=True)
        installation = install_in_image(of_image, targets, cancellation) if of_image else install(targets, cancellation)
        plan, discovery = make_plan(project, options)
        reason = f"{installer} could not install it: {installation.failure}" if installation.failure else ""
        if plan.missing and reason:
            print(sanitize(f"note: {reason}"), file=sys.stderr, flush=True)
    if missing := _missing(plan):
        names = " ".join(planned.target.tag for planned in missing)
        remedies = [f"{found.path}: {found.reason}." for found in discovery.unusable]
        remedies.append(_remedy([planned.target for planned in missing]))
        place = "in this image" if in_manylinux_image() else "on this machine"
        raise InterpreterError(f"No interpreter {place} for {names} ({reason}).", remedy=" ".join(remedies))
    return plan


def _missing(plan: Plan) -> list[PlannedTarget]:
    """Return the targets without which nothing is built: those requested by name, or all."""
    if len(plan.missing) == len(plan.targets):
        return list(plan.missing)
    return [planned for planned in plan.missing if planned.asked_by_name]


def _remedy(missing: Sequence[Target]) -> str:
    from manywheels.plan.interpreters import in_manylinux_image

    if not in_manylinux_image():
        return "Install it where PATH, pyenv or `uv python` find it, `skip` it, or use `--engine container`."
    folders = " ".join(target.folder for target in missing)
    return (
        "`skip` it, or build in an `image` that has it, such as one built `FROM` this one with "
        f"`RUN manylinux-interpreters ensure {folders}` (not all images know all Pythons)."
    )
