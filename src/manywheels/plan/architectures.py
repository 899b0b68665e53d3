"""Other architectures: whether this machine runs programs of one, by itself or through QEMU (binfmt_misc)."""

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
    """Return the architecture that is built for here: an image for 32 bits has its own, whatever the kernel's is."""
    return os.environ.get("AUDITWHEEL_ARCH") or os.uname().machine


def is_native(arch: str, kernel: str = "") -> bool:
    """Whether a machine (default: this one) runs programs for `arch` by itself."""
    kernel = kernel or os.uname().machine
    return arch == kernel or arch in table("emulation").get(kernel, {}).get("runs", ())


def require(arch: str, kernel: str = "", registered: Path = _REGISTERED) -> None:
    """Raise EngineError where it is certain that programs for `arch` do not run on a machine (default: this one).

    Where binfmt_misc cannot be seen, as in most containers, the engine is left to try.
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
    """Have what goes wrong with an image of another architecture name the machine that needs no emulation."""
    try:
        yield
    except EngineError as error:
        if is_native(arch):
            raise
        raise EngineError(error.message, remedy=remedy(arch)) from error


def remedy(arch: str = "") -> str:
    """Return what to do where an architecture cannot be emulated: build on a machine of it, or install QEMU."""
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
