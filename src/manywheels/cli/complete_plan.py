"""The plan of a build, after uv, or the image's own program, has installed missing interpreters."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from manywheels.core.cancellation import Cancellation
from manywheels.errors import InterpreterError
from manywheels.plan.options import Options
from manywheels.plan.project import Project
from manywheels.plan.sharding import take_part
from manywheels.plan.targets import Plan, Target, select
from manywheels.runtime import sandbox
from manywheels.runtime.sandbox import Command

if TYPE_CHECKING:
    from manywheels.plan.interpreters import Discovery


_INSTALL_TIMEOUT = 300.0  # seconds for each missing interpreter
# In manylinux and musllinux images, for interpreters that are not there from the start; cibuildwheel calls it as well.
_OF_IMAGES = "manylinux-interpreters"


@dataclass(frozen=True, kw_only=True)
class Installation:
    """`failure` is one line, None if all interpreters were installed."""

    failure: str | None


def install(
    targets: Sequence[Target], cancellation: Cancellation, environment: Mapping[str, str] = os.environ
) -> Installation:
    """Have uv install the targets' interpreters into its own folder (`uv python dir`). Raises Cancelled.

    Each has its own process: one that uv does not have must not stop the others.
    """
    if environment.get("UV_PYTHON_DOWNLOADS") == "never":
        return Installation(failure="UV_PYTHON_DOWNLOADS is `never`")
    from manywheels.runtime.uv import uv_program

    uv = uv_program()

    def install_one(target: Target) -> str | None:
        argv = (uv, "python", "install", "--no-bin", "--no-progress", target.spec)
        return _run("uv", argv, cancellation, {"UV_HTTP_RETRIES": "1", **environment})

    with ThreadPoolExecutor(max_workers=4) as pool:
        return _installation(pool.map(install_one, targets), cancellation)


def install_in_image(
    program: str, targets: Sequence[Target], cancellation: Cancellation, environment: Mapping[str, str] = os.environ
) -> Installation:
    """Have an image's own program install the targets' interpreters into /opt/python. Raises Cancelled."""
    argvs = ((program, "ensure", target.folder) for target in targets)  # one by one: they may share files
    return _installation((_run(_OF_IMAGES, argv, cancellation, environment) for argv in argvs), cancellation)


def _installation(failures: Iterable[str | None], cancellation: Cancellation) -> Installation:
    failed = [failure for failure in failures if failure]
    cancellation.stop_if_requested("Installing interpreters")
    return Installation(failure=failed[0] if failed else None)


def _run(name: str, argv: tuple[str, ...], cancellation: Cancellation, environment: Mapping[str, str]) -> str | None:
    """Return why an installer failed, or None. The sandbox makes the process cancellable."""
    with tempfile.TemporaryDirectory(prefix="manywheels-") as scratch:
        log = Path(scratch, "log")
        command = Command(
            argv=argv,
            folder=Path.cwd(),
            environment=environment,
            log=log,
            timeout=_INSTALL_TIMEOUT,
        )
        outcome = sandbox.run(command, cancellation)
        printed = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    if outcome.timed_out:
        return f"{name} did not finish within {_INSTALL_TIMEOUT:.0f} s"
    if outcome.succeeded:
        return None
    lines = [line.strip() for line in printed if line.strip()]
    return (lines[-1] if lines else f"{name} gave no reason").removeprefix("cause: ")


def make_plan(project: Project, options: Options) -> tuple[Plan, Discovery]:
    """Return this job's plan, and all interpreters found. Raises SelectionError."""
    from manywheels.plan.interpreters import discover

    discovery = discover()
    plan = select(options.selection, options.known_targets, discovery.interpreters, project.requires_python)
    return take_part(plan, options.shard), discovery


def complete_plan(project: Project, options: Options, cancellation: Cancellation) -> Plan:
    """Return this job's plan, after missing interpreters were installed: by uv, or an image's own program.

    Raises InterpreterError if one requested by name is missing, or all are; SelectionError; Cancelled.
    """
    from manywheels.plan.interpreters import in_manylinux_image

    plan, discovery = make_plan(project, options)
    reason = "the image has no others"
    of_image = shutil.which(_OF_IMAGES) if in_manylinux_image() else None
    if plan.missing and (of_image or not in_manylinux_image()):
        installer = _OF_IMAGES if of_image else "uv"
        targets = [planned.target for planned in plan.missing]
        names = " ".join(target.spec for target in targets)
        print(f"asking {installer} for Python {names}", file=sys.stderr, flush=True)
        installation = install_in_image(of_image, targets, cancellation) if of_image else install(targets, cancellation)
        plan, discovery = make_plan(project, options)
        reason = f"{installer} could not install it: {installation.failure}" if installation.failure else ""
    missing = [planned for planned in plan.missing if planned.asked_by_name]
    if len(plan.missing) == len(plan.targets):
        missing = list(plan.missing)
    if missing:
        names = " ".join(planned.target.tag for planned in missing)
        remedies = [f"{found.path}: {found.reason}." for found in discovery.unusable]
        remedies.append("Install it where PATH, pyenv or `uv python` find it, `skip` it, or use `--engine container`.")
        raise InterpreterError(f"No interpreter on this machine for {names} ({reason}).", remedy=" ".join(remedies))
    return plan
