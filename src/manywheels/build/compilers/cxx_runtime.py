"""The C++ runtime of the zig toolchain: one shared library for all files of a wheel.

zig links its libc++ statically into each file. Then a standard exception that leaves one file is not caught in another,
since each has type_infos of its own. This builds a shared library from the same sources, and the repair grafts it.

    python -I cxx_runtime.py REQUEST

The compilers' wrapper starts it when a program is first linked with C++. `REQUEST` is JSON with `zig`, `target` (as zig
names it) and its `flags`, `folder`, which must be from `name`, `cache`, zig's own, and of the target's libc: `glibc`
(major and minor), `frames` (see `unwinder_symbols`) and `libgcc` (further symbols by their version), or `musl`, the
library to link with.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

LIBRARY: Final = "libmanywheels-c++.so.1"
# With glibc, exceptions are unwound by the machine's libgcc_s, as in every manylinux wheel: it also unwinds threads
# that end by pthread_exit. This stands in for it at the link. With musl there may be no libgcc_s, which is no part of
# musllinux (gcc's own would be grafted into each wheel): the library brings LLVM's unwinder along.
UNWINDER: Final = "link/libgcc_s.so.1"
_UNWINDER_SYMBOLS: Final = {
    "GCC_3.0": (
        *(f"_Unwind_{name}" for name in (
            "DeleteException", "Find_FDE", "ForcedUnwind", "GetDataRelBase", "GetGR", "GetIP",
            "GetLanguageSpecificData", "GetRegionStart", "GetTextRelBase", "RaiseException", "Resume", "SetGR", "SetIP",
        )),
        "__register_frame_info_bases", "__register_frame_info_table_bases", "__deregister_frame_info_bases",
    ),
    "GCC_3.3": ("_Unwind_Backtrace", "_Unwind_FindEnclosingFunction", "_Unwind_GetCFA", "_Unwind_Resume_or_Rethrow"),
    "GCC_3.3.1": ("__gcc_personality_v0",),
    "GCC_4.2.0": ("_Unwind_GetIPInfo",),
}  # fmt: skip
# These came to libgcc_s from libc on some machines, and kept their version there.
_FRAME_SYMBOLS: Final = (
    "__register_frame", "__register_frame_info", "__register_frame_info_table", "__register_frame_table",
    "__deregister_frame", "__deregister_frame_info",
)  # fmt: skip
_ARM_UNWINDER_SYMBOLS: Final = {  # 32-bit ARM has exception tables of its own
    "GCC_3.0": tuple(
        f"_Unwind_{name}" for name in (
            "DeleteException", "ForcedUnwind", "GetDataRelBase", "GetLanguageSpecificData", "GetRegionStart",
            "GetTextRelBase", "RaiseException", "Resume",
        )
    ),
    "GCC_3.3": ("_Unwind_GetCFA", "_Unwind_Resume_or_Rethrow"),
    "GCC_3.3.1": ("__gcc_personality_v0",),
    "GCC_3.5": (
        "_Unwind_Complete", "_Unwind_VRS_Get", "_Unwind_VRS_Pop", "_Unwind_VRS_Set", "__aeabi_unwind_cpp_pr0",
        "__aeabi_unwind_cpp_pr1", "__aeabi_unwind_cpp_pr2", "__gnu_unwind_frame",
    ),
    "GCC_4.3.0": ("_Unwind_Backtrace",),
}  # fmt: skip

# Two files may each have a copy of a type's type_info, as Python opens every module with RTLD_LOCAL: they are compared
# by name, as libstdc++ does.
SAME_TYPES: Final = "-D_LIBCPP_TYPEINFO_COMPARISON_IMPLEMENTATION=2"
# What zig gives to programs that link its own libc++ (its src/libs/libcxx.zig); it gives nothing beside -nostdlib++.
_PROGRAM_MACROS: Final = (
    "_LIBCPP_ABI_VERSION=1", "_LIBCPP_ABI_NAMESPACE=__1", "_LIBCPP_HAS_THREADS=1", "_LIBCPP_HAS_MONOTONIC_CLOCK",
    "_LIBCPP_HAS_TERMINAL", "_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS",
    "_LIBCPP_DISABLE_VISIBILITY_ANNOTATIONS", "_LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS=0",
    "_LIBCPP_HAS_FILESYSTEM=1", "_LIBCPP_HAS_RANDOM_DEVICE", "_LIBCPP_HAS_LOCALIZATION", "_LIBCPP_HAS_UNICODE",
    "_LIBCPP_HAS_WIDE_CHARACTERS", "_LIBCPP_HAS_NO_STD_MODULES", "_LIBCPP_HAS_TIME_ZONE_DATABASE",
    "_LIBCPP_PSTL_BACKEND_SERIAL", "_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_NONE",
    "_LIBCPP_ASSERTION_SEMANTIC_DEFAULT=_LIBCPP_ASSERTION_SEMANTIC_IGNORE",
)  # fmt: skip
_LIBRARY_MACROS: Final = (
    "NDEBUG", "_LIBCPP_BUILDING_LIBRARY", "LIBCXX_BUILDING_LIBCXXABI", "_LIBCXXABI_BUILDING_LIBRARY",
    "_LIBCPP_HAS_NO_PRAGMA_SYSTEM_HEADER", "_LIBCPP_ENABLE_CXX17_REMOVED_UNEXPECTED_FUNCTIONS",
    "LIBC_NAMESPACE=__llvm_libc_common_utils",
)  # fmt: skip
_LIBRARY_FLAGS: Final = ("-std=c++23", "-O2", "-fPIC", "-fvisibility-inlines-hidden", "-fno-sanitize=all", "-w", "-s")
_SOURCES: Final = ("libcxx/src/*.cpp", "libcxx/src/filesystem/*.cpp", "libcxx/src/ryu/*.cpp", "libcxxabi/src/*.cpp")
_UNWINDER_SOURCES: Final = ("*.cpp", "*.c", "*.S")  # of libunwind; what is not for the target compiles to nothing
_UNWINDER_MACROS: Final = ("NDEBUG", "_LIBUNWIND_IS_NATIVE_ONLY")
# The first is in zig's own runtime, the second for compilers without exceptions.
_OTHER_SOURCES: Final = ("int128_builtins.cpp", "cxa_noexception.cpp")
_RECIPE: Final = (
    SAME_TYPES, _PROGRAM_MACROS, _LIBRARY_MACROS, _LIBRARY_FLAGS, _SOURCES, _UNWINDER_SYMBOLS, _FRAME_SYMBOLS,
    _ARM_UNWINDER_SYMBOLS, _UNWINDER_SOURCES, _UNWINDER_MACROS,
)  # fmt: skip


def name(zig_version: str, target: str, flags: Iterable[str] = ()) -> str:
    """Return the name of the folder that holds the libraries for a target, once they are built."""
    recipe = hashlib.sha256(repr((zig_version, target, *flags, _RECIPE)).encode()).hexdigest()[:12]
    return f"{target}-{recipe}"


def header_flags(zig: Path, *, musl: bool) -> tuple[str, ...]:
    """Return the flags by which zig's compiler finds libc++'s headers beside -nostdlib++."""
    library = zig.parent / "lib"
    folders = (library / "libcxx" / "include", library / "libcxxabi" / "include")
    macros = (*_PROGRAM_MACROS, f"_LIBCPP_HAS_MUSL_LIBC={int(musl)}")
    return (*(f"-I{folder}" for folder in folders), *(f"-D{macro}" for macro in macros))


def unwinder_symbols(frames: str) -> dict[str, tuple[str, ...]]:
    """Return the symbols of libgcc_s by their version; `frames` is that of `__register_frame`, empty on 32-bit ARM."""
    if not frames:
        return _ARM_UNWINDER_SYMBOLS
    return {**_UNWINDER_SYMBOLS, frames: (*_UNWINDER_SYMBOLS.get(frames, ()), *_FRAME_SYMBOLS)}


def write_stand_in(folder: Path, groups: Mapping[str, Iterable[str]]) -> list[str | Path]:
    """Write what a library with symbols alone, by their version, is linked from, and return zig's arguments for it."""
    source, exports = folder / "stand-in.c", folder / "stand-in.map"
    source.write_text("".join(f"void {name}(void) {{}}\n" for group in groups.values() for name in group), "utf-8")
    versions = (f"{version} {{ {'; '.join(group)}; }};\n" for version, group in groups.items())
    exports.write_text("".join(versions), "utf-8")
    return [source, f"-Wl,--version-script={exports}", "-O2", "-s", "-w", "-fno-builtin"]


def main(request: dict[str, Any]) -> None:
    folder = Path(request["folder"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(folder.with_name(f"{folder.name}.lock")):
        if (folder / LIBRARY).exists():
            return
        for unfinished in folder.parent.glob(f"{folder.name}.*.partial"):
            shutil.rmtree(unfinished)
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            target = _Target(
                name=request["target"], flags=tuple(request["flags"]), musl=request.get("musl"),
                glibc=tuple(request.get("glibc") or ()), frames=request.get("frames", ""),
                libgcc=request.get("libgcc", {}),
            )  # fmt: skip
            compiler = _Compiler(Path(request["zig"]), target, partial, Path(request["cache"]))
            compiler.build(version=folder.name.rpartition("-")[2]).rename(folder)
        finally:
            shutil.rmtree(partial)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True, kw_only=True)
class _Target:
    name: str
    flags: tuple[str, ...]
    musl: str | None
    glibc: tuple[int, ...]
    frames: str
    libgcc: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Compiler:
    zig: Path
    target: _Target
    folder: Path
    cache: Path

    def build(self, version: str) -> Path:
        made = self.folder / "made"
        (made / UNWINDER).parent.mkdir(parents=True)
        unwinder = self._own_unwinder() if self.target.musl else [self._stand_in(made / UNWINDER)]
        # References with a version are never bound to another C++ library's symbols of the same name.
        exports = self.folder / "library.map"
        exports.write_text(f"MANYWHEELS_{version} {{ global: *; }};\n", "utf-8")
        names = (f"-Wl,-soname,{LIBRARY}", f"-Wl,--version-script={exports}", "-nostdlib++")
        self._run("c++", "-shared", *names, *self._library_arguments(), *unwinder, "-o", made / LIBRARY)
        return made

    def _stand_in(self, library: Path) -> Path:
        """Make a libgcc_s with the symbols alone, and return its path."""
        symbols = write_stand_in(self.folder, unwinder_symbols(self.target.frames) | self.target.libgcc)
        self._run("cc", "-shared", f"-Wl,-soname,{library.name}", "-nostdlib", *symbols, "-o", library)
        return library

    def _own_unwinder(self) -> list[str | Path]:
        """Compile LLVM's unwinder, and return its objects and the libc to link with."""
        unwind = self.zig.parent / "lib" / "libunwind"
        flags = (f"-I{unwind / 'include'}", *(f"-D{macro}" for macro in _UNWINDER_MACROS), "-O2", "-fPIC", "-w", "-g0")
        languages = {".cpp": ("c++", "-std=c++17", "-fno-exceptions", "-fno-rtti"), ".c": ("cc", "-fexceptions")}
        objects: list[str | Path] = []
        for source in sorted(path for pattern in _UNWINDER_SOURCES for path in (unwind / "src").glob(pattern)):
            mode, *own = languages.get(source.suffix, ("cc",))
            objects.append(self.folder / f"{source.name}.o")
            self._run(mode, *flags, *own, "-funwind-tables", "-fno-sanitize=all", "-c", source, "-o", objects[-1])
        return [*objects, "-Wl,--as-needed", str(self.target.musl)]

    def _library_arguments(self) -> tuple[str | Path, ...]:
        library = self.zig.parent / "lib"
        macros = [f"-D{macro}" for macro in _LIBRARY_MACROS]
        if self.target.glibc >= (2, 18):
            macros.append("-DHAVE___CXA_THREAD_ATEXIT_IMPL")
        folders = [f"-I{library / folder}" for folder in ("libcxx/src", "libcxx/libc", "libunwind/include")]
        sources = [path for pattern in _SOURCES for path in library.glob(pattern) if path.name not in _OTHER_SOURCES]
        headers = header_flags(self.zig, musl=bool(self.target.musl))
        return (*headers, *folders, *macros, SAME_TYPES, *_LIBRARY_FLAGS, *sorted(sources))

    def _run(self, mode: str, *arguments: str | Path) -> None:
        """Run zig without anything of the caller's environment: others will link with what it makes."""
        environment = {
            "PATH": os.defpath, "HOME": str(self.folder), "TMPDIR": str(self.folder),
            "ZIG_GLOBAL_CACHE_DIR": str(self.cache), "ZIG_LOCAL_CACHE_DIR": str(self.folder / "objects"),
        }  # fmt: skip
        subprocess.run(
            [self.zig, mode, "-target", self.target.name, *self.target.flags, *arguments],
            cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
