"""musl's symbols under the name that its library has as a system's libc, for the linker alone.

What zig links with musl needs `libc.so`. gcc in the musllinux images (Alpine) writes `libc.musl-x86_64.so.1`, and only
that is in auditwheel's policies. musl's loader takes either for itself. Before zig's own libc on the command line, this
library has every symbol, so that the other is not needed.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from manywheels.build.compile_target import CompileTarget
from manywheels.errors import ToolchainError


def make(zig: Path, target: CompileTarget, folder: Path) -> Path:
    """Write the library for a target into `folder`, and return its path. It takes half a second.

    Raises ToolchainError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / target.musl_library
    caches = {name: str(folder / "zig") for name in ("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR")}
    argv: list[str | Path] = [
        zig, "cc", "-target", target.zig, "-shared", "-nostdlib", f"-Wl,-soname,{target.musl_library}",
        *(f"-D{macro}" for macro in target.musl_macros), zig.parent / "lib" / "libc" / "musl" / "libc.S", "-o", library,
    ]  # fmt: skip
    done = subprocess.run(
        argv, env={"PATH": os.defpath, "HOME": str(folder), **caches},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        raise ToolchainError(
            f"zig made no {target.musl_library}: {done.stderr.strip()[-500:] or f'exit status {done.returncode}'}",
            remedy="Install ziglang as manywheels requires it: pip install --force-reinstall 'manywheels[host]'.",
        )
    return library
