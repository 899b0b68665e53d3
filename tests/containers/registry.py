"""Debian's docker-registry on this machine: images that the engine pushes there and pulls again, by their digests."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import requests
import yaml

from publish.servers import free_port

if TYPE_CHECKING:
    from docker import DockerClient

# An engine pushes the one or the other, by where it keeps its images.
_MANIFESTS: Final = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"


@dataclass(frozen=True, kw_only=True)
class Registry:
    """The registry, for one repository of images. Engines take an address of this machine without TLS."""

    client: DockerClient
    host: str
    log: Path

    @property
    def repository(self) -> str:
        """How the engine names the repository."""
        return f"{self.host}/manywheels/manywheels"

    def push(self, image: str, tag: str) -> str:
        """Push one of the engine's images; return its digest. The engine keeps no name of it."""
        self.client.images.get(image).tag(self.repository, tag)
        try:
            for message in self.client.images.push(self.repository, tag=tag, stream=True, decode=True):
                if "error" in message:
                    raise AssertionError(message)
        finally:
            self.forget()
        digest: str = self._described(tag)["digest"]
        return digest

    def join(self, digests: dict[str, str], tag: str) -> str:
        """Make one index of images, by their architectures, as `docker buildx imagetools create` does."""
        manifests = [self._described(digest) | {"platform": {"os": "linux", "architecture": architecture}}
                     for architecture, digest in digests.items()]  # fmt: skip
        index = {"schemaVersion": 2, "mediaType": _INDEX, "manifests": manifests}
        answer = requests.put(self._manifest(tag), json=index, headers={"Content-Type": _INDEX}, timeout=60)
        answer.raise_for_status()
        return answer.headers["Docker-Content-Digest"]

    def names(self) -> list[str]:
        """Return what the engine calls images of this registry."""
        names = [name for image in self.client.images.list() for name in (*image.tags, *_digests(image.attrs))]
        return sorted(name for name in names if name.startswith(f"{self.host}/"))

    def forget(self) -> None:
        """Take these names from the engine's images; with the last tag, it takes the digests itself."""
        while names := self.names():
            self.client.images.remove(names[0])

    def _manifest(self, reference: str) -> str:
        return f"http://{self.host}/v2/manywheels/manywheels/manifests/{reference}"

    def _described(self, reference: str) -> dict[str, Any]:
        """Return what an index says of an image."""
        answer = requests.get(self._manifest(reference), headers={"Accept": _MANIFESTS}, timeout=60)
        answer.raise_for_status()
        told = answer.headers
        return {"mediaType": told["Content-Type"], "size": len(answer.content), "digest": told["Docker-Content-Digest"]}


def _digests(attributes: dict[str, Any]) -> list[str]:
    return list(attributes["RepoDigests"] or [])


@contextmanager
def registry(client: DockerClient, folder: Path) -> Iterator[Registry]:
    """Serve the images that lie in a folder; at the end the engine has no name of them left."""
    host, log = f"127.0.0.1:{free_port()}", folder / "log"
    settings = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(folder / "store")}},
                "http": {"addr": host}}  # fmt: skip
    (folder / "config.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")], stdout=output, stderr=output
        )  # fmt: skip
    serving = Registry(client=client, host=host, log=log)
    try:
        _await(process, serving)
        yield serving
    finally:
        serving.forget()
        process.terminate()
        process.wait(timeout=60)


def _await(process: subprocess.Popen[bytes], serving: Registry) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(requests.ConnectionError):
            requests.get(f"http://{serving.host}/v2/", timeout=60).raise_for_status()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"the registry does not serve: {serving.log.read_text()}")
        time.sleep(0.05)
