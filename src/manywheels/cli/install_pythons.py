"""Installing missing interpreters: by uv on a machine, by the image's own program in an image."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox
from manywheels.runtime.sandbox import Command

_INSTALL_TIMEOUT: Final = 300.0  # seconds for each missing interpreter
# In manylinux and musllinux images, for interpreters that are not there from the start; cibuildwheel calls it as well.
OF_IMAGES: Final = "manylinux-interpreters"


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
    return _installation((_run(OF_IMAGES, argv, cancellation, environment) for argv in argvs), cancellation)


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
