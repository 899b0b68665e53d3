"""The image for `--engine container`: the action's, built from the package's own files.

It is named by the hash of these and of its base's id: a base that changed under its tag makes another image. The base
is the policy's image, or a user's with Pythons in /opt/python.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import threading
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from manywheels.core.printing import say
from manywheels.core.text import quote
from manywheels.errors import EngineError
from manywheels.plan import architectures
from manywheels.plan.policies import Policy
from manywheels.resources import program_files
from manywheels.runtime.containers.interpreters import image_interpreters

if TYPE_CHECKING:
    from docker import DockerClient

HOST_ENGINE: Final = "or build with `--engine host`"
_TAIL: Final = 30  # lines shown of a failed build
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def image_context() -> bytes:
    """Return a tar archive, with the same bytes from a checkout and from a wheel."""
    files = program_files()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            content = files[name].read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


def image_tag(policy: Policy, arch: str, context: bytes, base_id: str) -> str:
    """`base_id` is the engine's id of the base image."""
    digest = hashlib.sha256(base_id.encode() + b"\0" + context).hexdigest()
    return f"manywheels:{policy.name}-{arch}-{digest[:12]}"


def image_name(client: DockerClient, policy: Policy, arch: str, base: str = "") -> str:
    """Return the name that `ensure_image` gives, without building it; the base is here. Raises what the SDK raises."""
    return image_tag(policy, arch, image_context(), str(client.images.get(base or policy.image_name(arch)).id))


_preparing: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def ensure_image(client: DockerClient, policy: Policy, arch: str, variables: Mapping[str, str], base: str = "") -> str:
    """Return the image's name; build it, and pull its base, if missing.

    `base` is the user's image, or empty. Of `variables`, the build gets proxies and index addresses. Raises
    EngineError, and what the SDK raises.
    """
    context = image_context()
    is_named, base = bool(base), base or policy.image_name(arch)
    platform = foreign_platform(client, arch)
    with _preparing[base]:  # pulling another architecture's image of this name moves the name
        if is_named:
            pull_for_architecture(client, base, arch)
        else:
            # It has the architecture in its name.
            pull_if_missing(client, base, digest=policy.image_digest(arch))
        tag = image_tag(policy, arch, context, str(client.images.get(base).id))
        if not has_image(client, tag):
            if is_named:
                image_interpreters(client, base)
            _build_image(client, tag, context, {"BASE": base} | _arguments(variables), platform)
    return tag


# --- architectures ----------------------------------------------------------------------------------------------------


def engine_machine(client: DockerClient) -> str:
    """Return the architecture of the engine's machine, which may be a virtual one."""
    return architectures.arch_of(str(client.version().get("Arch", ""))) or os.uname().machine


def require_architecture(client: DockerClient, arch: str) -> str:
    """Return the engine's architecture. Raises EngineError if its machine certainly does not run `arch`."""
    kernel, release = engine_machine(client), client.version().get("KernelVersion", "")
    if release in {"", os.uname().release}:  # else another machine's, whose emulation nobody sees here
        architectures.require(arch, kernel)
    return kernel


def foreign_platform(client: DockerClient, arch: str) -> str:
    """Return what the engine must be told to start `arch`, such as `linux/arm64`; empty if that is its own."""
    return "" if architectures.is_native(arch, engine_machine(client)) else architectures.image_platform(arch)


def pull_for_architecture(client: DockerClient, name: str, arch: str, otherwise: str = HOST_ENGINE) -> None:
    """Pull an image unless it is here for this architecture: a name may stand for several. Raises EngineError."""
    is_here = has_image(client, name)
    if is_here and architectures.is_native(arch, _arch_of_image(client, name)):
        return
    pull(client, name, otherwise, architectures.image_platform(arch) if is_here else foreign_platform(client, arch))


def _arch_of_image(client: DockerClient, name: str) -> str:
    return architectures.arch_of(str(client.images.get(name).attrs.get("Architecture", "")))


# --- pulling and building ---------------------------------------------------------------------------------------------


def pull_if_missing(client: DockerClient, name: str, otherwise: str = HOST_ENGINE, *, digest: str = "") -> None:
    """Raises EngineError."""
    if not has_image(client, name):
        pull(client, name, otherwise, digest=digest)


def has_image(client: DockerClient, name: str) -> bool:
    from docker.errors import NotFound

    try:
        client.images.get(name)
    except NotFound:  # not all engines' wording makes it an ImageNotFound
        return False
    return True


def pull(
    client: DockerClient, name: str, otherwise: str = HOST_ENGINE, platform: str = "", *, digest: str = ""
) -> None:
    """`platform` chooses among several architectures', and is empty for the engine's.

    With a `digest`, no other image can come by that name. Raises EngineError.
    """
    from docker.errors import APIError
    from docker.utils import parse_repository_tag

    print_progress(f"pulling {name}{f' for {platform}' if platform else ''} (once)")
    repository, tag = parse_repository_tag(name)
    try:
        wanted = digest or tag or "latest"
        messages = client.api.pull(repository, tag=wanted, stream=True, decode=True, platform=platform or None)
        problem = _problem(messages, deque(maxlen=1))
        if digest and not problem:
            client.api.tag(f"{repository}@{digest}", repository, tag or "latest")
    except APIError as error:
        problem = str(error.explanation or error)
    if problem:
        raise engine_error(
            f"The image `{name}` cannot be pulled", problem, otherwise=otherwise,
            remedy=f"Check that `docker pull {name}` works (name, network, proxy, log-in), {otherwise}.",
        )  # fmt: skip


def _arguments(variables: Mapping[str, str]) -> dict[str, str]:
    names = {"UV_DEFAULT_INDEX", "PIP_INDEX_URL", *_PROXIES, *map(str.upper, _PROXIES)}
    return {name: value for name, value in variables.items() if name in names and "@" not in value}


def _build_image(client: DockerClient, tag: str, context: bytes, arguments: dict[str, str], platform: str) -> None:
    print_progress(f"building the image {tag} on {arguments['BASE']} (once)")
    lines: deque[str] = deque(maxlen=_TAIL)
    messages = client.api.build(
        fileobj=io.BytesIO(context), custom_context=True, tag=tag, decode=True, rm=True, forcerm=True,
        buildargs=arguments, platform=platform or None,
    )  # fmt: skip
    if problem := _problem(messages, lines):
        tail = "\n".join(quote(line) for line in lines if line.strip())
        raise engine_error(f"The image `{tag}` could not be built", f"{problem}\n{tail}".rstrip())


def _problem(messages: Iterable[dict[str, Any]], lines: deque[str]) -> str | None:
    for message in messages:
        if error := message.get("error") or message.get("message"):
            return str(error)
        lines.extend(str(message.get("stream", "")).splitlines())
    return None


def engine_error(what: str, why: str, remedy: str = "", *, otherwise: str = HOST_ENGINE) -> EngineError:
    """For a known reason, a more precise remedy replaces the given one."""
    why = why.strip().rstrip(".")
    if "exec format error" in why.lower():
        remedy = f"It is for another architecture: {architectures.remedy()}"
    elif "no space left on device" in why.lower():
        remedy = f"Its disk is full: free some space (`docker system prune`), {otherwise}."
    elif "bind source path does not exist" in why:
        remedy = f"The engine does not see this machine's folders: use one that runs here, {otherwise}."
    return EngineError(f"{what}: {why}.", remedy=remedy or f"See the engine's own log, {otherwise}.")


def print_progress(line: str) -> None:
    say(line, stream=sys.stderr)
