"""Translate this container's paths, such as /github/workspace, to the host's, which the engine knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from manywheels.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

_MOUNTS: Final = Path("/proc/self/mountinfo")
_OWN_ID: Final = re.compile(r"containers/([0-9a-f]{64})/(?:userdata/)?(?:hostname|resolv\.conf|hosts) /etc/\w")


@dataclass(frozen=True, kw_only=True)
class HostPaths:
    """The host's path for each folder mounted into this container."""

    mounts: Mapping[PurePosixPath, PurePosixPath]
    in_container: bool = False

    def translate(self, path: Path) -> str:
        """Raises EngineError for a path that exists only in this container."""
        if not self.in_container:
            return str(path)
        for inside in (PurePosixPath(path), *PurePosixPath(path).parents):
            if inside in self.mounts:
                return str(self.mounts[inside] / PurePosixPath(path).relative_to(inside))
        raise EngineError(
            f"The container engine cannot see `{path}`, which exists only in the container that manywheels runs in.",
            remedy="Put the project and the output folder below a mounted folder, such as the workspace in CI.",
        )


def own_container_id(mounts: Path = _MOUNTS) -> str | None:
    """Return the id of this process's Docker or Podman container, or None."""
    try:
        found = _OWN_ID.search(mounts.read_text("utf-8", "surrogateescape"))
    except OSError:
        return None
    return found[1] if found else None


def find_host_paths(client: DockerClient) -> HostPaths:
    from docker.errors import NotFound

    own = own_container_id()
    if own is None:
        return HostPaths(mounts={})
    try:
        mounts = client.api.inspect_container(own)["Mounts"]
    except NotFound:  # the engine runs in this container, with the same paths
        return HostPaths(mounts={})
    found = {PurePosixPath(mount["Destination"]): PurePosixPath(mount["Source"]) for mount in mounts}
    return HostPaths(mounts=found, in_container=True)
