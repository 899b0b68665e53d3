"""Shell wrappers (`data/wrappers/`), by which a build finds compilers, make and ninja on its PATH."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from manywheels.runtime.own_python import main_call

C_NAMES: Final = ("cc", "gcc", "clang")
CXX_NAMES: Final = ("c++", "g++", "clang++")
# The first release of each with support for a jobserver's FIFO.
_SHARES_FROM: Final = {"make": (4, 4), "gmake": (4, 4), "ninja": (1, 13), "ninja-build": (1, 13), "samu": (99, 0)}


@dataclass(frozen=True, kw_only=True)
class Wrappers:
    """Writes wrappers into `bin_dir`; `values` are for the placeholders of all, as quoted shell words."""

    bin_dir: Path
    values: Mapping[str, str]

    def write(self, name: str, template: str, **values: str) -> None:
        """Write the wrapper `name` from `data/wrappers/<template>.sh`."""
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


def common_values(arch: str, bin_dir: Path, prefix_map: Mapping[str, str]) -> dict[str, str]:
    """Return the values of all wrappers; `prefix_map` is that of `toolchain.prepare`."""
    # gcc uses the last map that matches, clang the longest: in this order they agree.
    maps = [f"-ffile-prefix-map={name}={prefix_map[name]}" for name in sorted(prefix_map, key=len)]
    return {
        "ARCH": arch, "BIN": shlex.quote(str(bin_dir)), "PREFIX_MAPS": shlex.join(maps),
        "SHARE": shlex.join(main_call("manywheels.build.compiler_cache.client")),
    }  # fmt: skip


def path_without(folder: Path) -> str:
    """Return PATH without a folder."""
    return os.pathsep.join(part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part != str(folder))


# --- make and ninja ---------------------------------------------------------------------------------------------------


def write_build_tools(wrappers: Wrappers, jobs: int) -> None:
    """Write a wrapper for each make and ninja that does not support a jobserver's FIFO."""
    path = path_without(wrappers.bin_dir)
    found = {name: real for name in _SHARES_FROM if (real := shutil.which(name, path=path))}
    with ThreadPoolExecutor() as pool:
        versions = dict(
            zip(found, pool.map(lambda real: first_line(Path(real), "--version"), found.values()), strict=True)
        )
    for name, real in found.items():
        if not shares_jobserver(name, versions[name]):
            template = "make" if name in ("make", "gmake") else "ninja"
            wrappers.write(name, template, REAL=shlex.quote(real), JOBS=str(jobs))


def shares_jobserver(tool: str, version_line: str) -> bool:
    """`version_line` is the first line of the tool's `--version`."""
    version = re.search(r"(\d+)\.(\d+)", version_line)
    return bool(version and (int(version[1]), int(version[2])) >= _SHARES_FROM[tool])


def version_text(line: str) -> str:
    """Return the version that is named in the first line of a compiler's `--version`."""
    found = re.search(r"\d+(?:\.\d+)+", re.sub(r"\([^)]*\)", "", line))
    return found[0] if found else "of unknown version"


def first_line(program: Path, *arguments: str) -> str:
    """Run a compiler or build tool, and return its first line of output; empty if it cannot be run."""
    try:
        done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout.splitlines() or [""])[0]
