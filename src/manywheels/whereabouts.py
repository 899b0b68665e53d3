"""Where a build is done: here, on the machine or in the image that the program is in, or in another image's container.

What is asked for decides (`--engine`). Where nothing is, a container is started for what cannot be done here: an image
that the user named, another architecture, and, in the image of one policy, a build for another.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from manywheels import emulation
from manywheels.errors import InputError
from manywheels.interpreters import in_manylinux_image
from manywheels.runtime.containers.engine import has_engine

if TYPE_CHECKING:
    from manywheels.options import Options


def needs_container(engine: str, options: Options) -> bool:
    """Tell whether the build is done in a container. Raises InputError where `host` was asked for and cannot do it."""
    foreign = options.arch != emulation.machine()  # that it runs programs of another one makes no compiler for it
    match engine:
        case "container":
            return True
        case "host" if foreign:
            raise InputError(
                f"This machine is {emulation.machine()} and cannot build for `{options.arch}` itself.",
                remedy="Run on a machine (or a CI runner) of that architecture, or use `--engine container`.",
            )
        case "host":
            return False
    return bool(options.image) or foreign or _is_in_image_of_another_policy(options)


def _is_in_image_of_another_policy(options: Options) -> bool:
    """Whether this is an image of another policy, and an engine is there to start the right one."""
    here = os.environ.get("AUDITWHEEL_POLICY", "")
    return in_manylinux_image() and here != options.platform.name and has_engine()
