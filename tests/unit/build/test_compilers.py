"""Which toolchain is chosen, the errors without one, and the content of the wrappers."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.build.compilers import system, wrappers, zig
from manywheels.build.compilers.choice import Machine, resolve
from manywheels.build.compilers.target import CompileTarget
from manywheels.build.compilers.toolchain import prepare
from manywheels.build.compilers.wrappers import shares_jobserver
from manywheels.cli import doctor
from manywheels.core.files import cache_dir
from manywheels.errors import InputError, ToolchainError
from manywheels.plan.policies import policies, policy_named

LAPTOP = Machine(
    arch="x86_64", glibc=(2, 36), image_policy=None, zig=Path("/venv/ziglang/zig"), compiler=Path("/usr/bin/cc")
)
NEWER = replace(LAPTOP, image_policy="manylinux_2_39")
IMAGE = replace(LAPTOP, image_policy="manylinux_2_28", zig=None)


def start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no compiler and no build tool say its version."""
    for module in (wrappers, zig, system):
        monkeypatch.setattr(module, "first_line", lambda program, *arguments: "")


@pytest.mark.parametrize(
    ("name", "version", "tag"),
    [
        ("manylinux2014", (2, 17), "manylinux2014_x86_64"),
        ("manylinux_2_17", (2, 17), "manylinux2014_x86_64"),
        ("manylinux_2_28", (2, 28), "manylinux_2_28_x86_64"),
        ("manylinux_2_34", (2, 34), "manylinux_2_34_x86_64"),
        ("musllinux_1_2", (1, 2), "musllinux_1_2_x86_64"),
    ],
)
def test_policies_by_name(name: str, version: tuple[int, int], tag: str) -> None:
    policy = policy_named(name)
    assert (policy.version, policy.platform_tag("x86_64")) == (version, tag)


def test_image_names_carry_the_architecture_and_a_dated_tag() -> None:
    for policy in policies():
        name, tag = policy.image_name("aarch64").split(":")
        assert name.endswith(f"{policy.name}_aarch64")
        assert tag.startswith("20")


def test_an_unknown_policy_names_the_nearest_and_all() -> None:
    with pytest.raises(InputError) as caught:
        policy_named("manylinux_2_82")
    assert "Did you mean manylinux_2_28?" in caught.value.remedy
    assert "musllinux_1_2" in caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "policy", "machine", "expected"),
    [
        ("auto", "manylinux_2_28", LAPTOP, "zig"),
        ("auto", "manylinux_2_28", IMAGE, "system"),
        ("auto", "manylinux_2_34", IMAGE, "system"),
        ("system", "manylinux_2_28", LAPTOP, "system"),
        ("zig", "manylinux2014", replace(IMAGE, zig=LAPTOP.zig), "zig"),
        ("auto", "musllinux_1_2", replace(LAPTOP, glibc=None), "system"),
        ("auto", "musllinux_1_2", LAPTOP, "zig"),
        ("zig", "manylinux_2_28", replace(LAPTOP, glibc=None), "zig"),
        ("zig", "musllinux_1_2", replace(LAPTOP, glibc=None), "zig"),
        ("auto", "musllinux_1_2", replace(IMAGE, zig=LAPTOP.zig), "zig"),
    ],
)
def test_resolve(kind: str, policy: str, machine: Machine, expected: str) -> None:
    assert resolve(kind, policy_named(policy), machine) == expected


@pytest.mark.parametrize(
    ("kind", "policy", "machine", "message", "remedy"),
    [
        ("zig", "manylinux_2_28", replace(LAPTOP, zig=None), "not installed", "manywheels[host]"),
        ("auto", "manylinux_2_28", replace(LAPTOP, zig=None), "not installed", "--engine container"),
        ("system", "manylinux_2_28", replace(LAPTOP, compiler=None), "no C compiler", "--toolchain zig"),
        ("system", "musllinux_1_2", LAPTOP, "x86_64 and glibc, not for musllinux_1_2_x86_64", "--toolchain zig"),
        ("system", "manylinux_2_28", replace(LAPTOP, glibc=None), "not for manylinux_2_28_x86_64", "--toolchain zig"),
        ("auto", "musllinux_1_2", replace(LAPTOP, zig=None), "not installed", "--engine container"),
        ("auto", "musllinux_1_2", IMAGE, "not installed", "--engine container"),
        ("auto", "manylinux2014", IMAGE, "newer than manylinux2014", "manylinux2014_x86_64:"),
        ("auto", "manylinux_2_34", NEWER, "manylinux_2_39", "manylinux_2_34_x86_64:"),
    ],
)  # fmt: skip
def test_refusals_have_a_remedy(kind: str, policy: str, machine: Machine, message: str, remedy: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        resolve(kind, policy_named(policy), machine)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("machine", [LAPTOP, replace(IMAGE, zig=LAPTOP.zig), replace(LAPTOP, arch="aarch64")])
def test_another_architecture_is_for_zig(machine: Machine) -> None:
    arch = "s390x"
    assert resolve("auto", policy_named("manylinux_2_28"), machine, arch=arch) == "zig"
    with pytest.raises(ToolchainError, match="not for manylinux_2_28_s390x"):
        resolve("system", policy_named("manylinux_2_28"), machine, arch=arch)


@pytest.mark.parametrize(
    ("arch", "policy", "message", "remedy"),
    [
        ("armv6l", "manylinux_2_28", "does not link for armv6l", "armv7l"),
        ("m68k", "musllinux_1_2", "does not link for m68k", "s390x"),
        ("riscv64", "manylinux_2_28", "no manylinux_2_28_riscv64", "manylinux_2_34"),
    ],
)
def test_what_zig_cannot_link_for_is_refused(arch: str, policy: str, message: str, remedy: str) -> None:
    with pytest.raises(ToolchainError) as caught:
        resolve("auto", policy_named(policy), LAPTOP, arch=arch)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("arch", "policy", "zig", "multiarch", "machine", "rust"),
    [
        ("x86_64", "manylinux2014", "x86_64-linux-gnu.2.17", "x86_64-linux-gnu", "x86_64-unknown-linux-gnu",
         "x86_64-unknown-linux-gnu"),
        ("i686", "manylinux_2_28", "x86-linux-gnu.2.28", "i386-linux-gnu", "i686-unknown-linux-gnu",
         "i686-unknown-linux-gnu"),
        ("armv7l", "manylinux_2_28", "arm-linux-gnueabihf.2.28", "arm-linux-gnueabihf",
         "armv7l-unknown-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"),
        ("armv7l", "musllinux_1_2", "arm-linux-musleabihf", "arm-linux-musleabihf",
         "armv7l-unknown-linux-musleabihf", "armv7-unknown-linux-musleabihf"),
        ("ppc64le", "manylinux2014", "powerpc64le-linux-gnu.2.19", "powerpc64le-linux-gnu",
         "powerpc64le-unknown-linux-gnu", "powerpc64le-unknown-linux-gnu"),
        ("ppc64le", "manylinux_2_28", "powerpc64le-linux-gnu.2.28", "powerpc64le-linux-gnu",
         "powerpc64le-unknown-linux-gnu", "powerpc64le-unknown-linux-gnu"),
        ("riscv64", "musllinux_1_2", "riscv64-linux-musl", "riscv64-linux-musl", "riscv64-unknown-linux-musl",
         "riscv64gc-unknown-linux-musl"),
    ],
)  # fmt: skip
def test_what_others_call_a_target(  # noqa: PLR0917
    arch: str, policy: str, zig: str, multiarch: str, machine: str, rust: str
) -> None:
    target = CompileTarget.of(arch, policy_named(policy))
    assert (target.zig, target.multiarch, target.machine, target.rust) == (zig, multiarch, machine, rust)
    assert multiarch in target.tool_prefixes


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="gcc"):
        resolve("gcc", policy_named("manylinux_2_28"), LAPTOP)


@pytest.mark.parametrize(
    ("tool", "line", "expected"),
    [
        ("make", "GNU Make 4.2.1", False),
        ("make", "GNU Make 4.3", False),
        ("make", "GNU Make 4.4", True),
        ("gmake", "GNU Make 4.4.1", True),
        ("ninja", "1.11.1", False),
        ("ninja", "1.13.0.git", True),
        ("ninja", "", False),
        ("samu", "1.9.0", False),
    ],
)
def test_tools_that_support_the_jobserver(tool: str, line: str, expected: bool) -> None:  # noqa: FBT001
    assert shares_jobserver(tool, line) is expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"MANYWHEELS_CACHE": "/big/cache", "XDG_CACHE_HOME": "/xdg"}, "/big/cache"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/manywheels"),
        ({"XDG_CACHE_HOME": "relative"}, "/home/me/.cache/manywheels"),
        ({}, "/home/me/.cache/manywheels"),
    ],
)
def test_cache_folder(variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MANYWHEELS_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_dir() == Path(expected)


def test_every_wrapper_is_filled_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: LAPTOP))
    start_nothing(monkeypatch)
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    made = prepare(
        "zig", policy_named("manylinux2014"), tmp_path / "it's", prefix_map={"/tmp/a b": "src", "/tmp": "tmp"}
    )
    for wrapper in made.bin_dir.iterdir():
        text = wrapper.read_text()
        assert text.startswith("#!/bin/sh\n")
        assert not [word for word in text.split() if word.startswith("@") and word.endswith("@") and word.isupper()]
    text = (made.bin_dir / "cc").read_text()
    assert "x86_64-linux-gnu.2.17" in text
    maps = "-ffile-prefix-map=/tmp=tmp '-ffile-prefix-map=/tmp/a b=src'"  # the longer one last, as gcc wants it
    assert maps in text
    assert shlex.quote(str(made.bin_dir)) in text
    assert made.environment["LDSHARED"] == f"{made.bin_dir}/cc -shared"
    assert "CARGO_BUILD_RUSTFLAGS" not in made.environment  # cargo could not tell the blank in a path from its own


def test_a_foreign_toolchain_has_nothing_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: LAPTOP))
    start_nothing(monkeypatch)
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    made = prepare("zig", policy_named("manylinux_2_28"), tmp_path, arch="aarch64", prefix_map={})
    names = {wrapper.name for wrapper in made.bin_dir.iterdir()}
    tools = {f"aarch64-linux-gnu-{tool}" for tool in ("gcc", "g++", "cc", "c++", "ar", "ranlib", "strip", "ld")}
    assert {"cc", "c++", "gcc", "g++", "ar", "ranlib", "strip", "build-cc", "build-c++", *tools} <= names
    text = (made.bin_dir / "aarch64-linux-gnu-gcc").read_text()
    assert "aarch64-linux-gnu.2.28" in text
    assert "-idirafter /usr" not in text
    assert 'set -- "$@"  -s\n' in text
    assert "x86_64-linux-gnu.2.17" in (made.bin_dir / "build-cc").read_text()
    environment = made.environment
    assert environment["CARGO_BUILD_TARGET"] == "aarch64-unknown-linux-gnu"
    assert environment["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] == environment["CC"]
    assert environment["CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER"] == environment["CC_FOR_BUILD"]
    assert not Path(environment["PKG_CONFIG_LIBDIR"]).exists()


@pytest.mark.parametrize(
    ("machine", "kind", "value", "expected"),
    [
        (IMAGE, "system", "/opt/rh/gcc-toolset-14/root/usr/lib64", "/opt/rh/gcc-toolset-14/root/usr/lib64"),
        (IMAGE, "system", "", None),  # as in musllinux images
        (replace(IMAGE, zig=LAPTOP.zig), "zig", "/opt/rh/gcc-toolset-14/root/usr/lib64", None),
        (LAPTOP, "system", "/home/me/lib", None),
    ],
)
def test_the_compilers_of_an_image_find_their_libraries(  # noqa: PLR0917
    machine: Machine, kind: str, value: str, expected: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls: machine))
    start_nothing(monkeypatch)
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LD_LIBRARY_PATH", value)
    made = prepare(kind, policy_named("manylinux_2_28"), tmp_path, prefix_map={})
    assert made.environment.get("LD_LIBRARY_PATH") == expected


@pytest.mark.parametrize(
    ("kind", "machine", "found", "is_cured"),
    [
        ("zig", LAPTOP, "links for glibc 2.28", False),
        ("system", LAPTOP, "links for this machine's glibc", True),
        ("system", replace(LAPTOP, image_policy="manylinux_2_28"), "links for glibc 2.28", False),
        ("system", replace(LAPTOP, glibc=(2, 17)), "links for glibc 2.28", False),
    ],
)
def test_doctor_says_what_a_compiler_links_for(kind: str, machine: Machine, found: str, *, is_cured: bool) -> None:
    """The system's compiler links for the machine's glibc, whatever the policy."""
    seen = doctor._links(kind, policy_named("manylinux_2_28"), machine)
    assert seen.found.startswith(found)
    assert bool(seen.remedy) is is_cured
