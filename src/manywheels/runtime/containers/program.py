"""The same program in a container, through the Docker SDK: `--engine container`.

The image is the action's own, made from the same Dockerfile and the package's own source, so what runs inside is what
was called outside. It is named by the hash of what it is made from, and built when there is none of that name.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import begin, wait
from manywheels.plan import architectures
from manywheels.plan.container_variables import forwarded, local_only
from manywheels.plan.policies import Policy
from manywheels.plan.settings import setting_variables
from manywheels.runtime.containers.engine import connect, explained
from manywheels.runtime.containers.host_paths import find_host_paths
from manywheels.runtime.containers.image import ensure_image, say
from manywheels.runtime.containers.run import STDOUT, ContainerSpec, run_container
from manywheels.runtime.git import git_top, repository_elsewhere
from manywheels.wheels.output import open_output

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.types import Mount


_SOCKET: Final = "/var/run/docker.sock"
_PROJECT: Final = PurePosixPath("/project/source")  # not in "/": what is around it is closed while it is built
_OUTPUT: Final = PurePosixPath("/output")
_CACHE: Final = ("manywheels-cache", "/var/cache/manywheels")  # the volume, and MANYWHEELS_CACHE in the Dockerfile
# What the image is made of: nothing may be mounted over it, or into it.
_IMAGE_PARTS: Final = ("/bin", "/etc", "/lib", "/lib64", "/opt/_internal", "/opt/manywheels", "/opt/python", "/opt/rh",
                       "/proc", "/dev", "/sys", "/usr", "/var/cache/manywheels")  # fmt: skip
_GRACE: Final = 4  # seconds that a container has to end by itself; inside, a build has two (process_trees.GRACE)
_STOPPED: Final = 143

_TERMINAL: Final = ("TERM", "NO_COLOR", "FORCE_COLOR")


@dataclass(frozen=True, kw_only=True)
class ContainerBuild:
    """A build that a container shall do. `arguments` are the command line's options without project and output folder.

    `environment_pass` names the caller's variables that are handed in besides the usual ones; `terminal` is whether the
    output is shown on one; `image` is the base that the user named, empty for the policy's own; `needs_engine` is
    whether the program inside starts containers, too, which project code there cannot.
    """

    package: Path
    output_dir: Path
    policy: Policy
    arch: str
    arguments: tuple[str, ...] = ()
    environment_pass: tuple[str, ...] = ()
    terminal: bool = False
    image: str = ""
    needs_engine: bool = False


def run(build: ContainerBuild, cancellation: Cancellation) -> int:
    """Build in a container with the output passed on live; return the exit status, 143 if cancelled.

    Raises EngineError where there is no engine, or the image cannot be had, and OutputFolderError.
    """
    output = open_output(build.output_dir).path
    client = connect()
    try:
        architectures.require(build.arch)
        with explained("prepare the image"), architectures.named(build.arch):
            variables = forwarded(os.environ)
            making = begin(lambda: ensure_image(client, build.policy, build.arch, variables, build.image))
            image = wait(making, cancellation)
        if image is None:
            return _STOPPED
        with explained("run the container"):
            status = run_container(client, _spec(client, image, build, output), cancellation, _pass_on)
            return _STOPPED if status is None else status
    finally:
        client.close()


def _spec(client: DockerClient, image: str, build: ContainerBuild, output: Path) -> ContainerSpec:
    from docker.types import Mount

    mounts, arguments = place(build.package, output)
    host = find_host_paths(client)
    for mount in mounts:
        if mount["Type"] == "bind":
            mount["Source"] = host.of(Path(mount["Source"]))
    if build.needs_engine:
        mounts.append(Mount(_SOCKET, _SOCKET, type="bind"))
    return ContainerSpec(
        image=image, command=("build", *arguments, "--engine=host", *build.arguments), mounts=mounts,
        environment=_environment(build), tty=build.terminal, grace=_GRACE, limits={"use_config_proxy": True},
    )  # fmt: skip


def _pass_on(stream: int, chunk: bytes) -> bool:
    output = (sys.stdout if stream == STDOUT else sys.stderr).buffer
    output.write(chunk)
    output.flush()
    return True


def place(package: Path, output: Path) -> tuple[list[Mount], list[str]]:
    """Return the container's mounts, and the arguments that name the project and the output folder in there.

    Both have the paths that they have outside, so that messages name what the caller knows. The whole git repository
    is mounted, read-only: versions come from its history.
    """
    from docker.types import Mount

    package, output = package.resolve(), output.resolve()
    top = package if package.is_file() else git_top(package) or package
    inside = _inside(top, _PROJECT)
    mounts = [Mount(str(inside), str(top), type="bind", read_only=True)]
    if repository := repository_elsewhere(top):
        mounts.append(Mount(str(repository), str(repository), type="bind", read_only=True))
    target = (
        inside / output.relative_to(top) if output != top and output.is_relative_to(top) else _inside(output, _OUTPUT)
    )
    mounts.append(Mount(str(target), str(output), type="bind"))
    mounts.append(Mount(_CACHE[1], _CACHE[0], type="volume"))
    return mounts, [str(inside / package.relative_to(top)), f"--output-dir={target}"]


def _inside(path: Path, otherwise: PurePosixPath) -> PurePosixPath:
    """Return where a path of this machine is mounted: in its own place, unless that would hide a part of the image."""
    hidden = any(PurePosixPath(part).is_relative_to(path) or path.is_relative_to(part) for part in _IMAGE_PARTS)
    return otherwise if hidden else PurePosixPath(path)


def _environment(build: ContainerBuild) -> dict[str, str]:
    environment = forwarded(os.environ) | {name: os.environ[name] for name in setting_variables(os.environ)}
    environment |= {name: os.environ[name] for name in build.environment_pass if name in os.environ}
    if build.terminal:
        size = shutil.get_terminal_size()
        environment |= {name: os.environ[name] for name in _TERMINAL if name in os.environ}
        environment |= {"COLUMNS": str(size.columns), "LINES": str(size.lines)}
    if left_out := local_only(os.environ):
        say(f"not known in the container, as they name files of this machine: {', '.join(left_out)}")
    return environment
