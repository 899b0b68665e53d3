"""Compilers, and the libc that they link for.

`zig` is clang with the headers and symbols of every glibc (package `ziglang`). `system` is the compiler on PATH; in a
manylinux image, it links for the image's policy. Shell wrappers (`data/wrappers/`) keep this machine's paths out of the
wheels.
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
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from manywheels.build import cxx_runtime
from manywheels.core.files import cache_dir
from manywheels.data import table
from manywheels.errors import InputError, ToolchainError
from manywheels.plan.policies import Policy, policy_named

KINDS: Final = ("auto", "zig", "system")
_C_NAMES: Final = ("cc", "gcc", "clang", "{arch}-linux-gnu-gcc")
_CXX_NAMES: Final = ("c++", "g++", "clang++", "{arch}-linux-gnu-g++")
# The first release of each with support for a jobserver's FIFO.
_SHARES_FROM: Final = {"make": (4, 4), "gmake": (4, 4), "ninja": (1, 13), "ninja-build": (1, 13), "samu": (99, 0)}
_LIBRARY_FOLDERS: Final = (
    "/usr/local/lib",
    "/usr/lib/{arch}-linux-gnu",
    "/lib/{arch}-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
)
_LINK: Final = Path(__file__).with_name("lld_link.py")
_CXX_HEADERS: Final = Path(__file__).parent.parent / "data" / "cxx_headers"
_FOR_ZIG: Final = (
    "TARGET", "GLOBAL_CACHE", "LOCAL_CACHE", "LIBRARY_FLAGS", "INCLUDE_FLAGS", "LINK", "CXX_HEADERS", "CXX_RUNTIME",
    "CXX_LIBRARY", "CXX_UNWINDER", "CXX_FLAGS", "CXX_HEADER_FLAGS", "MAKE_CXX_RUNTIME",
)  # fmt: skip
_INCLUDE_FOLDERS: Final = ("/usr/local/include", "/usr/include/{arch}-linux-gnu", "/usr/include")


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
            glibc=_glibc_here(),
            image_policy=_image_policy(),
            zig=_embedded_zig(),
            compiler=Path(compiler) if compiler else None,
        )

    @property
    def libc(self) -> str:
        """The C library of this machine's Pythons."""
        return "musl" if self.glibc is None else "glibc"


def resolve(kind: str, policy: Policy, machine: Machine | None = None) -> str:
    """Return `zig` or `system`: `auto` means `system` in a manylinux image and on musl, else `zig`.

    Raises InputError for an unknown kind, and ToolchainError if the toolchain is missing or cannot link for the policy.
    """
    machine = machine or Machine.here()
    if kind not in KINDS:
        raise InputError(f"toolchain: {kind!r} is not known.", remedy=f"Use one of {', '.join(KINDS)}.")
    if policy.libc != machine.libc:
        raise ToolchainError(
            f"{policy.name} needs {policy.libc}, but the Pythons of this machine use {machine.libc}.",
            remedy="Use --engine container, which builds in the policy's own image.",
        )
    if kind == "auto":
        kind = "system" if machine.image_policy or machine.libc == "musl" else "zig"
    if kind == "zig":
        _require_zig(machine)
    else:
        _require_system(policy, machine)
    return kind


def _require_zig(machine: Machine) -> Path:
    if machine.libc == "musl":
        raise ToolchainError("The zig toolchain builds for glibc only.", remedy="Use --toolchain system.")
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


def _glibc_here() -> tuple[int, int] | None:
    try:
        found = re.search(r"glibc (\d+)\.(\d+)", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (OSError, ValueError):
        return None
    return (int(found[1]), int(found[2])) if found else None


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
    kind: str, policy: Policy, folder: Path, *, prefix_map: Mapping[str, str], plain_jobs: int | None = None
) -> Toolchain:
    """Write the wrappers of a toolchain (from `resolve`) into `folder`/bin.

    `prefix_map` maps this machine's folders to their replacements in compiled code. A make or ninja without jobserver
    support starts `plain_jobs` compilers, by default one per core. Raises ToolchainError if the compilers are missing.
    """
    machine = Machine.here()
    bin_dir = folder / "bin"
    bin_dir.mkdir(parents=True, exist_ok=True)
    wrappers = _Wrappers(bin_dir=bin_dir, values=_common_values(machine.arch, bin_dir, prefix_map))
    _write_build_tools(wrappers, plain_jobs or os.cpu_count() or 1)
    environment = _environment(bin_dir, machine.arch, prefix_map)
    library_dir = None
    if kind == "zig":
        description, library_dir = _write_zig(wrappers, _require_zig(machine), policy, folder)
    else:
        description = _write_system(wrappers, machine, policy)
        environment |= _image_environment(machine)
    return Toolchain(
        name=kind, description=description, bin_dir=bin_dir, environment=environment, library_dir=library_dir
    )


def _image_environment(machine: Machine) -> dict[str, str]:
    names = table("environment")["image"] if machine.image_policy else ()
    return {name: value for name in names if (value := os.environ.get(name))}


def _common_values(arch: str, bin_dir: Path, prefix_map: Mapping[str, str]) -> dict[str, str]:
    # gcc uses the last map that matches, clang the longest: in this order they agree.
    maps = [f"-ffile-prefix-map={name}={prefix_map[name]}" for name in sorted(prefix_map, key=len)]
    return {"ARCH": arch, "BIN": shlex.quote(str(bin_dir)), "PREFIX_MAPS": shlex.join(maps)}


def _write_zig(wrappers: _Wrappers, zig: Path, policy: Policy, folder: Path) -> tuple[str, Path]:
    arch = wrappers.values["ARCH"]
    libraries = [name for name in (entry.format(arch=arch) for entry in _LIBRARY_FOLDERS) if Path(name).is_dir()]
    includes = [name for name in (entry.format(arch=arch) for entry in _INCLUDE_FOLDERS) if Path(name).is_dir()]
    shared, own = cache_dir() / "zig", folder / "zig"
    for cache in (shared, own):
        cache.mkdir(parents=True, exist_ok=True)
    version, target = _first_line(zig, "version"), f"{arch}-linux-gnu.{policy.version[0]}.{policy.version[1]}"
    library_dir = cache_dir() / "c++" / cxx_runtime.name(version, target)
    values = {
        "KIND": "zig",
        "REAL": shlex.quote(str(zig)),
        "TARGET": target,
        # Keeps the runtime (libc++ takes a minute to compile), but not a run's objects.
        "GLOBAL_CACHE": shlex.quote(str(shared)),
        "LOCAL_CACHE": shlex.quote(str(own)),
        "LINK": shlex.join((sys.executable, "-I", "-S", str(_LINK))),
        "CXX_HEADERS": shlex.quote(str(_CXX_HEADERS)),
        "LIBRARY_FLAGS": shlex.join(f"-L{name}" for name in libraries),
        "INCLUDE_FLAGS": shlex.join(word for name in includes for word in ("-idirafter", name)),
        **_cxx_values(zig, target, library_dir),
    }
    for mode, names in (("cc", _C_NAMES), ("c++", _CXX_NAMES)):
        for name in names:
            wrappers.write(name.format(arch=arch), "compiler", MODE=mode, **values)
    for name in ("ar", "ranlib"):
        wrappers.write(name, "tool", REAL=values["REAL"], MODE=name)
    if shutil.which("strip") is None:
        wrappers.write("strip", "strip")
    clang = _first_line(zig, "cc", "--version")
    return f"zig {version} (clang {_version_text(clang)}) for {policy}", library_dir


def _cxx_values(zig: Path, target: str, folder: Path) -> dict[str, str]:
    request = {"zig": str(zig), "target": target, "folder": str(folder), "cache": str(cache_dir() / "zig")}
    return {
        "CXX_RUNTIME": shlex.quote(str(folder)),
        "CXX_LIBRARY": cxx_runtime.LIBRARY,
        "CXX_UNWINDER": cxx_runtime.UNWINDER,
        "CXX_FLAGS": cxx_runtime.SAME_TYPES,
        "CXX_HEADER_FLAGS": shlex.join(cxx_runtime.header_flags(zig)),
        "MAKE_CXX_RUNTIME": shlex.join((sys.executable, "-I", cxx_runtime.__file__, json.dumps(request))),
    }


def _write_system(wrappers: _Wrappers, machine: Machine, policy: Policy) -> str:
    if machine.compiler is None:
        _require_system(policy, machine)
    arch = machine.arch
    path = _path_without(wrappers.bin_dir)
    unused = dict.fromkeys(_FOR_ZIG, "''")
    for mode, names in (("cc", _C_NAMES), ("c++", _CXX_NAMES)):
        for name in (entry.format(arch=arch) for entry in names):
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


def _environment(bin_dir: Path, arch: str, prefix_map: Mapping[str, str]) -> dict[str, str]:
    cc, cxx = str(bin_dir / "cc"), str(bin_dir / "c++")
    environment = {
        "CC": cc,
        "CXX": cxx,
        "LDSHARED": f"{cc} -shared",
        "LDCXXSHARED": f"{cxx} -shared",
        "CARGO_TARGET_" + arch.upper() + "_UNKNOWN_LINUX_GNU_LINKER": cc,
    }
    for variable, tool in (("AR", "ar"), ("RANLIB", "ranlib")):
        if (bin_dir / tool).exists():
            environment[variable] = str(bin_dir / tool)
    maps = [f"--remap-path-prefix={name}={prefix_map[name]}" for name in sorted(prefix_map, key=len)]
    if maps and not any(" " in words for words in maps):  # cargo splits it at blanks
        environment["CARGO_BUILD_RUSTFLAGS"] = " ".join(maps)
    return environment


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
