"""`manywheels doctor`: what this machine has for building wheels, each with the cure for what is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from manywheels.build import toolchain
from manywheels.core.files import cache_dir
from manywheels.errors import EXIT_OK, EXIT_TARGET_FAILED, ManywheelsError
from manywheels.plan.interpreters import discover
from manywheels.plan.policies import Policy, policies
from manywheels.plan.targets import known_targets
from manywheels.runtime.isolation import reason_against


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One thing that was looked at: what it is, what was found, and the cure where it is missing."""

    topic: str
    found: str
    cure: str = ""
    vital: bool = False


def examine() -> int:
    """Print what this machine has; return 0 if it can build, 1 if something vital is missing."""
    observations = [*_interpreters(), *_compilers(), *_tools(), _engine(), _isolation(), _cache()]
    width = max(len(observation.topic) for observation in observations)
    for observation in observations:
        mark = "✗" if observation.vital and observation.cure else ("!" if observation.cure else "✓")
        print(f"{mark} {observation.topic.ljust(width)}  {observation.found}")
        if observation.cure:
            print(f"  {' ' * width}  → {observation.cure}")
    return EXIT_TARGET_FAILED if any(seen.vital and seen.cure for seen in observations) else EXIT_OK


def _interpreters() -> Iterator[Observation]:
    discovery = discover()
    found = {interpreter.abi: interpreter for interpreter in discovery.interpreters}
    default = {"cp39", "cp310", "cp311", "cp312", "cp313", "cp314"}
    for target in known_targets("manylinux", "x86_64"):
        interpreter = found.get(target.abi)
        if interpreter:
            place = f"{interpreter.path} ({interpreter.source})"
            yield Observation(topic=target.tag, found=f"{interpreter.version} {place}")
        elif target.tag in default:
            cure = f"uv python install {target.spec}   (`build` asks uv for it by itself)"
            yield Observation(topic=target.tag, found="not found", cure=cure)
    for unusable in discovery.unusable:
        yield Observation(topic="unusable", found=str(unusable.path), cure=unusable.reason)
    if not found:
        yield Observation(topic="Python", found="none that can build", cure="uv python install 3.12", vital=True)


def _compilers() -> Iterator[Observation]:
    able, machine = False, toolchain.Machine.here()
    for kind in ("zig", "system"):
        for policy in policies():
            try:
                toolchain.resolve(kind, policy, machine)
            except ManywheelsError as error:
                yield Observation(topic=f"{kind} {policy.name}", found=error.message, cure=error.remedy)
            else:
                able = True
                yield _links(kind, policy, machine)
    if not able:
        yield Observation(topic="compilers", found="none", cure="pip install 'manywheels[host]'", vital=True)


def _links(kind: str, policy: Policy, machine: toolchain.Machine) -> Observation:
    """Say what a toolchain links for; the system's one takes the machine's own glibc, whatever the policy is."""
    topic, glibc = f"{kind} {policy.name}", machine.glibc
    if kind == "system" and not machine.image_policy and policy.libc == "glibc" and glibc and glibc > policy.version:
        found = f"links for this machine's glibc {glibc[0]}.{glibc[1]}: wheels may need more than the policy has"
        return Observation(
            topic=topic, found=found, cure="use --toolchain zig (the default here) or --engine container"
        )
    return Observation(topic=topic, found=f"links for {policy}")


def _tools() -> Iterator[Observation]:
    optional = {
        "git": "needed by setuptools-scm and the like: install git",
        "cmake": "projects that need it bring it along as a build requirement, or install cmake",
        "ninja": "projects that need it bring it along as a build requirement, or install ninja",
        "make": "needed by CMake projects without ninja: install make",
        "cargo": "needed by Rust projects: install rustup",
    }
    for name, cure in optional.items():
        path = shutil.which(name)
        if path is None:
            yield Observation(topic=name, found="not found", cure=cure)
        else:
            yield Observation(topic=name, found=_first_line(path))


def _first_line(program: str) -> str:
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return program
    return f"{(answer.stdout or answer.stderr).partition(chr(10))[0]} ({program})"


def _engine() -> Observation:
    from manywheels.runtime.containers.engine import describe_engine

    try:
        return Observation(topic="container engine", found=describe_engine())
    except ManywheelsError as error:
        return Observation(topic="container engine", found=error.message, cure=error.remedy)


def _isolation() -> Observation:
    if against := reason_against():
        cure = "project code runs with your rights; for code that you do not trust, use --engine container"
        return Observation(topic="isolation", found=f"none: {against}", cure=cure)
    return Observation(topic="isolation", found="project code runs as users of its own (with --toolchain system)")


def _cache() -> Observation:
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    cure = "" if free > 2 * 10**9 else "less than 2 GB: builds need room, set MANYWHEELS_CACHE to another disk"
    return Observation(topic="cache", found=f"{folder}, {free / 10**9:.0f} GB free", cure=cure)
