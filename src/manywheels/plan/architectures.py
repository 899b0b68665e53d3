"""Which architectures' programs this machine runs, natively or through QEMU (binfmt_misc)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from manywheels.data import table
from manywheels.errors import EngineError

_REGISTERED: Final = Path("/proc/sys/fs/binfmt_misc")


def machine() -> str:
    """Return the build architecture; a 32-bit image's differs from the kernel's."""
    return os.environ.get("AUDITWHEEL_ARCH") or os.uname().machine


def libc() -> str:
    """Return the C library of this machine's Pythons, `glibc` or `musl`."""
    try:
        return "glibc" if os.confstr("CS_GNU_LIBC_VERSION") else "musl"
    except (OSError, ValueError):
        return "musl"


def is_native(arch: str, kernel: str = "") -> bool:
    """Whether a kernel (default: this machine's) runs programs for `arch` natively."""
    kernel = kernel or os.uname().machine
    return arch == kernel or arch in table("emulation").get(kernel, {}).get("runs", ())


def require(arch: str, kernel: str = "", registered: Path = _REGISTERED) -> None:
    """Raise EngineError if programs for `arch` certainly do not run on this kernel.

    Without visible binfmt_misc, as in most containers, the engine decides.
    """
    kernel = kernel or os.uname().machine
    if is_native(arch, kernel):
        return
    if not (registered / "status").exists() or (registered / f"qemu-{_qemu_name(arch)}").exists():
        return
    raise EngineError(
        f"This machine is {kernel}, and the engine has no emulation to build for {arch}.", remedy=remedy(arch)
    )


@contextmanager
def named(arch: str) -> Iterator[None]:
    """Add the remedy for missing emulation to an EngineError for another architecture."""
    try:
        yield
    except EngineError as error:
        if is_native(arch):
            raise
        raise EngineError(error.message, remedy=remedy(arch)) from error


def remedy(arch: str = "") -> str:
    machines = table("emulation")
    runner = machines.get(arch, {}).get("runner", "")
    if runner:
        native = f"Build on a machine of that architecture (in a GitHub workflow `runs-on: {runner}`, much faster)"
    else:
        runners = " and ".join(f"`{facts['runner']}`" for facts in machines.values() if "runner" in facts)
        native = f"Build on a machine of that architecture (GitHub has the runners {runners})"
    return f"{native}, or install QEMU for it (`docker run --privileged --rm tonistiigi/binfmt --install all`)."


def _qemu_name(arch: str) -> str:
    return str(table("emulation").get(arch, {}).get("qemu", arch))
