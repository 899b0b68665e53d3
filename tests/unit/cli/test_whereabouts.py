"""Where builds are done, which machine runs what, and what the engine calls our folders."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from manywheels.cli import container_build
from manywheels.errors import EngineError
from manywheels.plan import architectures
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.options import Options, resolve
from manywheels.runtime.containers import engine
from manywheels.runtime.containers.host_paths import HostPaths, own_container_id
from unit.helpers import project

MACHINE = os.uname().machine
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
    ("engine", "given", "with_engine", "without"),
    [
        ("auto", {}, False, False),
        ("container", {}, True, True),
        ("host", {}, False, False),
        ("auto", {"image": "example.org/image:1"}, True, True),
        ("host", {"image": "example.org/image:1"}, False, False),  # so it is said inside of that very image
        ("auto", {"archs": OTHER}, True, False),  # without an engine, it is cross-built here
        ("auto", {"archs": f"{MACHINE} {OTHER}"}, True, False),
        ("auto", {"archs": f"{MACHINE} {OTHER}", "shard": MACHINE}, False, False),  # another job builds the other
        ("auto", {"archs": f"{MACHINE} {OTHER}", "shard": f"{OTHER}:1/2"}, True, False),
        ("auto", {"archs": NARROW}, True, False),  # which this machine runs, but has no compiler for
        ("host", {"archs": OTHER}, False, False),
        ("auto", {"platform": "manylinux2014"}, False, False),
        ("auto", {"platform": "manylinux2014 musllinux_1_2"}, True, False),
        ("auto", {"platform": "manylinux2014 musllinux_1_2", "build": "*-manylinux_*"}, False, False),
    ],
)
def test_a_container_is_started_for_what_is_not_done_here(
    tmp_path: Path, engine: str, given: dict[str, str], *, with_engine: bool, without: bool
) -> None:
    assert container_build.needs_container(engine, options(**given)) is without
    (tmp_path / "docker.sock").touch()
    assert container_build.needs_container(engine, options(**given)) is with_engine


@pytest.mark.parametrize(("skip", "expected"), [("", True), ("*-musllinux_*", False)])
def test_an_image_counts_if_a_target_is_built_in_it(skip: str, *, expected: bool) -> None:
    table = {f"musllinux-{MACHINE}-image": "example.org/m:1", "skip": skip}
    made = resolve({}, replace(project(), cibuildwheel=table), environment={})
    assert container_build.needs_container("auto", made) is expected


def test_in_the_image_of_one_policy_others_get_theirs_where_an_engine_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(container_build, "in_manylinux_image", lambda: True)
    monkeypatch.setenv("AUDITWHEEL_POLICY", "manylinux_2_28")
    assert not container_build.needs_container("auto", options(platform="manylinux2014"))
    (tmp_path / "docker.sock").touch()
    assert container_build.needs_container("auto", options(platform="manylinux2014"))
    assert not container_build.needs_container("auto", options(platform="manylinux_2_28"))


def test_an_image_for_32_bits_builds_for_them_on_a_kernel_of_64(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "docker.sock").touch()
    monkeypatch.setenv("AUDITWHEEL_ARCH", NARROW)
    assert [platform.arch for platform in options().platforms] == [NARROW]
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
    entry = (
        "enabled\ninterpreter /usr/bin/any-name\nflags: OCF\noffset 0\n"
        "magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
    )
    (tmp_path / "any-name").write_text(entry)  # whatever it is registered as, what it takes counts
    architectures.require("aarch64", "x86_64", tmp_path)
    assert architectures.emulator("aarch64", tmp_path) == "/usr/bin/any-name"
    assert not architectures.emulator("armv7l", tmp_path)
    assert not architectures.emulator("riscv64", tmp_path)
    (tmp_path / "any-name").write_text(entry.replace("enabled", "disabled"))
    (tmp_path / "jar").write_text("enabled\ninterpreter /usr/bin/java\nflags: \nextension .jar\n")
    (tmp_path / "odd").write_bytes(b"\xff\n\nmagic zz\noffset one\n")
    with pytest.raises(EngineError):
        architectures.require("aarch64", "x86_64", tmp_path)
    (tmp_path / "arm").write_text(
        "enabled\ninterpreter /usr/bin/qemu-arm-static\nflags: OCF\noffset 0\n"
        "magic 7f454c4601010100000000000000000002002800\n"
    )
    architectures.require("armv7l", "x86_64", tmp_path)


def test_emulation_is_said_with_what_it_costs_and_the_way_without_it() -> None:
    assert not architectures.emulation_note("i686", "x86_64")
    note = architectures.emulation_note("aarch64", "x86_64")
    assert note.startswith("aarch64 is emulated by QEMU on this x86_64 machine: expect it to be 5 to 20 times slower")
    assert "`--engine host` cross-compiles" in note


@pytest.mark.parametrize(
    ("engines", "ours", "platform"),
    [("amd64", "x86_64", "linux/amd64"), ("arm64", "aarch64", "linux/arm64"), ("386", "i686", "linux/386"),
     ("arm", "armv7l", "linux/arm/v7"), ("s390x", "s390x", "linux/s390x"), ("x86_64", "x86_64", "linux/amd64"),
     ("mips64le", "mips64le", "linux/mips64le")],
)  # fmt: skip
def test_an_engines_names_of_architectures(engines: str, ours: str, platform: str) -> None:
    assert architectures.arch_of(engines) == ours
    assert architectures.image_platform(ours) == platform


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
