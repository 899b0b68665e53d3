"""`doctor`: what this machine has for building wheels, with a remedy for what is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from manywheels.build.compilers import choice
from manywheels.core.files import cache_dir
from manywheels.errors import EXIT_OK, EXIT_TARGET_FAILED, ManywheelsError
from manywheels.plan import architectures
from manywheels.plan.interpreters import discover
from manywheels.plan.option_types import ARCHS
from manywheels.plan.policies import Policy, policies
from manywheels.plan.targets import known_targets
from manywheels.runtime.isolation import reason_against


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One check's result: `remedy` is empty if nothing is missing; builds need what is `vital`."""

    topic: str
    found: str
    remedy: str = ""
    vital: bool = False


def execute() -> int:
    """Return 0 if this machine can build, otherwise 1."""
    observations = [*_interpreters(), *_compilers(), *_tools(), *_containers(), _isolation(), _cache()]
    width = max(len(observation.topic) for observation in observations)
    for observation in observations:
        mark = "✗" if observation.vital and observation.remedy else ("!" if observation.remedy else "✓")
        print(f"{mark} {observation.topic.ljust(width)}  {observation.found}")
        if observation.remedy:
            print(f"  {' ' * width}  → {observation.remedy}")
    return EXIT_TARGET_FAILED if any(one.vital and one.remedy for one in observations) else EXIT_OK


def _interpreters() -> Iterator[Observation]:
    discovery = discover()
    found = {interpreter.tag: interpreter for interpreter in discovery.interpreters}
    default = {"cp39", "cp310", "cp311", "cp312", "cp313", "cp314"}
    for target in known_targets("manylinux", "x86_64"):
        interpreter = found.get(target.tag)
        if interpreter:
            place = f"{interpreter.path} ({interpreter.source})"
            yield Observation(topic=target.tag, found=f"{interpreter.version} {place}")
        elif target.tag in default:
            remedy = f"uv python install {target.spec}   (`build` asks uv for it by itself)"
            yield Observation(topic=target.tag, found="not found", remedy=remedy)
    for unusable in discovery.unusable:
        yield Observation(topic="unusable", found=str(unusable.path), remedy=unusable.reason)
    if not found:
        yield Observation(topic="Python", found="none that can build", remedy="uv python install 3.12", vital=True)


def _compilers() -> Iterator[Observation]:
    can_build, machine = False, choice.Machine.here()
    for kind in ("zig", "system"):
        for policy in policies():
            try:
                choice.resolve(kind, policy, machine)
            except ManywheelsError as error:
                yield Observation(topic=f"{kind} {policy.name}", found=error.message, remedy=error.remedy)
            else:
                can_build = True
                yield _links(kind, policy, machine)
    if not can_build:
        yield Observation(topic="compilers", found="none", remedy="pip install 'manywheels[host]'", vital=True)


def _links(kind: str, policy: Policy, machine: choice.Machine) -> Observation:
    """The system's toolchain uses the machine's glibc, whatever the policy."""
    topic, glibc = f"{kind} {policy.name}", machine.glibc
    if kind == "system" and not machine.image_policy and policy.libc == "glibc" and glibc and glibc > policy.version:
        found = f"links for this machine's glibc {glibc[0]}.{glibc[1]}: wheels may need more than the policy has"
        return Observation(
            topic=topic, found=found, remedy="use --toolchain zig (the default here) or --engine container"
        )
    if kind == "system" and policy.libc == "glibc" and machine.image_policy not in {"", None, policy.name}:
        return Observation(topic=topic, found=f"links for {machine.image_policy}, which {policy.name} includes")
    return Observation(topic=topic, found=f"links for {policy}")


def _tools() -> Iterator[Observation]:
    optional = {
        "git": "needed by setuptools-scm and the like: install git",
        "cmake": "projects that need it bring it along as a build requirement, or install cmake",
        "ninja": "projects that need it bring it along as a build requirement, or install ninja",
        "make": "needed by CMake projects without ninja: install make",
        "cargo": "needed by Rust projects: install rustup",
    }
    for name, remedy in optional.items():
        path = shutil.which(name)
        if path is None:
            yield Observation(topic=name, found="not found", remedy=remedy)
        else:
            yield Observation(topic=name, found=_first_line(path))


def _first_line(program: str) -> str:
    try:
        completed = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return program
    return f"{(completed.stdout or completed.stderr).partition(chr(10))[0]} ({program})"


def _containers() -> Iterator[Observation]:
    """The engine, the architectures that it runs, and which policies' images are here."""
    from manywheels.runtime.containers.engine import connected, describe_engine
    from manywheels.runtime.containers.image import engine_machine, has_image

    try:
        yield Observation(topic="container engine", found=describe_engine())
        with connected("list its images") as client:
            kernel = engine_machine(client)
            emulated = [arch for arch in ARCHS if not architectures.is_native(arch, kernel)]
            present = {
                arch: [policy.name for policy in policies() if has_image(client, policy.image_name(arch))]
                for arch in ARCHS
            }
    except ManywheelsError as error:
        yield Observation(topic="container engine", found=error.message, remedy=error.remedy)
        return
    yield from _emulation(kernel, emulated)
    for arch, names in present.items():
        if names:
            yield Observation(topic=f"images {arch}", found=f"{', '.join(names)}; others are pulled once")
    if not any(present.values()):
        yield Observation(topic="images", found="none of the policies' own: they are pulled once")


def _emulation(kernel: str, emulated: Iterable[str]) -> Iterator[Observation]:
    found = {arch: program for arch in emulated if (program := architectures.emulator(arch))}
    for arch, program in found.items():
        yield Observation(topic=f"emulation {arch}", found=f"by {program}, 5 to 20 times slower")
    if not found:
        remedy = "for containers of other architectures: docker run --privileged --rm tonistiigi/binfmt --install all"
        yield Observation(topic="emulation", found=f"none: the engine runs {kernel} alone", remedy=remedy)


def _isolation() -> Observation:
    if against := reason_against():
        remedy = "project code runs with your rights; for code that you do not trust, use --engine container"
        return Observation(topic="isolation", found=f"none: {against}", remedy=remedy)
    return Observation(
        topic="isolation",
        found="each build runs as another user, without this user's rights (with --toolchain system)",
    )


def _cache() -> Observation:
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    remedy = "" if free > 2 * 10**9 else "less than 2 GB: builds need room, set MANYWHEELS_CACHE to another disk"
    return Observation(topic="cache", found=f"{folder}, {free / 10**9:.0f} GB free", remedy=remedy)
