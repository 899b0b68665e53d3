"""Where builds are done, which machine runs what, and what the engine calls our folders."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from manywheels.build.toolchain import Machine
from manywheels.cli import container_build
from manywheels.errors import EngineError
from manywheels.plan import architectures
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.options import Options, resolve
from manywheels.runtime.containers import engine
from manywheels.runtime.containers.host_paths import HostPaths, own_container_id
from unit.helpers import project

OTHER = "aarch64" if architectures.is_native("x86_64") else "x86_64"
NARROW = "i686" if architectures.is_native("x86_64") else "armv7l"


def options(**given: str) -> Options:
    values = {
        name: Value(value=value, origin=Origin(OriginKind.COMMAND_LINE, f"--{name}")) for name, value in given.items()
    }
    return resolve(values, project(), environment={})


@pytest.fixture(autouse=True)
def plain_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(container_build, "in_manylinux_image", lambda: False)
    monkeypatch.setattr(engine, "_SOCKET", tmp_path / "docker.sock")
    monkeypatch.delenv("DOCKER_HOST", raising=False)


@pytest.mark.parametrize(
    ("engine", "given", "expected"),
    [
        ("auto", {}, False),
        ("container", {}, True),
        ("auto", {"image": "example.org/image:1"}, True),
        ("host", {"image": "example.org/image:1"}, False),  # so it is said inside of that very image
        ("auto", {"platform": "manylinux2014"}, False),
    ],
)
def test_a_container_is_started_for_what_cannot_be_done_here(
    engine: str, given: dict[str, str], *, expected: bool
) -> None:
    assert container_build.needs_container(engine, options(**given)) is expected


def test_in_the_image_of_one_policy_others_get_theirs_where_an_engine_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(container_build, "in_manylinux_image", lambda: True)
    monkeypatch.setenv("AUDITWHEEL_POLICY", "manylinux_2_28")
    assert not container_build.needs_container("auto", options(platform="manylinux2014"))
    (tmp_path / "docker.sock").touch()
    assert container_build.needs_container("auto", options(platform="manylinux2014"))
    assert not container_build.needs_container("auto", options(platform="manylinux_2_28"))


@pytest.mark.parametrize(
    "given",
    [{"archs": OTHER}, {"archs": NARROW}, {"platform": "musllinux_1_2" if Machine.here().glibc else "manylinux_2_28"}],
)
def test_the_host_cross_builds_for_other_machines_where_no_engine_is(tmp_path: Path, given: dict[str, str]) -> None:
    assert not container_build.needs_container("auto", options(**given))
    (tmp_path / "docker.sock").touch()
    assert container_build.needs_container("auto", options(**given))
    assert not container_build.needs_container("host", options(**given))


def test_an_image_for_32_bits_builds_for_them_on_a_kernel_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDITWHEEL_ARCH", NARROW)
    assert options().arch == NARROW
    assert not container_build.needs_container("auto", options(archs=NARROW))
    assert not container_build.needs_container("host", options(archs=NARROW))


def test_emulation_is_asked_of_the_kernel(tmp_path: Path) -> None:
    architectures.require("riscv64", "x86_64", tmp_path)  # binfmt_misc cannot be seen: the engine is left to try
    architectures.require("i686", "x86_64", tmp_path)
    (tmp_path / "status").touch()
    with pytest.raises(EngineError) as caught:
        architectures.require("aarch64", "x86_64", tmp_path)
    assert "x86_64" in caught.value.message
    assert "`runs-on: ubuntu-24.04-arm`" in caught.value.remedy
    (tmp_path / "qemu-aarch64").touch()
    architectures.require("aarch64", "x86_64", tmp_path)
    (tmp_path / "qemu-arm").touch()
    architectures.require("armv7l", "x86_64", tmp_path)


def test_the_hosts_name_of_a_folder_is_that_of_the_innermost_mount() -> None:
    mounts = {PurePosixPath("/github/workspace"): PurePosixPath("/home/runner/work/a/a"),
              PurePosixPath("/github"): PurePosixPath("/home/runner/work/_temp")}  # fmt: skip
    paths = HostPaths(mounts=mounts, in_container=True)

    assert paths.translate(Path("/github/workspace/dist")) == "/home/runner/work/a/a/dist"
    assert paths.translate(Path("/github/home")) == "/home/runner/work/_temp/home"
    with pytest.raises(EngineError, match="cannot see `/tmp/x`"):
        paths.translate(Path("/tmp/x"))
    assert HostPaths(mounts={}).translate(Path("/tmp/x")) == "/tmp/x"


@pytest.mark.parametrize(
    "place", ["/var/lib/docker/containers/{0}/hostname", "/overlay-containers/{0}/userdata/hostname"]
)
def test_the_own_container_stands_in_the_mounts(tmp_path: Path, place: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"610 591 8:1 {place.format('ab' * 32)} /etc/hostname rw - ext4 /dev/sda1 rw\n")
    assert own_container_id(mounts) == "ab" * 32
    mounts.write_text("610 591 8:1 / / rw - ext4 /dev/sda1 rw\n")
    assert own_container_id(mounts) is None
    assert own_container_id(tmp_path / "absent") is None
