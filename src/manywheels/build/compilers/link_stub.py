"""Libraries with symbols alone, for the linker: they stand for what the target's system has and zig does not know.

musl: what zig links with it needs `libc.so`. gcc in the musllinux images (Alpine) writes `libc.musl-x86_64.so.1`, and
only that is in auditwheel's policies; musl's loader takes either for itself. The stub comes before zig's own libc on
the command line and has every symbol, so that the other is not needed.

ppc64le with glibc: arithmetic of long double is in libgcc_s, which is part of the policies, and not in zig's runtime.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from manywheels.build.compilers import cxx_runtime
from manywheels.build.compilers.target import CompileTarget
from manywheels.errors import ToolchainError


def make(zig: Path, target: CompileTarget, folder: Path) -> Path | None:
    """Write the target's stub into `folder`, and return its path; None if it needs none. It takes half a second.

    Raises ToolchainError.
    """
    if target.policy.libc == "musl":
        source = zig.parent / "lib" / "libc" / "musl" / "libc.S"
        return _link(zig, target, folder / target.musl_library, [source, *(f"-D{name}" for name in target.musl_macros)])
    if not target.libgcc:
        return None
    library = folder / Path(cxx_runtime.UNWINDER).name
    folder.mkdir(parents=True, exist_ok=True)
    return _link(zig, target, library, cxx_runtime.write_stand_in(folder, target.libgcc))


def _link(zig: Path, target: CompileTarget, library: Path, arguments: list[str | Path]) -> Path:
    folder = library.parent
    folder.mkdir(parents=True, exist_ok=True)
    caches = {name: str(folder / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    argv: list[str | Path] = [
        zig,
        "cc",
        "-target",
        target.zig,
        *target.flags,
        "-shared",
        "-nostdlib",
        f"-Wl,-soname,{library.name}",
    ]
    done = subprocess.run(
        [*argv, *arguments, "-o", library], env={"PATH": os.defpath, "HOME": str(folder), **caches},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        raise ToolchainError(
            f"zig made no {library.name}: {done.stderr.strip()[-500:] or f'exit status {done.returncode}'}",
            remedy="Install ziglang as manywheels requires it: pip install --force-reinstall 'manywheels[host]'.",
        )
    return library
