"""The project's shell commands around a build, run in the sandbox.

`before-all` runs as the program's user: root in a container. The others run as their target's user, with its Python
first on PATH.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.logs import telling_excerpt
from manywheels.core.cancellation import Cancellation
from manywheels.errors import BeforeAllFailed, Cancelled, HookFailed
from manywheels.plan.targets import Target
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command

_LINES: Final = 12  # of a failed command's log
WROTE_TOO_MUCH: Final = f"wrote more than {sandbox.LARGEST_LOG >> 30} GiB into the log, which is its limit."


@dataclass(frozen=True, kw_only=True)
class Hook:
    """An option's shell command. `timeout` is in seconds; `user` is a user id, None for this process's."""

    option: str
    command: str
    folder: Path
    environment: Mapping[str, str]
    timeout: float
    log: Path
    user: int | None = None


def marks(target: Target | None = None) -> dict[str, str]:
    """Return the variables that identify this tool (also as cibuildwheel) and the target."""
    tools = {"MANYWHEELS": "1", "CIBUILDWHEEL": "1"}
    if target is None:
        return tools
    return tools | dict.fromkeys((f"{name}_BUILD_IDENTIFIER" for name in tools), target.identifier)


def run_hook(hook: Hook, cancellation: Cancellation) -> None:
    """Raises HookFailed and Cancelled."""
    if problem := _problem(hook, cancellation):
        excerpt = telling_excerpt(hook.log, cancellation, limit=_LINES)
        private = f"{hook.folder}/"  # removed: users know paths relative to the project
        raise HookFailed(
            f"`{hook.option}` {problem}",
            remedy=f"See the log for its output. The command was: {hook.command}",
            excerpt=tuple(line.replace(private, "") for line in excerpt.lines),
        )


def run_before_all(hook: Hook, cancellation: Cancellation) -> None:
    """Raises BeforeAllFailed and Cancelled."""
    if problem := _problem(hook, cancellation):
        tail = "\n".join(telling_excerpt(hook.log, cancellation, limit=_LINES).lines)
        raise BeforeAllFailed(
            f"`{hook.option}` {problem}\n{tail}".rstrip(),
            remedy=f"The whole output is in {hook.log}. The command was: {hook.command}",
        )


def _problem(hook: Hook, cancellation: Cancellation) -> str | None:
    """Return how the command failed, as the end of a sentence, or None."""
    announce(hook.log, hook.command)
    command = Command(
        argv=("sh", "-c", hook.command), folder=hook.folder, environment=hook.environment, log=hook.log,
        timeout=hook.timeout, user=hook.user,
    )  # fmt: skip
    outcome = sandbox.run(command, cancellation)
    if outcome.cancelled:
        raise Cancelled(f"`{hook.option}` was stopped.", remedy="")
    if outcome.timed_out:
        return f"did not end within its limit of {hook.timeout:g} s, and was killed."
    if outcome.wrote_too_much:
        return WROTE_TOO_MUCH
    return None if outcome.succeeded else f"failed ({describe_end(outcome.status)})."


def describe_end(status: int) -> str:
    """Return `exit status 2`, `killed by SIGSEGV` and the like."""
    if status <= 128:  # noqa: PLR2004 - 128 + n is death by signal n
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(status - 128).name}"
    except ValueError:
        return f"exit status {status}"


def announce(log: Path, command: str) -> None:
    note(log, f"$ {command}")


def note(log: Path, text: str) -> None:
    with untrusted_files.open_log(log) as file:
        file.write(f"{text}\n".encode("utf-8", "surrogateescape"))
