"""Tests in an image of somebody who means harm: the run ends in time, and what lies outside is not reached."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import BASE_IMAGE
from manywheels.build.stages.test_container import TestImage, run_tests_in_image
from manywheels.build.stages.test_run import TestOutcome, TestRequest
from manywheels.build.stages.venv import Venv
from manywheels.core.cancellation import Cancellation
from manywheels.plan import target_options
from manywheels.plan.pip_settings import Follower
from manywheels.runtime import sandbox
from unit.helpers import target, write_project, write_wheel

if TYPE_CHECKING:
    from docker import DockerClient

# The SDK leaves the sockets that it was attached with to the garbage collector.
pytestmark = [pytest.mark.docker, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

LIMIT = 120.0  # seconds; without a cure, these never end

# /manywheels leads elsewhere, nothing is what it should be, and each of three Pythons is a trap of its own.
HOSTILE = f"""
FROM {BASE_IMAGE}
RUN mkdir /trap && ln -s /trap /manywheels && cd /opt/python \\
    && plant() {{ rm "$1/bin/python"; printf '#!/bin/sh\\n%s\\n' "$2" >"$1/bin/python"; chmod +x "$1/bin/python"; }} \\
    && plant cp39-cp39 'trap "" TERM INT HUP; while :; do (trap "" TERM; sleep 1) & wait; done' \\
    && plant cp310-cp310 'test "$1" = -c && echo 3.10 && exit; exec yes' \\
    && plant cp311-cp311 'test "$1" = -c && echo 3.11 && exit; truncate -s 1T /manywheels/results/junit.xml'
ENV WITHOUT= HOME=/etc PATH=/usr/bin:/bin
WORKDIR /manywheels/work
VOLUME /manywheels/home
ENTRYPOINT ["/bin/false"]
HEALTHCHECK --interval=1s CMD touch /tmp/health
USER root
CMD ["/bin/false"]
"""


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def hostile(client: DockerClient) -> Iterator[str]:
    import docker

    name = f"manywheels-test-{uuid.uuid4().hex}:1"
    # The engine finds containers by their image's content: no other worker may have the same.
    recipe = f"{HOSTILE}LABEL name={name}\n".encode()
    client.images.build(fileobj=io.BytesIO(recipe), tag=name, network_mode="none", rm=True, forcerm=True)
    yield name
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.remove(name, force=True)


@pytest.fixture
def request_(tmp_path: Path) -> TestRequest:
    """A wheel that needs nothing, and a project whose tests are a command."""
    tests = target_options.Tests(
        command="true", before="", requires=(), extras=(), groups=(), sources=(), environment=(),
    )  # fmt: skip
    project = write_project(tmp_path / "project")
    venv = Venv(uv="uv", python=Path("python"), followed=Follower().follow({}), log=tmp_path / "log")
    return TestRequest(
        tests=tests, wheel=write_wheel(tmp_path, tags="py3-none-any", members={"demo.py": b""}), source=project,
        project=project, package=project, folder=tmp_path / "tests", venv=venv, timeout=LIMIT,
    )  # fmt: skip


def run_in(request: TestRequest, image: str, tag: str, client: DockerClient) -> TestOutcome:
    """Test the wheel in the image; nothing of it is there afterwards."""
    started = time.monotonic()
    place = TestImage(image=image, target=target(tag), variables={}, environment=())
    ended = run_tests_in_image(request, place, Cancellation())
    assert time.monotonic() - started < 2 * LIMIT
    assert client.containers.list(all=True, filters={"ancestor": image}) == []
    return ended


def test_what_an_image_says_of_itself_does_not_count(client: DockerClient, hostile: str, request_: TestRequest) -> None:
    command = """
        id -u; pwd; test -L /manywheels && echo linked; test -w /trap && echo writable; test -e /tmp/health && echo ill
        grep -E 'CapEff|NoNewPrivs' /proc/self/status; cat /proc/self/oom_score_adj
        cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null
        ln -s /etc/passwd ../results/junit.xml; (trap '' TERM; sleep 600) &
        sleep 2
    """
    ended = run_in(replace(request_, tests=replace(request_.tests, command=command)), hostile, "cp312", client)
    log = request_.venv.log.read_text()
    assert ended.failure is None, log
    assert ended.test_run.count is None
    said = log.splitlines()
    assert "65534" in said
    assert "/manywheels/elsewhere" in said
    assert not {"linked", "writable", "ill"} & set(said), "the link is replaced, in the container alone"
    assert "CapEff:\t0000000000000000" in said
    assert "NoNewPrivs:\t1" in said
    assert "4096" in said
    assert "500" in said


def test_a_container_that_never_ends_and_hears_no_signal(
    client: DockerClient, hostile: str, request_: TestRequest
) -> None:
    ended = run_in(replace(request_, timeout=3.0), hostile, "cp39", client)
    assert ended.failure
    assert "did not end within their limit of 3 s" in ended.failure.message


def test_output_without_end(
    client: DockerClient, hostile: str, request_: TestRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "LARGEST_LOG", 1 << 20)
    ended = run_in(request_, hostile, "cp310", client)
    assert ended.failure
    assert request_.venv.log.stat().st_size <= 1 << 20


def test_results_without_end(client: DockerClient, hostile: str, request_: TestRequest) -> None:
    ended = run_in(request_, hostile, "cp311", client)
    assert ended.failure
    assert ended.test_run.count is None


def test_an_image_for_another_machine_is_named(client: DockerClient, request_: TestRequest) -> None:
    import docker

    machine = "arm64" if os.uname().machine == "x86_64" else "amd64"
    name = f"manywheels-test-{uuid.uuid4().hex}:1"
    client.images.build(
        fileobj=io.BytesIO(b"FROM scratch\nCOPY Dockerfile /bin/sh\n"), tag=name, platform=f"linux/{machine}"
    )
    try:
        ended = run_in(request_, name, "cp312", client)
        assert ended.failure
        assert name in ended.failure.message
    finally:
        with contextlib.suppress(docker.errors.ImageNotFound):
            client.images.remove(name, force=True)
