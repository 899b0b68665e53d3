"""The machine's own compilers, behind the wrappers."""

from __future__ import annotations

import os
import shlex
import shutil
from typing import Final

from manywheels.build.compilers.choice import Machine, policy_version, require_system
from manywheels.build.compilers.compiler import Compiler
from manywheels.build.compilers.wrappers import C_NAMES, CXX_NAMES, Wrappers, first_line, path_without, version_text
from manywheels.data import table
from manywheels.plan.policies import Policy

_FOR_ZIG: Final = (
    "TARGET", "GLOBAL_CACHE", "LOCAL_CACHE", "LIBRARY_FLAGS", "INCLUDE_FLAGS", "LINK", "CXX_HEADERS", "CXX_RUNTIME",
    "CXX_LIBRARY", "CXX_UNWINDER", "CXX_FLAGS", "CXX_HEADER_FLAGS", "MAKE_CXX_RUNTIME", "MULTIARCH", "MACHINE", "NAMES",
    "LIBC", "BITS", "FOREIGN", "HERE", "TARGET_FLAGS", "LINK_STUB", "LINKS_CXX",
)  # fmt: skip


def write_system(wrappers: Wrappers, machine: Machine, policy: Policy) -> tuple[str, tuple[Compiler, ...]]:
    """Write wrappers of the compilers on PATH; return their description, and what they start.

    Raises ToolchainError without any.
    """
    if machine.compiler is None:
        require_system(policy, machine)
    path = path_without(wrappers.bin_dir)
    unused = dict.fromkeys(_FOR_ZIG, "''")
    prefix = f"{machine.arch}-linux-{'musl' if machine.libc == 'musl' else 'gnu'}"
    compilers: dict[Compiler, None] = {}

    def write(name: str, mode: str, real: str) -> None:
        wrappers.write(name, "compiler", KIND="system", MODE=mode, REAL=shlex.quote(real), **unused)
        compilers[Compiler((real,), is_cxx=mode == "c++")] = None

    for mode, names in (("cc", (*C_NAMES, f"{prefix}-gcc")), ("c++", (*CXX_NAMES, f"{prefix}-g++"))):
        for name in names:
            real = shutil.which(name, path=path)
            if real:
                write(name, mode, real)
    for wanted, other in (("cc", "gcc"), ("c++", "g++")):
        real = shutil.which(other, path=path)
        if real and not (wrappers.bin_dir / wanted).exists():
            write(wanted, wanted, real)
    own = policy_version(machine.image_policy) if machine.image_policy else None
    libc = own or machine.glibc
    target = f"glibc {libc[0]}.{libc[1]}" if libc else "musl"
    first = first_line(wrappers.bin_dir / "cc", "--version")
    return f"{'clang' if 'clang' in first else 'gcc'} {version_text(first)} for {target}", tuple(compilers)


def image_environment(machine: Machine) -> dict[str, str]:
    """Return the variables of a manylinux image that its compilers need."""
    names = table("environment")["image"] if machine.image_policy else ()
    return {name: value for name in names if (value := os.environ.get(name))}
