"""The container engine through the Docker SDK, whose errors become EngineError."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.interruptible import begin, wait
from manywheels.errors import EngineError
from manywheels.runtime.containers.image import HOST_ENGINE, engine_error, pull_for_architecture, pull_if_missing

if TYPE_CHECKING:
    from docker import DockerClient

_SOCKET: Final = Path("/var/run/docker.sock")
_OLDEST_API: Final = (1, 41)  # Docker 20.10, Podman 3.0


def describe_engine() -> str:
    """Raises EngineError."""
    with connected("report its version") as client:
        facts = client.version()
    names = [f"{part['Name']} {part['Version']}" for part in facts.get("Components", ())[:1]]
    return f"{' '.join(names) or facts.get('Version', 'unknown')}, API {facts['ApiVersion']}"


def connect(otherwise: str = HOST_ENGINE) -> DockerClient:
    """Connect by DOCKER_HOST, the Docker context or the usual socket. Raises EngineError.

    `otherwise`, the end of its remedy, says what to do without an engine.
    """
    try:
        import docker
    except ImportError:
        raise EngineError(
            "The Python package `docker` is not installed.", remedy=f"Install it beside manywheels, {otherwise}."
        ) from None
    host = os.environ.get("DOCKER_HOST", "")
    if host.startswith("ssh://"):
        raise EngineError(
            f"The container engine `{host}` (DOCKER_HOST) is on another machine, which does not have this one's files.",
            remedy=f"Unset DOCKER_HOST to use this machine's engine, {otherwise}.",
        )
    try:
        client = docker.from_env()
    except docker.errors.InvalidVersion as error:
        raise _too_old(str(error), otherwise) from None
    except (docker.errors.DockerException, OSError, ValueError) as error:
        address = f"`{host}` (DOCKER_HOST)" if host else "its usual socket"
        raise _unreachable(error, address, otherwise) from None
    version = client.api.api_version
    if tuple(map(int, version.split("."))) < _OLDEST_API:
        client.close()
        raise _too_old(f"it speaks API {version}", otherwise)
    return client


def _too_old(found: str, otherwise: str) -> EngineError:
    needed = ".".join(map(str, _OLDEST_API))
    return EngineError(
        f"The container engine is too old: {found}, and API {needed} is needed.",
        remedy=f"Update it (Docker 20.10, Podman 3.0 or newer), {otherwise}.",
    )


def _unreachable(error: Exception, address: str, otherwise: str) -> EngineError:
    match _error_number(error):
        case errno.ENOENT:
            return EngineError(
                f"There is no container engine: {address} does not exist.",
                remedy=f"Install Docker, or Podman with its docker socket; set DOCKER_HOST if it listens elsewhere; "
                f"{otherwise}.",
            )
        case errno.ECONNREFUSED | errno.ECONNRESET:
            return EngineError(
                f"The container engine does not answer: {address} exists, but nothing listens on it.",
                remedy=f"Start it (`sudo systemctl start docker`), {otherwise}.",
            )
        case errno.EACCES | errno.EPERM:
            return EngineError(
                f"This user may not talk to the container engine: permission denied on {address}.",
                remedy=f"Join its group (`sudo usermod -aG docker $USER`, then log in again), {otherwise}.",
            )
    return EngineError(
        f"The container engine at {address} gives no usable response: {error}",
        remedy=f"Check that `docker version` works, {otherwise}.",
    )


def _error_number(error: BaseException) -> int | None:
    pending: list[object] = [error]
    for item in pending:  # grows meanwhile
        if isinstance(item, OSError) and item.errno:
            return item.errno
        if isinstance(item, BaseException):
            below = (*item.args, item.__cause__, item.__context__)
            pending += [new for new in below if not any(new is known for known in pending)]
    return None


@contextmanager
def translate_errors(task: str, otherwise: str = HOST_ENGINE) -> Iterator[None]:
    """Turn the SDK's errors into EngineError."""
    import docker.errors
    import requests
    import urllib3

    try:
        yield
    except docker.errors.APIError as error:
        what = f"The container engine could not {task}"
        raise engine_error(what, str(error.explanation or error), otherwise=otherwise) from error
    except (docker.errors.DockerException, requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise EngineError(
            f"The container engine stopped responding when asked to {task}: {error}",
            remedy=f"Check that it still runs (`docker version`), {otherwise}.",
        ) from error


@contextmanager
def connected(task: str, otherwise: str = HOST_ENGINE) -> Iterator[DockerClient]:
    with closing(connect(otherwise)) as client, translate_errors(task, otherwise):
        yield client


def ensure_pulled(client: DockerClient, image: str, otherwise: str, cancellation: Cancellation, arch: str = "") -> None:
    """Pull an image if it is missing, or if it is not for `arch`. Raises Cancelled and EngineError."""

    def pull() -> None:
        if arch:
            pull_for_architecture(client, image, arch, otherwise)
        else:
            pull_if_missing(client, image, otherwise)

    wait(begin(pull), cancellation)
    cancellation.stop_if_requested("The run")


def has_engine() -> bool:
    """Whether there seems to be an engine, without contacting it."""
    return _SOCKET.exists() or "DOCKER_HOST" in os.environ
