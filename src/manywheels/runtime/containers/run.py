"""Run one container to its end, and remove it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from manywheels.core.interruptible import begin, wait

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.types import Mount

    from manywheels.core.cancellation import Cancellation

STDOUT: Final = 1
STDERR: Final = 2
NOBODY: Final = 65534
# For untrusted code: no capabilities, and no program that gives any.
UNPRIVILEGED: Final = {
    "user": f"{NOBODY}:{NOBODY}", "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"],
}  # fmt: skip
LABEL: Final = "org.manywheels.run"
_REST_OF_OUTPUT: Final = 5.0  # seconds to read a killed container's output
_REST_WHEN_CANCELLED: Final = 1.0
_COPY_OUT: Final = 60.0  # seconds

# Takes output with its stream's number; returns whether the container may go on. Otherwise, it is killed, and still
# passes its output here: the engine ends no container whose output is not read.
Sink = Callable[[int, bytes], bool]


@dataclass(frozen=True, kw_only=True)
class CopyOut:
    """A path to copy out of an ended container; `take` gets a tar archive, if it exists."""

    path: str
    take: Callable[[Iterable[bytes]], object]


@dataclass(frozen=True, kw_only=True)
class ContainerSpec:
    """A container to run once; an empty `entrypoint` is the image's own.

    `limits` are more arguments of the SDK's `create`; `grace` is in seconds from SIGTERM to SIGKILL, 0 for SIGKILL at
    once. `copy_in` is a tar archive for `/`; no other user can change its path. `platform` is another architecture's
    name for the engine (`linux/arm64`), empty for its own. `on_start` is called once the container runs.
    """

    image: str
    command: Sequence[str]
    entrypoint: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    tty: bool = False
    grace: int = 0
    copy_in: Path | None = None
    copy_out: CopyOut | None = None
    platform: str = ""
    on_start: Callable[[], object] = lambda: None


def run_container(
    client: DockerClient, spec: ContainerSpec, cancellation: Cancellation, sink: Sink, timeout: float = math.inf
) -> int | None:
    """Return the exit status; None if ended by `cancellation` or after `timeout` seconds.

    With a terminal, all output is STDOUT. Raises what the SDK and `sink` raise.
    """
    from docker.types import LogConfig

    run_id = secrets.token_hex(8)
    container = client.containers.create(
        spec.image, list(spec.command), entrypoint=list(spec.entrypoint) or None,
        name=f"manywheels-{run_id}", labels={LABEL: run_id}, environment=dict(spec.environment),
        mounts=list(spec.mounts), tty=spec.tty,
        log_config=LogConfig(type="none"),  # the sink has the output
        platform=spec.platform or None,
        **spec.limits,
    )  # fmt: skip
    try:
        if archive := spec.copy_in:
            wait(begin(lambda: _copy_in(container, archive)), cancellation)
        if cancellation.requested:
            return None
        output = client.api.attach(str(container.id), stream=True, demux=True)
        container.start()
        spec.on_start()
        following = begin(lambda: _follow(container, output, sink))
        status = wait(following, cancellation, timeout)
        if status is None:
            _end(container, spec.grace)
            futures.wait([following], _REST_WHEN_CANCELLED if cancellation.requested else _REST_OF_OUTPUT)
        if (wanted := spec.copy_out) and not cancellation.requested:
            wait(begin(lambda: _copy_out(container, wanted)), cancellation, _COPY_OUT)
        return status
    finally:
        with suppress(Exception):  # it may be gone; an earlier error matters more
            container.remove(force=True, v=True)


def _follow(container: Container, output: Iterable[tuple[bytes | None, bytes | None]], sink: Sink) -> int:
    may_go_on = True
    for frame in output:
        for stream, chunk in zip((STDOUT, STDERR), frame, strict=True):
            if chunk and not sink(stream, chunk) and may_go_on:
                may_go_on = False
                begin(container.kill)
    return int(container.wait()["StatusCode"])


def _end(container: Container, grace: int) -> None:
    with suppress(Exception):  # it may have ended
        if grace:
            container.stop(timeout=grace)
        else:
            container.kill()


def _copy_in(container: Container, archive: Path) -> None:
    with archive.open("rb") as packed:
        container.put_archive("/", packed)


def _copy_out(container: Container, wanted: CopyOut) -> None:
    from docker.errors import NotFound

    try:
        chunks, _ = container.get_archive(wanted.path)
    except NotFound:
        return
    wanted.take(chunks)
