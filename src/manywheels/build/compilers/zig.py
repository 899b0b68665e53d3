"""The embedded compilers for one target: zig's clang and lld, behind the wrappers."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from manywheels.build.compilers import cxx_runtime, link_stub
from manywheels.build.compilers.choice import Machine
from manywheels.build.compilers.compiler import Compiler
from manywheels.build.compilers.target import CompileTarget
from manywheels.build.compilers.wrappers import C_NAMES, CXX_NAMES, Wrappers, first_line, version_text
from manywheels.core.files import cache_dir
from manywheels.errors import ToolchainError
from manywheels.plan.policies import policies

# What builds find by a target's name before it, as aarch64-linux-gnu-gcc.
_PREFIXED_C: Final = ("gcc", "cc")
_PREFIXED_CXX: Final = ("g++", "c++")
_BINUTILS: Final = {"ar": "ar", "ranlib": "ranlib", "ld": "ld.lld"}  # and what zig calls them
# For programs that run while a foreign target's wheel is built.
BUILD_C: Final = "build-cc"
BUILD_CXX: Final = "build-c++"
_LIBRARY_FOLDERS: Final = (
    "/usr/local/lib",
    "/usr/lib/{multiarch}",
    "/lib/{multiarch}",
    "/usr/lib64",
    "/usr/lib",
)
_INCLUDE_FOLDERS: Final = ("/usr/local/include", "/usr/include/{multiarch}", "/usr/include")
_LINK: Final = Path(__file__).with_name("lld_link.py")
_CXX_HEADERS: Final = Path(__file__).parents[2] / "data" / "cxx_headers"


@dataclass(frozen=True)
class Zig:
    """The embedded compilers for one target."""

    program: Path
    machine: Machine
    target: CompileTarget
    folder: Path

    @cached_property
    def version(self) -> str:
        """For example `0.17.1`."""
        return first_line(self.program, "version")

    @property
    def is_foreign(self) -> bool:
        """Whether this machine's Pythons could not load what is built."""
        return self.machine.is_foreign(self.target.policy, self.target.arch)

    @property
    def description(self) -> str:
        """For example `zig 0.17.1 (clang 22.1.8) for glibc 2.28, aarch64`."""
        clang = version_text(first_line(self.program, "cc", "--version"))
        elsewhere = f", {self.target.arch}" if self.is_foreign else ""
        return f"zig {self.version} (clang {clang}) for {self.target.policy}{elsewhere}"

    @cached_property
    def library_dir(self) -> Path:
        """Where the shared C++ library is, or will be once something is linked with it."""
        return cache_dir() / "c++" / cxx_runtime.name(self.version, self.target.zig, self.target.recipe)

    def write(self, wrappers: Wrappers) -> None:
        """Write compilers and binutils, for a foreign target also those for this machine."""
        for cache in self._caches:
            cache.mkdir(parents=True, exist_ok=True)
        values = self._values()
        prefixes = self.target.tool_prefixes
        for mode, names, prefixed in (("cc", C_NAMES, _PREFIXED_C), ("c++", CXX_NAMES, _PREFIXED_CXX)):
            for name in (*names, *(f"{prefix}-{name}" for prefix in prefixes for name in prefixed)):
                wrappers.write(name, "compiler", MODE=mode, **values)
        for name, mode in _BINUTILS.items():
            for prefix in prefixes:
                wrappers.write(f"{prefix}-{name}", "tool", REAL=values["REAL"], MODE=mode)
            if name != "ld":
                wrappers.write(name, "tool", REAL=values["REAL"], MODE=mode)
        for name in (*(f"{prefix}-strip" for prefix in prefixes), "strip"):
            if name != "strip" or self.is_foreign or shutil.which("strip") is None:
                wrappers.write(name, "strip")  # the machine's own does not know foreign files
        if self.is_foreign:
            self._for_this_machine().write_plain(wrappers)

    def write_plain(self, wrappers: Wrappers) -> None:
        """Write compilers for this machine, under names of their own. Their C++ is linked statically."""
        for mode, name in (("cc", BUILD_C), ("c++", BUILD_CXX)):
            wrappers.write(
                name, "compiler", MODE=mode, **(self._values() | {"ARCH": self.target.arch, "CXX_RUNTIME": "''"})
            )

    @property
    def compilers(self) -> tuple[Compiler, ...]:
        """What the wrappers start."""
        words = ("-target", self.target.zig, *self.target.flags)
        own = tuple(Compiler((str(self.program), mode, *words), is_cxx=mode == "c++") for mode in ("cc", "c++"))
        return (*own, *self._for_this_machine().compilers) if self.is_foreign else own

    def _for_this_machine(self) -> Zig:
        oldest = next(policy for policy in policies() if policy.libc == self.machine.libc)
        return replace(self, target=CompileTarget(arch=self.machine.arch, policy=oldest))

    @property
    def _caches(self) -> tuple[Path, Path]:
        """Zig's own runtime is kept (libc++ takes a minute to compile), but not a run's objects."""
        return cache_dir() / "zig", self.folder / "zig"

    def _values(self) -> dict[str, str]:
        shared, own = self._caches
        target, here = self.target, _multiarch_of(self.machine)
        stub = link_stub.make(self.program, target, self.folder / "stubs" / target.arch)
        folders = () if self.is_foreign else _there(_LIBRARY_FOLDERS, here)
        includes = () if self.is_foreign else _there(_INCLUDE_FOLDERS, here)
        return {
            "KIND": "zig",
            "REAL": shlex.quote(str(self.program)),
            "TARGET": target.zig,
            "MULTIARCH": target.multiarch,
            "MACHINE": target.machine,
            "NAMES": shlex.quote(" ".join(target.names)),
            "LIBC": target.libc,
            "BITS": str(target.bits),
            "FOREIGN": "1" if self.is_foreign else "''",
            "HERE": here,
            "TARGET_FLAGS": shlex.join(target.flags),
            "GLOBAL_CACHE": shlex.quote(str(shared)),
            "LOCAL_CACHE": shlex.quote(str(own)),
            "LINK": shlex.join((sys.executable, "-I", "-S", str(_LINK))),
            "CXX_HEADERS": shlex.quote(str(_CXX_HEADERS)),
            "LIBRARY_FLAGS": shlex.join(f"-L{name}" for name in folders),
            "INCLUDE_FLAGS": shlex.join(word for name in includes for word in ("-idirafter", name)),
            "LINKS_CXX": "1" if target.links_cxx else "''",
            "LINK_STUB": shlex.quote(str(stub or "")),
            **_cxx_values(self.program, target, self.library_dir, stub if target.policy.libc == "musl" else None),
        }


def _multiarch_of(machine: Machine) -> str:
    """Return the name that this machine's own library folders may have, as x86_64-linux-gnu."""
    oldest = next(policy for policy in policies() if policy.libc == machine.libc)
    try:
        return CompileTarget.of(machine.arch, oldest).multiarch
    except ToolchainError:
        return f"{machine.arch}-linux-gnu"


def _there(folders: Iterable[str], multiarch: str) -> list[str]:
    return [name for name in (entry.format(multiarch=multiarch) for entry in folders) if Path(name).is_dir()]


def _cxx_values(zig: Path, target: CompileTarget, folder: Path, musl: Path | None) -> dict[str, str]:
    request: dict[str, Any] = {
        "zig": str(zig), "target": target.zig, "flags": target.flags, "folder": str(folder),
        "cache": str(cache_dir() / "zig"),
    }  # fmt: skip
    if musl:
        request["musl"] = str(musl)
    else:
        request |= {"glibc": target.policy.version, "frames": target.frames, "libgcc": target.libgcc}
    return {
        "CXX_RUNTIME": shlex.quote(str(folder)),
        "CXX_LIBRARY": cxx_runtime.LIBRARY,
        "CXX_UNWINDER": cxx_runtime.LIBRARY if musl else cxx_runtime.UNWINDER,
        "CXX_FLAGS": cxx_runtime.SAME_TYPES,
        "CXX_HEADER_FLAGS": shlex.join(cxx_runtime.header_flags(zig, musl=musl is not None)),
        "MAKE_CXX_RUNTIME": shlex.join((sys.executable, "-I", cxx_runtime.__file__, json.dumps(request))),
    }
