"""Compilers, and the libc that they link for.

`zig` is clang with the headers and symbols of every glibc and of musl, for every architecture (package `ziglang`).
`system` is the compiler on PATH; in a manylinux image, it links for the image's policy. Shell wrappers
(`data/wrappers/`) keep this machine's paths out of the wheels, and its headers and libraries out of a foreign target's:
one with another architecture or C library than this machine's Pythons.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from manywheels.build import cxx_runtime, link_stub
from manywheels.build.compile_target import CompileTarget
from manywheels.core.files import cache_dir
from manywheels.data import table
from manywheels.errors import InputError, ToolchainError
from manywheels.plan import architectures
from manywheels.plan.policies import Policy, policies, policy_named

KINDS: Final = ("auto", "zig", "system")
_C_NAMES: Final = ("cc", "gcc", "clang")
_CXX_NAMES: Final = ("c++", "g++", "clang++")
# What builds find by a target's name before it, as aarch64-linux-gnu-gcc.
_PREFIXED_C: Final = ("gcc", "cc")
_PREFIXED_CXX: Final = ("g++", "c++")
_BINUTILS: Final = {"ar": "ar", "ranlib": "ranlib", "ld": "ld.lld"}  # and what zig calls them
# For programs that run while a foreign target's wheel is built.
_BUILD_C: Final = "build-cc"
_BUILD_CXX: Final = "build-c++"
# The first release of each with support for a jobserver's FIFO.
_SHARES_FROM: Final = {"make": (4, 4), "gmake": (4, 4), "ninja": (1, 13), "ninja-build": (1, 13), "samu": (99, 0)}
_LIBRARY_FOLDERS: Final = (
    "/usr/local/lib",
    "/usr/lib/{multiarch}",
    "/lib/{multiarch}",
    "/usr/lib64",
    "/usr/lib",
)
_LINK: Final = Path(__file__).with_name("lld_link.py")
_CXX_HEADERS: Final = Path(__file__).parent.parent / "data" / "cxx_headers"
_FOR_ZIG: Final = (
    "TARGET", "GLOBAL_CACHE", "LOCAL_CACHE", "LIBRARY_FLAGS", "INCLUDE_FLAGS", "LINK", "CXX_HEADERS", "CXX_RUNTIME",
    "CXX_LIBRARY", "CXX_UNWINDER", "CXX_FLAGS", "CXX_HEADER_FLAGS", "MAKE_CXX_RUNTIME", "MULTIARCH", "MACHINE", "NAMES",
    "LIBC", "BITS", "FOREIGN", "HERE", "TARGET_FLAGS", "LINK_STUB", "LINKS_CXX",
)  # fmt: skip
_INCLUDE_FOLDERS: Final = ("/usr/local/include", "/usr/include/{multiarch}", "/usr/include")


@dataclass(frozen=True, kw_only=True)
class Toolchain:
    """Compilers ready for use: `bin_dir` comes first on PATH, `environment` has further variables.

    `library_dir` has the libraries that they link with, for the repair to graft.
    """

    name: str
    description: str
    bin_dir: Path
    environment: Mapping[str, str]
    library_dir: Path | None = None

    def with_libraries(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return variables with which what was linked, and not yet repaired, finds the compilers' libraries last."""
        if self.library_dir is None:
            return dict(environment)
        folders = [environment.get("LD_LIBRARY_PATH"), str(self.library_dir)]
        return {**environment, "LD_LIBRARY_PATH": os.pathsep.join(filter(None, folders))}


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
        _require_zig(machine)
        CompileTarget.of(arch, policy)
    elif is_foreign:
        raise ToolchainError(
            f"The system's compiler links for {machine.arch} and {machine.libc}, not for {policy.platform_tag(arch)}.",
            remedy="Use --toolchain zig, which links for all (pip install 'manywheels[host]'), or --engine container.",
        )
    else:
        _require_system(policy, machine)
    return kind


def _require_zig(machine: Machine) -> Path:
    if machine.zig is None:
        raise ToolchainError(
            "The zig toolchain is not installed.",
            remedy="Install it with: pip install 'manywheels[host]'. Or use --engine container or --toolchain system.",
        )
    return machine.zig


def _require_system(policy: Policy, machine: Machine) -> None:
    if machine.compiler is None:
        raise ToolchainError(
            "There is no C compiler on PATH (cc or gcc).",
            remedy="Install one, or use --toolchain zig with: pip install 'manywheels[host]'.",
        )
    own = _policy_version(machine.image_policy) if machine.image_policy else None
    if own and policy.libc == "glibc" and own > policy.version:
        raise ToolchainError(
            f"This image's compiler links for {machine.image_policy}, which is newer than {policy.name}.",
            remedy=f"Use --engine container, or run in {policy.image_name(machine.arch)}.",
        )


def _policy_version(name: str) -> tuple[int, int] | None:
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


# --- the wrappers -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Wrappers:
    bin_dir: Path
    values: Mapping[str, str]  # shell words, quoted

    def write(self, name: str, template: str, **values: str) -> None:
        text = files("manywheels.data").joinpath(f"wrappers/{template}.sh").read_text("utf-8")
        for key, value in {**self.values, **values}.items():
            text = text.replace(f"@{key}@", value)
        path = self.bin_dir / name
        path.write_text(text, "utf-8")
        path.chmod(0o755)
        # ccache identifies a compiler by size and time, so these only change with the compiler.
        lasting = {key: value for key, value in values.items() if key != "LOCAL_CACHE"}
        stamp = zlib.crc32(repr((template, lasting, _modified(values.get("REAL", "")))).encode())
        os.utime(path, (stamp, stamp))


def _modified(word: str) -> int:
    """Return a program's modification time in ns, or 0."""
    try:
        return Path(*shlex.split(word)).stat().st_mtime_ns
    except OSError:
        return 0


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
    wrappers = _Wrappers(bin_dir=bin_dir, values=_common_values(arch or machine.arch, bin_dir, prefix_map))
    _write_build_tools(wrappers, plain_jobs or os.cpu_count() or 1)
    if kind != "zig":
        description = _write_system(wrappers, machine, policy)
        environment = _environment(bin_dir, _rust_names(machine.arch), prefix_map) | _image_environment(machine)
        return Toolchain(name=kind, description=description, bin_dir=bin_dir, environment=environment)
    target = CompileTarget.of(arch or machine.arch, policy)
    zig = _Zig(_require_zig(machine), machine, target, folder)
    zig.write(wrappers)
    environment = _environment(bin_dir, [target.rust], prefix_map, static_musl=policy.libc == "musl")
    if zig.is_foreign:
        environment |= _foreign_environment(bin_dir, target, machine)
    return Toolchain(
        name=kind, description=zig.description, bin_dir=bin_dir, environment=environment, library_dir=zig.library_dir
    )


def _image_environment(machine: Machine) -> dict[str, str]:
    names = table("environment")["image"] if machine.image_policy else ()
    return {name: value for name in names if (value := os.environ.get(name))}


def _common_values(arch: str, bin_dir: Path, prefix_map: Mapping[str, str]) -> dict[str, str]:
    # gcc uses the last map that matches, clang the longest: in this order they agree.
    maps = [f"-ffile-prefix-map={name}={prefix_map[name]}" for name in sorted(prefix_map, key=len)]
    return {"ARCH": arch, "BIN": shlex.quote(str(bin_dir)), "PREFIX_MAPS": shlex.join(maps)}


@dataclass(frozen=True)
class _Zig:
    """The embedded compilers for one target."""

    program: Path
    machine: Machine
    target: CompileTarget
    folder: Path

    @cached_property
    def version(self) -> str:
        return _first_line(self.program, "version")

    @property
    def is_foreign(self) -> bool:
        return self.machine.is_foreign(self.target.policy, self.target.arch)

    @property
    def description(self) -> str:
        clang = _version_text(_first_line(self.program, "cc", "--version"))
        elsewhere = f", {self.target.arch}" if self.is_foreign else ""
        return f"zig {self.version} (clang {clang}) for {self.target.policy}{elsewhere}"

    @cached_property
    def library_dir(self) -> Path:
        return cache_dir() / "c++" / cxx_runtime.name(self.version, self.target.zig, self.target.recipe)

    def write(self, wrappers: _Wrappers) -> None:
        for cache in self._caches:
            cache.mkdir(parents=True, exist_ok=True)
        values = self._values()
        prefixes = self.target.tool_prefixes
        for mode, names, prefixed in (("cc", _C_NAMES, _PREFIXED_C), ("c++", _CXX_NAMES, _PREFIXED_CXX)):
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

    def write_plain(self, wrappers: _Wrappers) -> None:
        """Write compilers for this machine, under names of their own. Their C++ is linked statically."""
        for mode, name in (("cc", _BUILD_C), ("c++", _BUILD_CXX)):
            wrappers.write(
                name, "compiler", MODE=mode, **(self._values() | {"ARCH": self.target.arch, "CXX_RUNTIME": "''"})
            )

    def _for_this_machine(self) -> _Zig:
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


def _write_system(wrappers: _Wrappers, machine: Machine, policy: Policy) -> str:
    if machine.compiler is None:
        _require_system(policy, machine)
    path = _path_without(wrappers.bin_dir)
    unused = dict.fromkeys(_FOR_ZIG, "''")
    prefix = f"{machine.arch}-linux-{'musl' if machine.libc == 'musl' else 'gnu'}"
    for mode, names in (("cc", (*_C_NAMES, f"{prefix}-gcc")), ("c++", (*_CXX_NAMES, f"{prefix}-g++"))):
        for name in names:
            real = shutil.which(name, path=path)
            if real:
                wrappers.write(name, "compiler", KIND="system", MODE=mode, REAL=shlex.quote(real), **unused)
    for wanted, other in (("cc", "gcc"), ("c++", "g++")):
        real = shutil.which(other, path=path)
        if real and not (wrappers.bin_dir / wanted).exists():
            wrappers.write(wanted, "compiler", KIND="system", MODE=wanted, REAL=shlex.quote(real), **unused)
    own = _policy_version(machine.image_policy) if machine.image_policy else None
    libc = own or machine.glibc
    target = f"glibc {libc[0]}.{libc[1]}" if libc else "musl"
    first = _first_line(wrappers.bin_dir / "cc", "--version")
    return f"{'clang' if 'clang' in first else 'gcc'} {_version_text(first)} for {target}"


def _path_without(folder: Path) -> str:
    return os.pathsep.join(part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != str(folder))


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
    cc, cxx = str(bin_dir / _BUILD_C), str(bin_dir / _BUILD_CXX)
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


# --- make and ninja ---------------------------------------------------------------------------------------------------


def _write_build_tools(wrappers: _Wrappers, jobs: int) -> None:
    """Write a wrapper for each make and ninja that does not support a jobserver's FIFO."""
    path = _path_without(wrappers.bin_dir)
    found = {name: real for name in _SHARES_FROM if (real := shutil.which(name, path=path))}
    with ThreadPoolExecutor() as pool:
        versions = dict(
            zip(found, pool.map(lambda real: _first_line(Path(real), "--version"), found.values()), strict=True)
        )
    for name, real in found.items():
        if not shares_jobserver(name, versions[name]):
            template = "make" if name in ("make", "gmake") else "ninja"
            wrappers.write(name, template, REAL=shlex.quote(real), JOBS=str(jobs))


def shares_jobserver(tool: str, version_line: str) -> bool:
    """`version_line` is the first line of the tool's `--version`."""
    version = re.search(r"(\d+)\.(\d+)", version_line)
    return bool(version and (int(version[1]), int(version[2])) >= _SHARES_FROM[tool])


def _version_text(line: str) -> str:
    found = re.search(r"\d+(?:\.\d+)+", re.sub(r"\([^)]*\)", "", line))
    return found[0] if found else "of unknown version"


def _first_line(program: Path, *arguments: str) -> str:
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.splitlines() or [""])[0]
