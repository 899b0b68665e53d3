"""Repair by a command of the project's own: in the sandbox, as the target's user, with one wheel as its result."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels import untrusted_files, wheelfile
from manywheels.core.cancellation import Cancellation
from manywheels.errors import HookFailed, RepairFailed, WheelFileError
from manywheels.recipes import fill
from manywheels.stages.environments import Quarters
from manywheels.stages.hooks import Hook, run_hook
from manywheels.targets import Target

OPTION: Final = "repair-wheel-command"


@dataclass(frozen=True, kw_only=True)
class CommandRequest:
    """A built wheel and the command that shall repair it.

    `made` must not exist in a folder of the program's own; `finished`, the program's own, gets the result.
    """

    command: str
    target: Target
    wheel: Path
    project: Path
    package: Path
    made: Path
    finished: Path
    quarters: Quarters
    timeout: float


def repair_by_command(request: CommandRequest, cancellation: Cancellation) -> Path:
    """Run the command and return the wheel that it made, which lies in `request.finished`.

    Raises RepairFailed where it fails or makes another number of wheels than one, and Cancelled.
    """
    user = request.quarters.user
    untrusted_files.make_folder(request.made, user)
    command = fill(
        request.command, wheel=request.wheel, dest_dir=request.made, project=request.project, package=request.package,
        python=request.quarters.python,
    )  # fmt: skip
    hook = Hook(
        option=OPTION, command=command, folder=request.project, environment=request.quarters.environment,
        timeout=request.timeout, log=request.quarters.log, user=user,
    )  # fmt: skip
    try:
        run_hook(hook, cancellation)
        return _the_wheel(request, cancellation)
    except HookFailed as failed:
        raise RepairFailed(failed.message, remedy=failed.remedy, excerpt=failed.excerpt) from None
    except (untrusted_files.Suspicious, WheelFileError) as finding:
        raise RepairFailed(
            f"The wheel cannot be taken over from `{OPTION}`: {finding}.", remedy="It must leave one regular wheel."
        ) from None


def _the_wheel(request: CommandRequest, cancellation: Cancellation) -> Path:
    try:
        wheel = untrusted_files.only_wheel_in(request.made)
    except untrusted_files.NotOne as made:
        raise RepairFailed(f"`{OPTION}` made {made}.", remedy="It must leave exactly one in `{dest_dir}`.") from None
    name = wheelfile.parse_name(wheel)
    if name.is_pure or not request.target.installs(name.tags):
        raise RepairFailed(
            f"`{OPTION}` made a wheel for something else: {wheel} is not for {request.target.tag}.",
            remedy="It may change the platform of the wheel's name, and nothing else of it.",
        )
    finished = untrusted_files.make_public_folder(request.finished)
    return untrusted_files.take_over(request.made, wheel, finished, cancellation, owner=request.quarters.user)
