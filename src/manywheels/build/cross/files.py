"""The files by which builds see the target: Python's headers and variables, and what build systems ask for."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from manywheels.build.cross.facts import TargetFacts
from manywheels.build.cross.machine_python import MachinePython
from manywheels.runtime import untrusted_files

FACE: Final = Path(__file__).with_name("face.py")


@dataclass(frozen=True, kw_only=True)
class CrossFiles:
    """The files of one target, in `folder`, which its user can read and not write.

    `roots`: the folders in which CMake may find what is the target's, among them those that the build itself fills.
    """

    folder: Path
    facts: TargetFacts
    roots: tuple[Path, ...]

    @property
    def include(self) -> Path:
        return self.folder / "include" / f"python{self.facts.target.python}{self.facts.abi_flags}"

    @property
    def lib(self) -> Path:
        return self.folder / "lib"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def face(self) -> Path:
        """What `face.py` tells Python of the target."""
        return self.folder / "face.json"

    @property
    def meson(self) -> Path:
        return self.folder / "meson.ini"

    def write(self, python: MachinePython, compilers: Mapping[str, str]) -> None:
        """`compilers` are the environment variables CC, CXX and AR. Raises OSError."""
        for folder in (self.include, self.lib / "pkgconfig", self.bin):
            untrusted_files.make_public_folder(folder)
        self._write_headers(python)
        places = {"include": str(self.include), "lib": str(self.lib), **compilers}
        changed = self.facts.variables(python.variables, places)
        self._write_python(python, changed)
        self._write("toolchain.cmake", self._cmake())
        self._write("meson.ini", self._meson())
        self._write("config.site", self._config_site())
        self._write("lib/pkgconfig/" + f"python-{self.facts.target.python}.pc", self._pkg_config())
        self._write("lib/pkgconfig/python3.pc", self._pkg_config())
        self._write("bin/run-target", _template("run_target.sh", PLATFORM=self.facts.target.arch), mode=0o755)
        config = _template(
            "python_config.sh", INCLUDE=str(self.include), LIB=str(self.lib), SUFFIX=self.facts.extension_suffix,
            FLAGS=self.facts.abi_flags, PREFIX=str(self.folder), LIBPL=str(changed["LIBPL"]),
        )  # fmt: skip
        for name in (f"python{self.facts.target.python}-config", "python3-config"):
            self._write(f"bin/{name}", config, mode=0o755)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which build systems find the files; `bin` comes first on PATH."""
        target = self.facts.target
        return {
            "CMAKE_TOOLCHAIN_FILE": str(self.folder / "toolchain.cmake"),
            "CONFIG_SITE": str(self.folder / "config.site"),
            "PKG_CONFIG_LIBDIR": str(self.lib / "pkgconfig"),
            "PYO3_CROSS_LIB_DIR": str(self.lib),
            "PYO3_CROSS_PYTHON_VERSION": target.python,
        }

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        untrusted_files.write_file(self.folder / name, text.encode()).chmod(mode)

    def _write_headers(self, python: MachinePython) -> None:
        self._write(str((self.include / "pyconfig.h").relative_to(self.folder)), self.facts.header(python.header))
        for entry in python.headers.iterdir():
            if not entry.name.startswith("pyconfig"):
                (self.include / entry.name).symlink_to(entry)

    def _write_python(self, python: MachinePython, changed: Mapping[str, object]) -> None:
        variables = {**python.variables, **changed}
        text = f"build_time_vars = {variables!r}\n"
        self._write(f"lib/{self.facts.data_name}.py", text)
        described = {
            "data": str(self.lib / f"{self.facts.data_name}.py"),
            "variables": changed,
            "multiarch": self.facts.multiarch,
            "platform": self.facts.platform,
            "machine": self.facts.target.arch,
            "include": str(self.include),
            "bits": self.facts.compiled.bits,
            "libc": self.facts.compiled.policy.libc,
            "libc_version": ".".join(map(str, self.facts.libc_version)),
        }
        self._write("face.json", json.dumps(described, indent=1))

    def _cmake(self) -> str:
        facts = self.facts
        return _template(
            "toolchain.cmake", PROCESSOR=facts.target.arch, MULTIARCH=facts.compiled.multiarch,
            ROOTS=";".join(map(str, (self.folder, *self.roots))), INCLUDE=str(self.include),
            SUFFIX=facts.extension_suffix, SOABI=facts.soabi, BITS=str(facts.compiled.bits // 8),
            CONFIG=str(self.bin / "python3-config"), RUN=str(self.bin / "run-target"),
        )  # fmt: skip

    def _meson(self) -> str:
        target = self.facts
        return _template(
            "meson.ini", FAMILY=target.cpu_family, CPU=target.target.arch,
            ENDIAN="little" if target.is_little_endian else "big",
        )  # fmt: skip

    def _config_site(self) -> str:
        return _template("config.site", HOST=self.facts.compiled.machine)

    def _pkg_config(self) -> str:
        return _template("python.pc", INCLUDE=str(self.include), VERSION=self.facts.target.python)


def _template(name: str, **values: str) -> str:
    text = files("manywheels.data").joinpath(f"cross/{name}").read_text("utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", shlex.quote(value) if name.endswith(".sh") else value)
    return text
