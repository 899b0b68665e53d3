"""This machine's Pythons: from /opt/python, PATH, pyenv and uv, in this order.

Those that cannot compile (Debian's without `-dev` has no Python.h) are reported, not used.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from manywheels.plan.architectures import machine

# Each candidate is asked: `json`, `platform` and `sysconfig` take three times as long as all else here.
_PROBE = """
import os, sys
v = sys.version_info
arch = os.uname()[4]  # the kernel's, also for a 32-bit Python
if sys.maxsize < 2**32:
    arch = {"x86_64": "i686", "aarch64": "armv7l", "armv8l": "armv7l"}.get(arch, arch)
cpython = sys.implementation.name == "cpython"
flags = getattr(sys, "abiflags", "")
if cpython:
    abi = "cp%d%d%s" % (v[0], v[1], "t" if "t" in flags else "")
else:  # of PyPy as .pypy311-pp73-x86_64-linux-gnu.so
    import _imp
    abi = "_".join(_imp.extension_suffixes()[0].strip(".").split("-")[:2])
usual = "%s%d.%d%s" % ("python" if cpython else "pypy", v[0], v[1], flags)
is_there = os.path.exists(os.path.join(sys.base_prefix, "include", usual, "Python.h"))
if not is_there:  # a distribution may have it elsewhere
    import sysconfig
    is_there = os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))
print('["%s", "%s", %s, "%s"]' % (abi, sys.version.split()[0], "true" if is_there else "false", arch))
"""
_PROBE_TIMEOUT = 20.0  # seconds; a Python on a cold network disk may need several
_NAME = re.compile(r"python3\.\d+t?|pypy3\.\d+")
_PYPY_ABI = re.compile(r"pypy(\d+)_pp\d+")


def tag_of(abi: str) -> str:
    """Return the first part of an interpreter's targets: `cp314t`; `pp311` for `pypy311_pp80` and its other ABIs."""
    return _PYPY_ABI.sub(r"pp\1", abi)


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A usable Python: ABI tag (`cp312`), full version (`3.12.1`), executable, and where it was found."""

    abi: str
    version: str
    path: Path
    source: str

    @property
    def tag(self) -> str:
        return tag_of(self.abi)


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """A Python that cannot build; `reason` includes the remedy."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class Discovery:
    """One interpreter for each ABI, and the Pythons that cannot be used."""

    interpreters: tuple[Interpreter, ...]
    unusable: tuple[Unusable, ...]


def discover(environment: Mapping[str, str] = os.environ) -> Discovery:
    """Find interpreters; for each ABI, the first source wins."""
    candidates = list(dict.fromkeys(_candidates(environment)))
    with ThreadPoolExecutor(max_workers=min(8, len(candidates) or 1)) as pool:
        probed = list(pool.map(lambda candidate: _probe(*candidate), candidates))
    chosen: dict[str, Interpreter] = {}
    unusable: list[Unusable] = []
    for found in probed:
        if isinstance(found, Interpreter):
            chosen.setdefault(found.abi, found)
        elif found is not None:
            unusable.append(found)
    interpreters = sorted(chosen.values(), key=lambda interpreter: (len(interpreter.abi), interpreter.abi))
    return Discovery(interpreters=tuple(interpreters), unusable=tuple(unusable))


def in_manylinux_image() -> bool:
    """Whether this is a manylinux or musllinux image, which has all interpreters."""
    return "AUDITWHEEL_PLAT" in os.environ and Path("/opt/python").is_dir()


def _candidates(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    for folder in sorted(Path("/opt/python").glob("*-*")):
        yield folder / "bin" / "python", "/opt/python"
    pyenv = Path(environment.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for path in _on_path(environment.get("PATH", ""), pyenv):
        yield path, "PATH"
    for folder in sorted((pyenv / "versions").glob("*"), key=_version_key, reverse=True):
        yield folder / "bin" / "python", "pyenv"
    for folder in sorted(_uv_folder(environment).glob("*-*"), key=_version_key, reverse=True):
        yield folder / "bin" / "python3", "uv"


def _on_path(path: str, pyenv: Path) -> Iterator[Path]:
    for name in path.split(os.pathsep):
        folder = Path(name)
        # pyenv's shims depend on the working folder; `_candidates` finds the versions.
        if not folder.is_absolute() or folder == pyenv / "shims" or (folder.parent / "pyvenv.cfg").exists():
            continue
        try:
            entries = sorted(entry.name for entry in os.scandir(folder) if _NAME.fullmatch(entry.name))
        except OSError:
            continue
        yield from (folder / entry for entry in entries)


def _uv_folder(environment: Mapping[str, str]) -> Path:
    if folder := environment.get("UV_PYTHON_INSTALL_DIR"):
        return Path(folder)
    data = environment.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "uv" / "python"


def _version_key(folder: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", folder.name)[:3])


def _probe(path: Path, source: str) -> Interpreter | Unusable | None:
    """Return None for what is not a working Python of this machine's architecture."""
    if not os.access(path, os.X_OK):
        return None
    try:
        completed = subprocess.run(
            [path, "-I", "-S", "-c", _PROBE],
            check=True, timeout=_PROBE_TIMEOUT, capture_output=True, stdin=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        abi, version, has_header, arch = json.loads(completed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    if arch != machine():
        return None
    if not has_header:
        minor = version.rpartition(".")[0]
        package = f"python{minor}-dev (Debian, Ubuntu) or python{minor}-devel (Fedora, RHEL)"
        return Unusable(path=path, reason=f"Python {version} has no Python.h: install {package}")
    return Interpreter(abi=abi, version=version, path=path, source=source)
