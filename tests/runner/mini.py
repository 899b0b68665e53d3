"""The runner's part in a container action: folders, mounts, variables, signals (see the package)."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import yaml

from manywheels.resources import resource

OWNER: Final = 1001  # the runner's own user, to whom the workspace belongs
SECRET: Final = "canary-secret"  # in whatever the job holds that project code must not have
_FILE_COMMANDS: Final = {
    "GITHUB_ENV": "set_env",
    "GITHUB_OUTPUT": "set_output",
    "GITHUB_PATH": "add_path",
    "GITHUB_STATE": "save_state",
    "GITHUB_STEP_SUMMARY": "step_summary",
}
_PATIENCE: Final = ((signal.SIGINT, 7.5), (signal.SIGTERM, 2.5), (signal.SIGKILL, 30.0))  # and seconds after each


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A step that has ended. `output` is what it printed, both streams."""

    status: int
    seconds: float
    output: str
    runner: Runner

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest in the output folder, as JSON values."""
        loaded: dict[str, Any] = json.loads((self.runner.workspace / "dist/manywheels.json").read_text("utf-8"))
        return loaded

    @property
    def failure(self) -> dict[str, Any]:
        """Why the only target failed."""
        (target,) = self.manifest["targets"]
        failure: dict[str, Any] = target["failure"]
        return failure

    @property
    def logs(self) -> str:
        """Every target's log."""
        logs = sorted(self.runner.workspace.glob("dist/logs/*.log"))
        return "".join(path.read_text("utf-8") for path in logs if path.is_file())


@dataclass(kw_only=True)
class Step:
    """A step that runs."""

    process: subprocess.Popen[str]
    container: str
    runner: Runner
    started: float

    def wait(self, seconds: float = 600.0) -> Finished:
        """Wait for the step's end."""
        try:
            output, _ = self.process.communicate(timeout=seconds)
        except BaseException:
            self.remove()
            raise
        return Finished(
            status=self.process.returncode, seconds=time.monotonic() - self.started, output=output, runner=self.runner
        )

    def remove(self) -> None:
        """End the step, whatever state it is in."""
        subprocess.run(["docker", "rm", "--force", self.container], capture_output=True, check=False, timeout=60)
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.remove()

    def cancel(self) -> float:
        """Cancel the step as the runner does; return how many seconds it took to end."""
        asked = time.monotonic()
        for number, patience in _PATIENCE:
            self.process.send_signal(number)
            try:
                self.process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                continue
        return time.monotonic() - asked

    def processes(self) -> str:
        """Return the command lines of what runs in the container; nothing where it has ended."""
        listed = subprocess.run(
            ["docker", "top", self.container, "-eo", "pid,args"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return listed.stdout


@dataclass(kw_only=True)
class Runner:
    """A runner's folders on this machine: the workspace, its temp folder with the file commands, and docker.sock."""

    folder: Path
    image: str

    @classmethod
    def prepare(cls, folder: Path, image: str) -> Runner:
        """Make the folders, as the runner's user would."""
        runner = cls(folder=folder, image=image)
        for path in (runner.workspace, runner.temp, *map(runner.temp.joinpath, _BELOW_TEMP)):
            path.mkdir(parents=True)
        for name in _FILE_COMMANDS.values():
            (runner.temp / "_runner_file_commands" / name).touch(mode=0o644)
        (runner.temp / "_github_workflow/event.json").write_text("{}")
        (runner.temp / "git-credentials.config").write_text(f"[http]\n\textraheader = basic {SECRET}\n")
        runner.give()
        return runner

    @property
    def workspace(self) -> Path:
        """The folder that is /github/workspace in the container."""
        return self.folder / "work/repository/repository"

    @property
    def temp(self) -> Path:
        """The folder that is /github/runner_temp in the container."""
        return self.folder / "work/_temp"

    def file_command(self, variable: str) -> str:
        """Return what was written into the file that a variable names, such as GITHUB_OUTPUT."""
        return (self.temp / "_runner_file_commands" / _FILE_COMMANDS[variable]).read_text("utf-8")

    def give(self) -> None:
        """Give everything to the runner's user."""
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, OWNER, OWNER, follow_symlinks=False)

    def start(
        self, inputs: Mapping[str, str], *, environment: Mapping[str, str] = {}, options: tuple[str, ...] = ()
    ) -> Step:
        """Start the action with these inputs; `environment` adds to the job's, `options` to those of `docker run`."""
        container = f"manywheels-test-{uuid.uuid4().hex}"
        process = subprocess.Popen(
            ["docker", "run", "--name", container, "--rm", *self.options(inputs, environment), *options, self.image],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        return Step(process=process, container=container, runner=self, started=time.monotonic())

    def run(
        self, inputs: Mapping[str, str], *, environment: Mapping[str, str] = {}, options: tuple[str, ...] = ()
    ) -> Finished:
        """Run the action to its end; the arguments are those of `start`."""
        return self.start(inputs, environment=environment, options=options).wait()

    def aside(
        self,
        *argv: str,
        inputs: Mapping[str, str] = {},
        environment: Mapping[str, str] = {},
        options: tuple[str, ...] = (),
        user: int = 0,
    ) -> subprocess.CompletedProcess[str]:
        """Run another program where the action would run, with the same mounts and variables."""
        program, *arguments = argv
        command = ["docker", "run", "--rm", f"--user={user}:{user}", f"--entrypoint={program}", "--init",
                   *self.options(inputs, environment), *options, self.image, *arguments]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)

    def as_owner(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run a program as the workspace's owner, as the job's later steps do."""
        return self.aside(*argv, user=OWNER)

    def options(self, inputs: Mapping[str, str], environment: Mapping[str, str] = {}) -> list[str]:
        """Return the options of `docker run` for a step: working folder, mounts, variables."""
        mounts = {
            **{str(self.temp / below): inside for below, inside in _BELOW_TEMP.items()},
            str(self.temp): "/github/runner_temp",
            str(self.workspace): "/github/workspace",
        }
        if (self.folder / "docker.sock").exists():
            mounts[str(self.folder / "docker.sock")] = "/var/run/docker.sock"
        variables = {**_declared(inputs), **_JOB, **environment}
        return [
            "--workdir=/github/workspace",
            *(f"--volume={outside}:{inside}" for outside, inside in mounts.items()),
            *(f"--env={name}={value}" for name, value in variables.items()),
        ]


_BELOW_TEMP: Final = {
    "_github_home": "/github/home",
    "_github_workflow": "/github/workflow",
    "_runner_file_commands": "/github/file_commands",
}
# What every job has; what a job with the permission `id-token: write` has besides is OIDC.
_JOB: Final = {
    "HOME": "/github/home",
    "CI": "true",
    "GITHUB_ACTIONS": "true",
    "GITHUB_WORKSPACE": "/github/workspace",
    "GITHUB_EVENT_PATH": "/github/workflow/event.json",
    "GITHUB_REPOSITORY": "owner/repository",
    "GITHUB_RUN_ID": "1",
    "RUNNER_OS": "Linux",
    "RUNNER_TEMP": "/github/runner_temp",
    "ACTIONS_RUNTIME_TOKEN": f"runtime-{SECRET}",
    "ACTIONS_CACHE_URL": "http://127.0.0.1:1/",
    **{name: f"/github/file_commands/{file}" for name, file in _FILE_COMMANDS.items()},
}
OIDC: Final = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "http://127.0.0.1:1/token",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": f"identity-{SECRET}",
}


def _declared(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of all inputs: the runner sends the defaults of those that are not given."""
    declared = yaml.safe_load(resource("action.yml").read_text("utf-8"))["inputs"]
    values = {name: str(entry.get("default", "")) for name, entry in declared.items()} | dict(inputs)
    return {f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in values.items()}


class DockerSocket:
    """Something that listens where the engine would, harmless, and counts who comes."""

    def __init__(self, path: Path) -> None:
        self.visitors = 0
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        path.chmod(0o660)  # as the engine's own: root's, and its group's
        os.chown(path, 0, 0)
        self._server.listen()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                visitor, _ = self._server.accept()
            except OSError:
                return
            self.visitors += 1
            visitor.close()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
