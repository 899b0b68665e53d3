"""Run the commands in `environment` and `test-environment`, as `$(pkg-config --libs x)`, in the sandbox.

As in cibuildwheel, no shell is in between, and a command that fails ends its target. It may do what `before-build` may.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from manywheels.build.stages.hooks import announce, describe_end, note
from manywheels.core.cancellation import Cancellation
from manywheels.core.log_files import last_bytes
from manywheels.errors import Cancelled, HookFailed
from manywheels.plan import assignments
from manywheels.plan.assignments import Assignment
from manywheels.plan.shell_words import LARGEST, Run
from manywheels.runtime import sandbox, untrusted_files
from manywheels.runtime.sandbox import Command

_ERRORS: Final = 8 << 10  # bytes kept of what a command writes about its failure
_LINES: Final = 5  # of that, in the message


@dataclass(frozen=True, kw_only=True)
class Runner:
    """How the commands of `option` are run: in `folder`, as `user`, each for at most `timeout` seconds.

    `scratch` is created in a folder of the program's own. `python` is the target's: its folder comes first on PATH;
    None if PATH has it already.
    """

    option: str
    folder: Path
    scratch: Path
    log: Path
    timeout: float
    cancellation: Cancellation
    python: Path | None = None
    user: int | None = None
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def evaluate(self, made: tuple[Assignment, ...], environment: Mapping[str, str]) -> tuple[Assignment, ...]:
        """Return the assignments with each command's output in its place.

        Raises HookFailed with the variable's name and what the command wrote; Cancelled; OSError.
        """
        if not assignments.run_commands(made):
            return made
        untrusted_files.make_place(self.scratch, self.user)
        untrusted_files.make_folder(self.scratch / "errors", self.user)
        return assignments.evaluate(made, environment, self._runner_for)

    def _runner_for(self, variable: str) -> Run:
        return partial(self._run, variable)

    def _run(self, variable: str, command: tuple[str, ...], environment: Mapping[str, str]) -> str:
        number = str(next(self._numbers))
        output, errors = self.scratch / f"output-{number}", self.scratch / "errors"
        announce(self.log, f"{variable}=$({shlex.join(command)})")
        outcome = sandbox.run(
            Command(
                argv=("sh", "-c", 'exec "$@" 2>"$0"', str(errors / number), *command), folder=self.folder,
                environment=self._with_python(environment), log=output, timeout=self.timeout, user=self.user,
            ),
            self.cancellation,
        )  # fmt: skip
        if outcome.cancelled:
            raise Cancelled("The target was stopped.", remedy="")
        said = self._said(errors, number)
        if said:
            note(self.log, said)
        size = output.lstat().st_size
        if outcome.timed_out:
            raise self._failed(variable, command, f"did not end within its limit of {self.timeout:g} s", said)
        if size > LARGEST:
            raise self._failed(variable, command, f"wrote {size} bytes, and a variable holds {LARGEST}", said)
        if not outcome.succeeded:
            raise self._failed(variable, command, f"failed ({describe_end(outcome.status)})", said)
        return last_bytes(output, LARGEST).replace(b"\0", b"").decode("utf-8", "surrogateescape")

    def _with_python(self, environment: Mapping[str, str]) -> dict[str, str]:
        if self.python is None:
            return dict(environment)
        folder = self.scratch / "python"
        if not folder.exists():  # a system's `python` may be another one
            untrusted_files.make_public_folder(folder)
            for name in ("python", "python3"):
                (folder / name).symlink_to(self.python)
        path = (str(folder), str(self.python.parent), environment.get("PATH", os.defpath))
        return {**environment, "PATH": os.pathsep.join(path)}

    def _said(self, folder: Path, name: str) -> str:
        try:
            with untrusted_files.open_file(folder, name, owner=self.user) as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _ERRORS))
                said = file.read(_ERRORS)
        except untrusted_files.Suspicious:
            return ""
        of_shell = re.compile(rf"^{re.escape(str(folder / name))}: (?:line )?\d+: exec: ")
        return of_shell.sub("", said.decode("utf-8", "replace").strip())

    def _failed(self, variable: str, command: tuple[str, ...], problem: str, said: str) -> HookFailed:
        private = f"{self.folder}/"  # removed: users know paths relative to the project
        lines = tuple(line.replace(private, "") for line in said.splitlines()[-_LINES:])
        reason = f": {lines[-1]}" if lines else "."
        return HookFailed(
            f"`{self.option}`: the command of {variable} {problem}{reason}",
            remedy=f"The command was: {shlex.join(command).replace(private, '')}. It runs in the project's "
            "folder, with the variables set before it, and without a shell.",
            excerpt=lines,
        )
