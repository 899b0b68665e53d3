"""What a target's CPython says of itself, by `data/cross.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from manywheels.build.compilers.target import CompileTarget
from manywheels.data import table
from manywheels.plan.targets import Target

_DEFINITION: Final = r"^(?:#[ \t]*define[ \t]+{0}\b.*|/\*[ \t]*#[ \t]*undef[ \t]+{0}[ \t]*\*/)$"


@dataclass(frozen=True, kw_only=True)
class TargetFacts:
    """Facts about a target's Python; `of` makes one."""

    target: Target
    compiled: CompileTarget

    @property
    def _row(self) -> Mapping[str, Any]:
        row: Mapping[str, Any] = table("cross")["arch"][self.target.arch]
        return row

    @property
    def is_musl(self) -> bool:
        return self.compiled.policy.libc == "musl"

    @property
    def multiarch(self) -> str:
        """For example `aarch64-linux-gnu`; before Python 3.11, musl's was not told from glibc's."""
        name = self.compiled.multiarch
        if self.is_musl and self.target.version < tuple(table("cross")["libc"]["musl"]["named-since"]):
            return name.replace("-linux-musl", "-linux-gnu")
        return name

    @property
    def soabi(self) -> str:
        """For example `cpython-312-aarch64-linux-gnu`, `cpython-314t-x86_64-linux-musl`."""
        return f"cpython-{self.target.abi.removeprefix('cp')}-{self.multiarch}"

    @property
    def extension_suffix(self) -> str:
        return f".{self.soabi}.so"

    @property
    def abi_flags(self) -> str:
        return "t" if self.target.free_threaded else ""

    @property
    def data_name(self) -> str:
        """The name of the module with sysconfig's variables."""
        return f"_sysconfigdata_{self.abi_flags}_linux_{self.multiarch}"

    @property
    def platform(self) -> str:
        """What `sysconfig.get_platform` returns, as `linux-aarch64`."""
        return f"linux-{self.target.arch}"

    @property
    def libc_version(self) -> tuple[int, int]:
        return self.compiled.policy.version

    @property
    def cpu_family(self) -> str:
        """Meson's name of the processor."""
        return str(self._row["family"])

    @property
    def is_little_endian(self) -> bool:
        return bool(table("machines")[self.target.arch]["little_endian"])

    @property
    def uv_platform(self) -> str:
        """uv's name of the platform, to fetch its wheels; empty if it has none."""
        return str(table("cross")["uv"][self.compiled.policy.libc].get(self.target.arch, ""))

    @property
    def macros(self) -> dict[str, int | None]:
        """The macros of pyconfig.h that differ between machines; None for those that are not defined."""
        known = table("cross")
        rows = (
            known["bits"][str(self.compiled.bits)],
            known["endian"]["little" if self.is_little_endian else "big"],
            self._row["macros"],
            self._row.get(self.compiled.policy.libc, {}),
            known["libc"][self.compiled.policy.libc]["macros"],
        )
        return {name: None if value is False else int(value) for row in rows for name, value in row.items()}

    def header(self, machines: str) -> str:
        """Return the target's pyconfig.h, made from that of this machine's Python of the same version."""
        for name, value in self.macros.items():
            line = f"/* #undef {name} */" if value is None else f"#define {name} {value}"
            machines = re.sub(_DEFINITION.format(name), line, machines, flags=re.MULTILINE)
        return machines

    def variables(self, own: Mapping[str, object], places: Mapping[str, str]) -> dict[str, object]:
        """Return the target's variables that differ from the machine's `own`.

        `places` has `include` and `lib`, the folders made for the target, and the compilers `CC`, `CXX`, `AR`.
        """
        include, lib = places["include"], places["lib"]
        python = f"python{self.target.python}"
        compiler, cxx = places["CC"], places["CXX"]
        made: dict[str, object] = {
            **table("cross")["variables"],
            "SOABI": self.soabi,
            "EXT_SUFFIX": self.extension_suffix,
            "MULTIARCH": self.multiarch,
            "MULTIARCH_CPPFLAGS": f'-DMULTIARCH=\\"{self.multiarch}\\"',
            "HOST_GNU_TYPE": self.compiled.machine,
            "INCLUDEPY": include,
            "CONFINCLUDEPY": include,
            "LIBDIR": lib,
            "LIBPL": f"{lib}/{python}/config-{self.target.python}{self.abi_flags}-{self.multiarch}",
            "LIBPC": f"{lib}/pkgconfig",
            "LIBRARY": f"lib{python}{self.abi_flags}.a",
            "LDLIBRARY": f"lib{python}{self.abi_flags}.a",
            "INSTSONAME": f"lib{python}{self.abi_flags}.a",
            "CC": compiler,
            "CXX": cxx,
            "CPP": f"{compiler} -E",
            "LINKCC": compiler,
            "AR": places.get("AR", "ar"),
            "LDSHARED": f"{compiler} -shared",
            "BLDSHARED": f"{compiler} -shared",
            "LDCXXSHARED": f"{cxx} -shared",
        }  # fmt: skip
        # sysconfig has pyconfig.h's macros too; what is not defined is 0 there.
        made |= {name: value or 0 for name, value in self.macros.items() if name in own}
        return made
