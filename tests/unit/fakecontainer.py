"""A container of the Docker SDK that writes given pieces of output, and notes what is done with it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from docker import DockerClient


class FakeContainer:
    """A container with the exit status 3, and its client. `ended` is set when it is stopped or killed."""

    id = "fake"

    def __init__(self, output: Iterable[bytes]) -> None:
        self._output = output
        self.calls: list[str] = []
        self.ended = threading.Event()
        client = SimpleNamespace(containers=SimpleNamespace(create=lambda *_, **__: self), api=self)
        self.client = cast("DockerClient", client)

    def attach(self, _name: str, **_options: bool) -> Iterator[tuple[bytes, None]]:
        return ((piece, None) for piece in self._output)

    def start(self) -> None:
        self.calls.append("start")

    def wait(self) -> dict[str, int]:
        return {"StatusCode": 3}

    def stop(self, timeout: int) -> None:
        self.calls.append(f"stop {timeout}")
        self.ended.set()

    def kill(self) -> None:
        self.calls.append("kill")
        self.ended.set()

    def put_archive(self, path: str, _archive: object) -> None:
        self.calls.append(f"put {path}")

    def get_archive(self, path: str) -> tuple[list[bytes], None]:
        self.calls.append(f"get {path}")
        return [b"archive"], None

    def remove(self, *, force: bool, v: bool) -> None:
        assert force
        assert v
        self.calls.append("remove")
