"""Where this program's folders are for the container engine: its paths are the host's, ours may be a container's.

In a container action the runner mounts the workspace as /github/workspace; the engine behind docker.sock knows it by
the host's name for it. Which is which stands in the mounts of the container that the program is in.
"""

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
    """The folders that this container has of the host: the host's path for each. Empty: this is the host itself."""

    mounts: Mapping[PurePosixPath, PurePosixPath]
    in_container: bool = False

    def of(self, path: Path) -> str:
        """Return the host's name of a path. Raises EngineError for one that only this container has."""
        if not self.in_container:
            return str(path)
        for inside in (PurePosixPath(path), *PurePosixPath(path).parents):
            if inside in self.mounts:
                return str(self.mounts[inside] / PurePosixPath(path).relative_to(inside))
        raise EngineError(
            f"The container engine cannot see `{path}`: manywheels itself runs in a container, and only that has it.",
            remedy="Put the project and the output folder into what is mounted there, as the workspace is in CI.",
        )


def own_container_id(mounts: Path = _MOUNTS) -> str | None:
    """Return the id of the container that this process is in; None where it is in none of Docker's or Podman's."""
    try:
        found = _OWN_ID.search(mounts.read_text("utf-8", "surrogateescape"))
    except OSError:
        return None
    return found[1] if found else None


def find_host_paths(client: DockerClient) -> HostPaths:
    """Ask the engine what it has mounted into the container that this is; one that it does not know is not its own."""
    from docker.errors import NotFound

    own = own_container_id()
    if own is None:
        return HostPaths(mounts={})
    try:
        mounts = client.api.inspect_container(own)["Mounts"]
    except NotFound:  # an engine inside of the container, which sees what we see
        return HostPaths(mounts={})
    found = {PurePosixPath(mount["Destination"]): PurePosixPath(mount["Source"]) for mount in mounts}
    return HostPaths(mounts=found, in_container=True)
