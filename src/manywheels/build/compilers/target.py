"""What compilers call the machines that they compile for: zig, Rust, and tools that are named for a target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from manywheels.data import table
from manywheels.errors import ToolchainError
from manywheels.plan.policies import Policy


@dataclass(frozen=True, kw_only=True)
class CompileTarget:
    """An architecture, as in platform tags, and the policy whose libc is linked with; `of` makes one."""

    arch: str
    policy: Policy

    @classmethod
    def of(cls, arch: str, policy: Policy) -> CompileTarget:
        """Raises ToolchainError for what the embedded compilers cannot link for, or auditwheel has no policy for."""
        machine = table("machines").get(arch, {})
        known = [name for name, row in table("machines").items() if "zig" in row]
        if "zig" not in machine:
            raise ToolchainError(
                f"The zig toolchain does not link for {arch}.",
                remedy=f"It knows {', '.join(known)}. For others, use --engine container.",
            )
        oldest = tuple(machine.get("oldest-glibc", (2, 17)))
        if policy.libc == "glibc" and policy.version < oldest:
            raise ToolchainError(
                f"There is no {policy.platform_tag(arch)}: {arch} has no policy below glibc {oldest[0]}.{oldest[1]}.",
                remedy=f"Use a newer platform for {arch}, such as manylinux_2_34.",
            )
        return cls(arch=arch, policy=policy)

    @cached_property
    def _machine(self) -> dict[str, Any]:
        row: dict[str, Any] = table("machines")[self.arch]
        return row

    @property
    def libc(self) -> str:
        """For example `gnu`, `gnueabihf` or `musl`."""
        return ("musl" if self.policy.libc == "musl" else "gnu") + str(self._machine.get("abi", ""))

    @property
    def zig(self) -> str:
        """Zig's name, with the version of glibc: `arm-linux-gnueabihf.2.28`, `aarch64-linux-musl`."""
        plain = f"{self._machine['zig']}-linux-{self.libc}"
        if self.policy.libc == "musl":
            return plain
        major, minor = max(self.policy.version, tuple(self._machine.get("zig-glibc", (2, 0))))
        return f"{plain}.{major}.{minor}"

    @property
    def flags(self) -> tuple[str, ...]:
        """What every compilation and link for the target gets."""
        glibc = self._machine.get("glibc-flags", ()) if self.policy.libc == "glibc" else ()
        return (*self._machine.get("flags", ()), *glibc)

    @property
    def frames(self) -> str:
        """The version of `__register_frame` in libgcc_s; empty on 32-bit ARM, which has no such function."""
        return str(self._machine.get("frames", "GCC_3.0"))

    @property
    def libgcc(self) -> dict[str, tuple[str, ...]]:
        """Symbols by their version that the compiler needs of glibc's libgcc_s, beside the unwinder's."""
        row = self._machine.get("libgcc", {}) if self.policy.libc == "glibc" else {}
        return {version: tuple(symbols) for version, symbols in row.items()}

    @property
    def links_cxx(self) -> bool:
        """Whether C++ can be linked: its exceptions must work."""
        return bool(self._machine.get("cxx", True))

    @property
    def recipe(self) -> tuple[str, ...]:
        """What libraries that are built for the target depend on, beside its name."""
        return (*self.flags, *(symbol for symbols in self.libgcc.values() for symbol in symbols))

    @property
    def multiarch(self) -> str:
        """The name of Debian's library folders and in Python's EXT_SUFFIX: `i386-linux-gnu`, `aarch64-linux-musl`."""
        return f"{self._machine['multiarch']}-linux-{self.libc}"

    @property
    def machine(self) -> str:
        """What `cc -dumpmachine` says, and what `configure --host` takes: `armv7l-unknown-linux-gnueabihf`."""
        return f"{self.arch if self.arch != 'ppc64le' else 'powerpc64le'}-unknown-linux-{self.libc}"

    @property
    def rust(self) -> str:
        """Rust's name: `armv7-unknown-linux-gnueabihf`."""
        return f"{self._machine['rust']}-unknown-linux-{self.libc}"

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the processor, the first parts of others' names for the target."""
        row = self._machine
        return tuple(dict.fromkeys((self.arch, row["zig"], row["multiarch"], row["rust"], *row["triplets"])))

    @property
    def tool_prefixes(self) -> tuple[str, ...]:
        """What the names of tools begin with: `aarch64-linux-gnu` of `aarch64-linux-gnu-gcc`."""
        return tuple(dict.fromkeys((self.multiarch, f"{self.machine.partition('-')[0]}-linux-{self.libc}")))

    @property
    def bits(self) -> int:
        """The size of a pointer."""
        return int(self._machine["bits"])

    @property
    def musl_library(self) -> str:
        """The name of musl's library where it is the system's libc, as auditwheel's policies have it."""
        return f"libc.musl-{self._machine['musl-libc'][1]}.so.1"

    @property
    def musl_macros(self) -> tuple[str, ...]:
        """The macros for zig's list of musl's symbols, `musl/libc.S`."""
        name = self._machine["musl-libc"][0]
        family = {"x86_64": ("FAMILY_x86",), "i386": ("FAMILY_x86",), "riscv64": ("FAMILY_riscv",)}.get(name, ())
        return (f"ARCH_{name}", *family, {64: "PTR64", 32: "TIME32"}[self.bits])
