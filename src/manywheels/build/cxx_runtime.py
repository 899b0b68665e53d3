"""The C++ runtime of the zig toolchain: one shared library for all files of a wheel.

zig links its libc++ statically into each file. Then a standard exception that leaves one file is not caught in another,
since each has type_infos of its own. This builds a shared library from the same sources, and the repair grafts it.

    python -I cxx_runtime.py REQUEST

The compilers' wrapper starts it when a program is first linked with C++. `REQUEST` is JSON with `zig`, `target` (as zig
names it), `folder`, which must be from `name`, and `cache`, zig's own.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LIBRARY: Final = "libmanywheels-c++.so.1"
# Exceptions are unwound by the machine's libgcc_s, as in every manylinux wheel: it also unwinds threads that end by
# pthread_exit. This stands in for it at the link.
UNWINDER: Final = "link/libgcc_s.so.1"
_UNWINDER_SYMBOLS: Final = {
    "GCC_3.0": (
        *(f"_Unwind_{name}" for name in (
            "DeleteException", "Find_FDE", "ForcedUnwind", "GetDataRelBase", "GetGR", "GetIP",
            "GetLanguageSpecificData", "GetRegionStart", "GetTextRelBase", "RaiseException", "Resume", "SetGR", "SetIP",
        )),
        *(f"__register_frame{name}" for name in (
            "", "_info", "_info_bases", "_info_table", "_info_table_bases", "_table",
        )),
        *(f"__deregister_frame{name}" for name in ("", "_info", "_info_bases")),
    ),
    "GCC_3.3": ("_Unwind_Backtrace", "_Unwind_FindEnclosingFunction", "_Unwind_GetCFA", "_Unwind_Resume_or_Rethrow"),
    "GCC_3.3.1": ("__gcc_personality_v0",),
    "GCC_4.2.0": ("_Unwind_GetIPInfo",),
}  # fmt: skip

# Two files may each have a copy of a type's type_info, as Python opens every module with RTLD_LOCAL: they are compared
# by name, as libstdc++ does.
SAME_TYPES: Final = "-D_LIBCPP_TYPEINFO_COMPARISON_IMPLEMENTATION=2"
# What zig gives to programs that link its own libc++ (its src/libs/libcxx.zig); it gives nothing beside -nostdlib++.
_PROGRAM_MACROS: Final = (
    "_LIBCPP_ABI_VERSION=1", "_LIBCPP_ABI_NAMESPACE=__1", "_LIBCPP_HAS_THREADS=1", "_LIBCPP_HAS_MONOTONIC_CLOCK",
    "_LIBCPP_HAS_TERMINAL", "_LIBCPP_HAS_MUSL_LIBC=0", "_LIBCXXABI_DISABLE_VISIBILITY_ANNOTATIONS",
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
# The first is in zig's own runtime, the second for compilers without exceptions.
_OTHER_SOURCES: Final = ("int128_builtins.cpp", "cxa_noexception.cpp")
_RECIPE: Final = (SAME_TYPES, _PROGRAM_MACROS, _LIBRARY_MACROS, _LIBRARY_FLAGS, _SOURCES, _UNWINDER_SYMBOLS)


def name(zig_version: str, target: str) -> str:
    """Return the name of the folder that holds the libraries for a target, once they are built."""
    recipe = hashlib.sha256(repr((zig_version, target, _RECIPE)).encode()).hexdigest()[:12]
    return f"{target}-{recipe}"


def header_flags(zig: Path) -> tuple[str, ...]:
    """Return the flags by which zig's compiler finds libc++'s headers beside -nostdlib++."""
    library = zig.parent / "lib"
    folders = (library / "libcxx" / "include", library / "libcxxabi" / "include")
    return (*(f"-I{folder}" for folder in folders), *(f"-D{macro}" for macro in _PROGRAM_MACROS))


def main(request: dict[str, str]) -> None:
    folder = Path(request["folder"])
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(folder.with_name(f"{folder.name}.lock")):
        if (folder / LIBRARY).exists():
            return
        for unfinished in folder.parent.glob(f"{folder.name}.*.partial"):
            shutil.rmtree(unfinished)
        partial = Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))
        try:
            compiler = _Compiler(Path(request["zig"]), request["target"], partial, Path(request["cache"]))
            compiler.build(version=folder.name.rpartition("-")[2]).rename(folder)
        finally:
            shutil.rmtree(partial)


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class _Compiler:
    zig: Path
    target: str
    folder: Path
    cache: Path

    def build(self, version: str) -> Path:
        made = self.folder / "made"
        (made / UNWINDER).parent.mkdir(parents=True)
        symbols = [symbol for group in _UNWINDER_SYMBOLS.values() for symbol in group]
        source = self._write("unwinder.c", (f"void {symbol}(void) {{}}" for symbol in symbols))
        exports = self._write(
            "unwinder.map", (f"{version} {{ {'; '.join(group)}; }};" for version, group in _UNWINDER_SYMBOLS.items())
        )
        self._link("cc", made / UNWINDER, exports, "-nostdlib", "-O2", "-s", source)
        # References with a version are never bound to another C++ library's symbols of the same name.
        exports = self._write("library.map", [f"MANYWHEELS_{version} {{ global: *; }};"])
        self._link("c++", made / LIBRARY, exports, "-nostdlib++", *self._library_arguments(), made / UNWINDER)
        return made

    def _library_arguments(self) -> tuple[str | Path, ...]:
        library = self.zig.parent / "lib"
        macros = [f"-D{macro}" for macro in _LIBRARY_MACROS]
        if tuple(map(int, self.target.rpartition("gnu.")[2].split("."))) >= (2, 18):
            macros.append("-DHAVE___CXA_THREAD_ATEXIT_IMPL")
        folders = [f"-I{library / folder}" for folder in ("libcxx/src", "libcxx/libc", "libunwind/include")]
        sources = [path for pattern in _SOURCES for path in library.glob(pattern) if path.name not in _OTHER_SOURCES]
        return (*header_flags(self.zig), *folders, *macros, SAME_TYPES, *_LIBRARY_FLAGS, *sorted(sources))

    def _write(self, name: str, lines: Iterable[str]) -> Path:
        path = self.folder / name
        path.write_text("\n".join(lines), "utf-8")
        return path

    def _link(self, mode: str, library: Path, exports: Path, *arguments: str | Path) -> None:
        """Run zig without anything of the caller's environment: others will link with what it makes."""
        environment = {
            "PATH": os.defpath, "HOME": str(self.folder), "TMPDIR": str(self.folder),
            "ZIG_GLOBAL_CACHE_DIR": str(self.cache), "ZIG_LOCAL_CACHE_DIR": str(self.folder / "objects"),
        }  # fmt: skip
        subprocess.run(
            [
                self.zig, mode, "-target", self.target, "-shared", f"-Wl,-soname,{library.name}",
                f"-Wl,--version-script={exports}", *arguments, "-o", library,
            ],
            cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, check=True,
        )  # fmt: skip


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
