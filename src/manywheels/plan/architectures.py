"""Architectures: their names, their CI runners, and whose programs this machine runs.

It runs them natively or through QEMU (binfmt_misc).
"""

from __future__ import annotations

import difflib
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from manywheels.data import table
from manywheels.errors import EngineError, InputError
from manywheels.plan.option_types import ARCHS

_REGISTERED: Final = Path("/proc/sys/fs/binfmt_misc")
_EXECUTABLE: Final = 2  # e_type of ELF
_LONGEST_ENTRY: Final = 1 << 16  # bytes of binfmt_misc's description of an interpreter


def machine() -> str:
    """Return the build architecture; a 32-bit image's differs from the kernel's."""
    return os.environ.get("AUDITWHEEL_ARCH") or os.uname().machine


def glibc() -> tuple[int, int] | None:
    """Return the version of this machine's glibc, None without one."""
    try:
        found = re.search(r"glibc (\d+)\.(\d+)", os.confstr("CS_GNU_LIBC_VERSION") or "")
    except (OSError, ValueError):
        return None
    return (int(found[1]), int(found[2])) if found else None


def libc() -> str:
    """Return the C library of this machine's Pythons, `glibc` or `musl`."""
    return "glibc" if glibc() else "musl"


def canonical(name: str, origin: object = "archs") -> str:
    """Return an architecture as platform tags name it: `aarch64` for `arm64`, `ARM64` or `linux/arm64`.

    Raises InputError, which begins with `origin`, for names of no architecture that wheels are built for.
    """
    known = _names()
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


def image_platform(arch: str) -> str:
    """Return an architecture's name as a platform of images, such as `linux/arm64`."""
    return str(table("emulation").get(arch, {}).get("docker", f"linux/{arch}"))


def arch_of(name: str) -> str:
    """Return our name of an architecture that a container engine names (`amd64`, `arm64`); its own if it is unknown."""
    return _names().get(name, name)


def _names() -> dict[str, str]:
    return {word: arch for arch in ARCHS for word in (arch, *table("machines")[arch].get("names", ()))}


# --- emulation --------------------------------------------------------------------------------------------------------


def require(arch: str, kernel: str = "", registered: Path = _REGISTERED) -> None:
    """Raise EngineError if programs for `arch` certainly do not run on this kernel.

    Without visible binfmt_misc, as in most containers, the engine decides.
    """
    kernel = kernel or os.uname().machine
    if is_native(arch, kernel) or not (registered / "status").exists() or emulator(arch, registered):
        return
    raise EngineError(
        f"This machine is {kernel}, and the engine has no emulation to build for {arch}.", remedy=remedy(arch)
    )


def emulator(arch: str, registered: Path = _REGISTERED) -> str:
    """Return the program that the kernel starts for another architecture's, whatever it is registered as; or ''."""
    header = _elf_header(arch)
    try:
        entries = sorted(path for path in registered.iterdir() if path.name not in {"register", "status"})
    except OSError:
        return ""
    for entry in entries:
        if header and (found := _interpreter(entry, header)):
            return found
    return ""


def _elf_header(arch: str) -> bytes:
    """Return the beginning of a program, up to `e_machine`; empty for an unknown architecture."""
    from elftools.elf.enums import ENUM_E_MACHINE

    facts = table("machines").get(arch)
    if facts is None:
        return b""
    ident = bytes([*b"\x7fELF", facts["bits"] // 32, 1 if facts["little_endian"] else 2, 1]).ljust(16, b"\0")
    order = "<" if facts["little_endian"] else ">"
    return ident + struct.pack(f"{order}HH", _EXECUTABLE, ENUM_E_MACHINE[facts["machine"]])


def _interpreter(entry: Path, header: bytes) -> str:
    """Return an entry's interpreter if it is enabled and takes programs with this header (binfmt-misc.rst)."""
    try:
        with entry.open("rb") as file:
            lines = file.read(_LONGEST_ENTRY).decode("utf-8", "surrogateescape").splitlines()
        facts = dict(line.partition(" ")[::2] for line in lines)
        magic = bytes.fromhex(facts["magic"])
        mask = bytes.fromhex(facts["mask"]) if "mask" in facts else b"\xff" * len(magic)
        offset = int(facts["offset"])
    except (OSError, KeyError, ValueError):  # it goes by a name's ending
        return ""
    masked = bytes(byte & bits for byte, bits in zip(header[offset:], mask, strict=False))
    wanted = bytes(byte & bits for byte, bits in zip(magic, mask, strict=False))
    return facts.get("interpreter", "") if "enabled" in facts and masked == wanted else ""


def emulation_note(arch: str, kernel: str = "") -> str:
    """Return what to expect of a container for `arch` on a machine with this kernel; empty if it runs natively."""
    kernel = kernel or os.uname().machine
    if is_native(arch, kernel):
        return ""
    return (
        f"{arch} is emulated by QEMU on this {kernel} machine: expect it to be 5 to 20 times slower than on a machine "
        "of its own; `--engine host` cross-compiles."
    )


@contextmanager
def named(arch: str, kernel: str = "") -> Iterator[None]:
    """Add the remedy for missing emulation to an EngineError for another architecture."""
    try:
        yield
    except EngineError as error:
        if is_native(arch, kernel):
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
