"""One container from its start to its removal: the engine's part is a fake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.containers.run import STDOUT, ContainerSpec, CopyOut, run_container
from unit.fakecontainer import FakeContainer

pytestmark = pytest.mark.timeout(120)


def accept(_stream: int, _chunk: bytes) -> bool:
    return True


def waiting(*, cancels: Cancellation | None = None) -> FakeContainer:
    """Return a container that writes once, and then waits for its end."""

    def output() -> Iterator[bytes]:
        yield b"begun"
        if cancels:
            cancels.request()
        container.ended.wait(60)
        yield b"last words"

    container = FakeContainer(output())
    return container


def test_output_files_and_status(tmp_path: Path) -> None:
    archive = tmp_path / "in.tar"
    archive.touch()
    copied: list[bytes] = []
    spec = ContainerSpec(
        image="image", command=(), copy_in=archive, copy_out=CopyOut(path="/results", take=copied.extend),
        on_start=lambda: container.calls.append("started"),
    )  # fmt: skip
    chunks: list[tuple[int, bytes]] = []

    def take(stream: int, chunk: bytes) -> bool:
        chunks.append((stream, chunk))
        return True

    container = FakeContainer([b"a", b"b"])
    assert run_container(container.client, spec, Cancellation(), take) == 3
    assert chunks == [(STDOUT, b"a"), (STDOUT, b"b")]
    assert copied == [b"archive"]
    assert container.calls == ["put /", "start", "started", "get /results", "remove"]


@pytest.mark.parametrize(("grace", "call"), [(0, "kill"), (4, "stop 4")])
def test_cancellation_ends_it_in_order_and_copies_nothing_out(grace: int, call: str) -> None:
    cancellation = Cancellation()
    container = waiting(cancels=cancellation)
    spec = ContainerSpec(image="image", command=(), grace=grace, copy_out=CopyOut(path="/results", take=list))
    assert run_container(container.client, spec, cancellation, accept) is None
    assert container.calls == ["start", call, "remove"]


def test_a_run_that_is_cancelled_before_starts_nothing() -> None:
    cancellation = Cancellation()
    cancellation.request()
    container = waiting()
    assert run_container(container.client, ContainerSpec(image="image", command=()), cancellation, accept) is None
    assert container.calls == ["remove"]


def test_after_the_timeout_it_is_killed_and_its_last_output_and_files_are_read() -> None:
    container = waiting()
    chunks: list[bytes] = []

    def take(_stream: int, chunk: bytes) -> bool:
        chunks.append(chunk)
        return True

    spec = ContainerSpec(image="image", command=(), copy_out=CopyOut(path="/results", take=list))
    assert run_container(container.client, spec, Cancellation(), take, timeout=0.05) is None
    assert chunks == [b"begun", b"last words"]
    assert container.calls == ["start", "kill", "get /results", "remove"]


def test_an_error_of_the_sink_is_raised_and_the_container_removed() -> None:
    def fail(_stream: int, _chunk: bytes) -> bool:
        raise BrokenPipeError

    container = FakeContainer([b"a"])
    with pytest.raises(BrokenPipeError):
        run_container(container.client, ContainerSpec(image="image", command=()), Cancellation(), fail)
    assert container.calls == ["start", "remove"]
