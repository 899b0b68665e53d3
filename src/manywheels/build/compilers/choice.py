"""Which compilers a build uses: those of the machine, or the embedded ones.

`zig` is clang with the headers and symbols of every glibc and of musl, for every architecture (package `ziglang`).
`system` is the compiler on PATH; in a manylinux image, it links for the image's policy.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.build.compilers.target import CompileTarget
from manywheels.errors import InputError, ToolchainError
from manywheels.plan import architectures
from manywheels.plan.policies import Policy, policy_named

KINDS: Final = ("auto", "zig", "system")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What decides which toolchain can be used; None means absent. `glibc` is (major, minor).

    `image_policy` is that of the manylinux or musllinux image around this program.
    """

    arch: str
    glibc: tuple[int, int] | None
    image_policy: str | None
    zig: Path | None
    compiler: Path | None

    @classmethod
    def here(cls) -> Machine:
        """Describe this machine, without starting a process."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        return cls(
            arch=platform.machine(),
            glibc=architectures.glibc(),
            image_policy=_image_policy(),
            zig=_embedded_zig(),
            compiler=Path(compiler) if compiler else None,
        )

    @property
    def libc(self) -> str:
        """The C library of this machine's Pythons."""
        return "musl" if self.glibc is None else "glibc"

    def is_foreign(self, policy: Policy, arch: str) -> bool:
        """Whether this machine's Pythons could not load what is built for the policy and architecture."""
        return arch != self.arch or policy.libc != self.libc


def resolve(kind: str, policy: Policy, machine: Machine | None = None, *, arch: str | None = None) -> str:
    """Return `zig` or `system`: `auto` means `system` in a manylinux image and on musl, else `zig`.

    `arch` is this machine's if it is not given; for a foreign target, `auto` means `zig`. Raises InputError for an
    unknown kind, and ToolchainError if the toolchain is missing or cannot link for the policy and architecture.
    """
    machine = machine or Machine.here()
    arch = arch or machine.arch
    if kind not in KINDS:
        raise InputError(f"toolchain: {kind!r} is not known.", remedy=f"Use one of {', '.join(KINDS)}.")
    is_foreign = machine.is_foreign(policy, arch)
    if kind == "auto":
        is_systems = machine.image_policy or machine.libc == "musl"
        kind = "system" if is_systems and not is_foreign else "zig"
    if is_foreign and kind == "zig" and machine.zig is None:
        raise ToolchainError(
            f"{policy.platform_tag(arch)} is for another machine than this ({machine.arch}, {machine.libc}): building "
            "for it needs the zig toolchain, which is not installed.",
            remedy="Install it with: pip install 'manywheels[host]'. Or use --engine container.",
        )
    if kind == "zig":
        require_zig(machine)
        CompileTarget.of(arch, policy)
    elif is_foreign:
        raise ToolchainError(
            f"The system's compiler links for {machine.arch} and {machine.libc}, not for {policy.platform_tag(arch)}.",
            remedy="Use --toolchain zig, which links for all (pip install 'manywheels[host]'), or --engine container.",
        )
    else:
        require_system(policy, machine)
    return kind


def require_zig(machine: Machine) -> Path:
    """Raises ToolchainError."""
    if machine.zig is None:
        raise ToolchainError(
            "The zig toolchain is not installed.",
            remedy="Install it with: pip install 'manywheels[host]'. Or use --engine container or --toolchain system.",
        )
    return machine.zig


def require_system(policy: Policy, machine: Machine) -> None:
    """Raises ToolchainError if the machine's compiler is missing, or links for a newer glibc than the policy's."""
    if machine.compiler is None:
        raise ToolchainError(
            "There is no C compiler on PATH (cc or gcc).",
            remedy="Install one, or use --toolchain zig with: pip install 'manywheels[host]'.",
        )
    own = policy_version(machine.image_policy) if machine.image_policy else None
    if own and policy.libc == "glibc" and own > policy.version:
        raise ToolchainError(
            f"This image's compiler links for {machine.image_policy}, which is newer than {policy.name}.",
            remedy=f"Use --engine container, or run in {policy.image_name(machine.arch)}.",
        )


def policy_version(name: str) -> tuple[int, int] | None:
    """Return a policy's glibc version, also for a policy outside the table; None for musl."""
    try:
        policy = policy_named(name)
    except InputError:
        found = re.fullmatch(r"manylinux_(\d+)_(\d+)", name)
        return (int(found[1]), int(found[2])) if found else None
    return policy.version if policy.libc == "glibc" else None


def _image_policy() -> str | None:
    if not Path("/opt/python").is_dir():
        return None
    named = os.environ.get("AUDITWHEEL_POLICY")
    plat = os.environ.get("AUDITWHEEL_PLAT", "")
    return named or plat.removesuffix(f"_{platform.machine()}") or None


def _embedded_zig() -> Path | None:
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / "zig").is_file():
            return Path(folder) / "zig"
    return None
