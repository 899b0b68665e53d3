"""Run this program in a container (`--engine container`), for the targets of one platform."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import begin, wait
from manywheels.plan import architectures
from manywheels.plan.container_engine import CreateArgument
from manywheels.plan.container_variables import Mounted, forwarded, local_only
from manywheels.plan.installer_files import read_caller
from manywheels.plan.platforms import Platform
from manywheels.plan.settings import setting_variables
from manywheels.runtime.containers.create_arguments import sdk_arguments
from manywheels.runtime.containers.engine import connect, translate_errors
from manywheels.runtime.containers.host_paths import find_host_paths
from manywheels.runtime.containers.image import ensure_image, foreign_platform, print_progress, require_architecture
from manywheels.runtime.containers.run import ContainerSpec, Sink, run_container
from manywheels.runtime.git import linked_repository, source_root
from manywheels.wheels.output import open_output

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.types import Mount


_SOCKET: Final = "/var/run/docker.sock"
_PROJECT: Final = PurePosixPath("/project/source")  # not in "/": the folder around it is closed
_CONFIG: Final = PurePosixPath("/project/config-file.toml")
_OUTPUT: Final = PurePosixPath("/output")
CACHE_VOLUME: Final = "manywheels-cache"
_CACHE: Final = "/var/cache/manywheels"  # MANYWHEELS_CACHE in the Dockerfile
SHARED: Final = "/run/manywheels"
# Nothing may be mounted over or into these.
_IMAGE_PARTS: Final = ("/bin", "/etc", "/lib", "/lib64", "/opt/_internal", "/opt/manywheels", "/opt/python", "/opt/rh",
                       SHARED, "/proc", "/dev", "/sys", "/usr", "/var/cache/manywheels")  # fmt: skip
_GRACE: Final = 4  # seconds; inside, a build has two (process_trees.GRACE)
STOPPED: Final = 143


@dataclass(frozen=True, kw_only=True)
class ContainerBuild:
    """`arguments` are the options without project and output folder.

    `environment_pass` are further variables to pass; `config_file`, which may begin with `{package}/`, may be empty.
    With `needs_engine`, the program can start containers; project code cannot. `volume` is shared with the containers
    of the run's other platforms, or empty; it is in `SHARED`. `step` is told when `image`, `container` and `program`
    begin.
    """

    package: Path
    output_dir: Path
    platform: Platform
    arguments: tuple[str, ...] = ()
    environment_pass: tuple[str, ...] = ()
    volume: str = ""
    needs_engine: bool = False
    config_file: str = ""
    create_arguments: tuple[CreateArgument, ...] = ()
    step: Callable[[str], object] = field(default=lambda _: None, compare=False)


def run_build(build: ContainerBuild, cancellation: Cancellation, sink: Sink) -> int:
    """Give the container's output to `sink`; return its exit status, 143 if cancelled.

    Raises EngineError and OutputFolderError.
    """
    output, platform = open_output(build.output_dir).path, build.platform
    build.step("image")
    with closing(connect()) as client:
        with translate_errors("report its architecture"):
            kernel = require_architecture(client, platform.arch)
        if note := architectures.emulation_note(platform.arch, kernel):
            print_progress(f"note: {note}")
        with translate_errors("prepare the image"), architectures.named(platform.arch, kernel):
            variables = forwarded(os.environ)
            preparing = begin(lambda: ensure_image(client, platform.policy, platform.arch, variables, platform.image))
            image = wait(preparing, cancellation)
        if image is None:
            return STOPPED
        build.step("container")
        with translate_errors("run the container"):
            status = run_container(client, _spec(client, image, build, output), cancellation, sink)
            return STOPPED if status is None else status


def _spec(client: DockerClient, image: str, build: ContainerBuild, output: Path) -> ContainerSpec:
    from docker.types import Mount

    mounts, arguments = mounts_and_arguments(build.package, output)
    arguments += _config_file(build, mounts)
    host_paths = find_host_paths(client)
    for mount in mounts:
        if mount["Type"] == "bind":
            mount["Source"] = host_paths.translate(Path(mount["Source"]))
    if build.needs_engine:
        mounts.append(Mount(_SOCKET, _SOCKET, type="bind"))
    if build.volume:
        mounts.append(Mount(SHARED, build.volume, type="volume"))
    return ContainerSpec(
        image=image, command=("build", *arguments, "--engine=host", *build.arguments), mounts=mounts,
        environment=_environment(build), grace=_GRACE, on_start=lambda: build.step("program"),
        platform=foreign_platform(client, build.platform.arch),
        limits={
            **sdk_arguments(build.create_arguments), "use_config_proxy": True,
            "working_dir": working_folder(build.package),
        },
    )  # fmt: skip


def _config_file(build: ContainerBuild, mounts: list[Mount]) -> list[str]:
    """Return the option for the container, and mount the file unless it is in an sdist."""
    from docker.types import Mount

    name = build.config_file
    if not name or (build.package.is_file() and name.startswith("{package}/")):
        return [f"--config-file={name}"] if name else []
    file = Path(name.replace("{package}", str(build.package))).resolve()
    mounts.append(Mount(str(_CONFIG), str(file), type="bind", read_only=True))
    return [f"--config-file={_CONFIG}"]


def mounts_and_arguments(package: Path, output: Path) -> tuple[list[Mount], list[str]]:
    """The arguments name the project and the output folder in the container.

    Paths stay the same where possible, for messages. The whole git repository is mounted, read-only, for versions from
    its history; without git, the working folder if the package is in it.
    """
    from docker.types import Mount

    package, output = package.resolve(), output.resolve()
    source = _mounted(package)
    top, inside = source.folder, source.inside
    mounts = [Mount(str(inside), str(top), type="bind", read_only=True)]
    if repository := linked_repository(top):
        mounts.append(Mount(str(repository), str(repository), type="bind", read_only=True))
    target = (
        inside / output.relative_to(top) if output != top and output.is_relative_to(top) else _inside(output, _OUTPUT)
    )
    mounts.append(Mount(str(target), str(output), type="bind"))
    mounts.append(Mount(_CACHE, CACHE_VOLUME, type="volume"))
    return mounts, [str(inside / package.relative_to(top)), f"--output-dir={target}"]


def _mounted(package: Path) -> Mounted:
    package = package.resolve()
    top = package if package.is_file() else source_root(package)
    return Mounted(top, _inside(top, _PROJECT))


def working_folder(package: Path) -> str:
    """Return where the program starts in the container: in the same folder of the source as here, for `{project}`."""
    source, here = _mounted(package), Path.cwd()
    if source.folder.is_file():
        return "/"
    return str(source.inside / (here.relative_to(source.folder) if here.is_relative_to(source.folder) else ""))


def _inside(path: Path, otherwise: PurePosixPath) -> PurePosixPath:
    """Return the path in the container: the same, unless that hides a part of the image."""
    hidden = any(PurePosixPath(part).is_relative_to(path) or path.is_relative_to(part) for part in _IMAGE_PARTS)
    return otherwise if hidden else PurePosixPath(path)


def _environment(build: ContainerBuild) -> dict[str, str]:
    caller, mounted = read_caller(os.environ), _mounted(build.package)
    environment = forwarded(caller.environment, mounted) | {
        name: os.environ[name] for name in setting_variables(os.environ)
    }
    return environment | {name: os.environ[name] for name in build.environment_pass if name in os.environ}


def what_is_not_known(build: ContainerBuild) -> Iterator[str]:
    """Yield what of the caller's settings the container is not told, as lines."""
    caller, mounted = read_caller(os.environ), _mounted(build.package)
    if left_out := local_only(caller.environment, mounted):
        names = [f"{name} ({caller.origins[name]})" if name in caller.origins else name for name in left_out]
        yield f"not known in the container, as they name files of this machine: {', '.join(names)}"
    yield from (f"note: {note}" for note in caller.notes)
