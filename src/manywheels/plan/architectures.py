"""Architectures: their names, their CI runners, and whose programs this machine runs.

It runs them natively or through QEMU (binfmt_misc).
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from manywheels.data import table
from manywheels.errors import EngineError, InputError
from manywheels.plan.option_types import ARCHS

_REGISTERED: Final = Path("/proc/sys/fs/binfmt_misc")


def machine() -> str:
    """Return the build architecture; a 32-bit image's differs from the kernel's."""
    return os.environ.get("AUDITWHEEL_ARCH") or os.uname().machine


def canonical(name: str, origin: object = "archs") -> str:
    """Return an architecture as platform tags name it: `aarch64` for `arm64`, `ARM64` or `linux/arm64`.

    Raises InputError, which begins with `origin`, for names of no architecture that wheels are built for.
    """
    known = {word: arch for arch in ARCHS for word in (arch, *table("machines")[arch].get("names", ()))}
    word = name.lower().removeprefix("linux/")
    if word in known:
        return known[word]
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" (did you mean `{near[0]}`?)" if near else ""
    raise InputError(
        f"{origin}: there is no architecture `{name}`{hint}.", remedy=f"The architectures are {', '.join(ARCHS)}."
    )


def runner(arch: str, ci: str = "runner") -> str:
    """Return the CI's runner for an architecture, native where there is one; `ci` is `runner` (GitHub) or `gitlab`."""
    machines = table("emulation")
    native = [facts for name, facts in machines.items() if ci in facts and arch in (name, *facts.get("runs", ()))]
    return str((native or [machines["x86_64"]])[0][ci])


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
