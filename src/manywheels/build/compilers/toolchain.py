"""Compilers that are ready for use, and the variables by which builds find them.

Shell wrappers keep this machine's paths out of the wheels, and its headers and libraries out of a foreign target's: one
with another architecture or C library than this machine's Pythons.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from manywheels.build.compilers.choice import Machine, require_zig
from manywheels.build.compilers.compiler import Compiler
from manywheels.build.compilers.system import image_environment, write_system
from manywheels.build.compilers.target import CompileTarget
from manywheels.build.compilers.wrappers import Wrappers, common_values, write_build_tools
from manywheels.build.compilers.zig import BUILD_C, BUILD_CXX, Zig
from manywheels.data import table
from manywheels.plan.policies import Policy


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Compilers ready for use: `bin_dir` comes first on PATH, `environment` has further variables.

    `library_dir` has the libraries that they link with, for the repair to graft. `compilers` are what is started.
    """

    name: str
    description: str
    bin_dir: Path
    environment: Mapping[str, str]
    compilers: tuple[Compiler, ...] = ()
    library_dir: Path | None = None

    def with_libraries(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return variables with which what was linked, and not yet repaired, finds the compilers' libraries last."""
        if self.library_dir is None:
            return dict(environment)
        folders = [environment.get("LD_LIBRARY_PATH"), str(self.library_dir)]
        return {**environment, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}


def prepare(
    kind: str,
    policy: Policy,
    folder: Path,
    *,
    arch: str | None = None,
    prefix_map: Mapping[str, str],
    plain_jobs: int | None = None,
) -> Toolchain:
    """Write the wrappers of a toolchain (from `resolve`) into `folder`/bin.

    `arch` is this machine's if it is not given. `prefix_map` maps this machine's folders to their replacements in
    compiled code. A make or ninja without jobserver support starts `plain_jobs` compilers, by default one per core.
    Raises ToolchainError if the compilers are missing.
    """
    machine = Machine.here()
    bin_dir = folder / "bin"
    bin_dir.mkdir(parents=True, exist_ok=True)
    wrappers = Wrappers(bin_dir=bin_dir, values=common_values(arch or machine.arch, bin_dir, prefix_map))
    write_build_tools(wrappers, plain_jobs or os.cpu_count() or 1)
    if kind != "zig":
        description, compilers = write_system(wrappers, machine, policy)
        environment = _environment(bin_dir, _rust_names(machine.arch), prefix_map) | image_environment(machine)
        return Toolchain(
            name=kind, description=description, bin_dir=bin_dir, environment=environment, compilers=compilers
        )  # fmt: skip
    target = CompileTarget.of(arch or machine.arch, policy)
    zig = Zig(require_zig(machine), machine, target, folder)
    zig.write(wrappers)
    environment = _environment(bin_dir, [target.rust], prefix_map, static_musl=policy.libc == "musl")
    if zig.is_foreign:
        environment |= _foreign_environment(bin_dir, target, machine)
    return Toolchain(
        name=kind, description=zig.description, bin_dir=bin_dir, environment=environment, compilers=zig.compilers,
        library_dir=zig.library_dir,
    )  # fmt: skip


def _environment(
    bin_dir: Path, rust: Iterable[str], prefix_map: Mapping[str, str], *, static_musl: bool = False
) -> dict[str, str]:
    """`rust` are Rust's names of the target; for one that it would link with musl statically, `static_musl` is set."""
    cc, cxx = str(bin_dir / "cc"), str(bin_dir / "c++")
    environment = {
        "CC": cc,
        "CXX": cxx,
        "LDSHARED": f"{cc} -shared",
        "LDCXXSHARED": f"{cxx} -shared",
        **{_cargo_linker(name): cc for name in rust},
    }
    for variable, tool in (("AR", "ar"), ("RANLIB", "ranlib")):
        if (bin_dir / tool).exists():
            environment[variable] = str(bin_dir / tool)
    flags = [f"--remap-path-prefix={name}={prefix_map[name]}" for name in sorted(prefix_map, key=len)]
    if any(" " in word for word in flags):  # cargo splits it at blanks
        flags = []
    if static_musl:
        flags += ["-C", "target-feature=-crt-static"]
    if flags:
        environment["CARGO_BUILD_RUSTFLAGS"] = " ".join(flags)
    return environment


def _rust_names(arch: str) -> tuple[str, ...]:
    name = table("machines").get(arch, {}).get("rust", arch)
    return f"{name}-unknown-linux-gnu", f"{name}-unknown-linux-musl"


def _cargo_linker(rust: str) -> str:
    return f"CARGO_TARGET_{rust.upper().replace('-', '_')}_LINKER"


def _foreign_environment(bin_dir: Path, target: CompileTarget, machine: Machine) -> dict[str, str]:
    """Return what keeps builds for a foreign target from this machine's libraries, and what runs from the target's."""
    cc, cxx = str(bin_dir / BUILD_C), str(bin_dir / BUILD_CXX)
    libc = "musl" if machine.libc == "musl" else "gnu"
    return {
        "STRIP": str(bin_dir / "strip"),
        "CARGO_BUILD_TARGET": target.rust,
        **{_cargo_linker(name): cc for name in _rust_names(machine.arch) if name.endswith(libc)},
        # For programs that run during the build: by autotools' names, and by those of the crate cc.
        "CC_FOR_BUILD": cc, "CXX_FOR_BUILD": cxx, "BUILD_CC": cc, "BUILD_CXX": cxx, "HOST_CC": cc, "HOST_CXX": cxx,
        # pkg-config looks nowhere else than in PKG_CONFIG_PATH, which a project may set.
        "PKG_CONFIG_LIBDIR": str(bin_dir.parent / "pkgconfig"),
    }  # fmt: skip
