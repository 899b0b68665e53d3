"""What this program leaves with a container engine: images that it has built, and volumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from manywheels.errors import EngineError
from manywheels.runtime.containers.engine import translate_errors
from manywheels.runtime.containers.program import CACHE_VOLUME
from manywheels.runtime.containers.run import LABEL

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY: Final = "manywheels:"  # which all images' names begin with


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """An image or a volume: `size` in bytes, -1 if the engine does not know it; layers of others do not count."""

    kind: str
    name: str
    size: int


def leftovers(client: DockerClient) -> Iterator[Leftover]:
    """Yield what is there, images first. Raises EngineError."""
    with translate_errors("list images and volumes"):
        usage: dict[str, Any] = client.df()
    for image in usage.get("Images") or ():
        own = int(image.get("Size", 0)) - max(0, int(image.get("SharedSize", 0)))
        for name in image.get("RepoTags") or ():
            if name.startswith(REPOSITORY):
                yield Leftover(kind="image", name=name, size=own)
    for volume in usage.get("Volumes") or ():
        if volume["Name"] == CACHE_VOLUME or LABEL in (volume.get("Labels") or {}):
            yield Leftover(
                kind="volume", name=volume["Name"], size=int((volume.get("UsageData") or {}).get("Size", -1))
            )


def remove(client: DockerClient, leftover: Leftover) -> str:
    """Return why it is still there, without a full stop; empty if it was removed."""
    from docker.errors import NotFound

    try:
        with translate_errors("remove it"), suppress(NotFound):
            if leftover.kind == "image":
                client.images.remove(leftover.name)
            else:
                client.volumes.get(leftover.name).remove()
    except EngineError as error:
        return error.message.rstrip(".")
    return ""
