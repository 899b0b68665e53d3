"""The target's face for this machine's Python, in the processes of a cross build.

A copy is `_manywheels_face.py` in the virtual environment of the build, and a .pth file calls `put_on` when Python
starts. The variable MANYWHEELS_CROSS, which only the back end's processes have, names the facts (JSON,
`CrossFiles.face`). This file runs under every Python that is built for, and uses the standard library only.

This Python could not run without what stays the machine's: `sys.maxsize`, `sys.byteorder`, `struct` and `ctypes`.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    Facts = dict[str, Any]
    Change = Callable[[Any, Facts], None]


def put_on() -> None:
    """Answer for the target from now on; without MANYWHEELS_CROSS, do nothing."""
    place = os.environ.get("MANYWHEELS_CROSS")
    if not place:
        return
    with open(place, encoding="utf-8") as file:  # noqa: PTH123 - pathlib would be imported at each start of Python
        facts = json.load(file)
    _change_sysconfig(facts)  # first: it reads the machine's variables by their real name
    _change_system(facts)
    changes: dict[str, Change] = {"platform": _change_platform, "distutils.sysconfig": _change_distutils}
    for name in [name for name in changes if name in sys.modules]:
        changes.pop(name)(sys.modules[name], facts)
    sys.meta_path.insert(0, _Later(changes, facts))
    sys.cross_compiling = True  # type: ignore[attr-defined]  # as crossenv and cibuildwheel have it


def _change_system(facts: Facts) -> None:
    system, node, release, version, _machine = os.uname()
    answer = os.uname_result((system, node, release, version, facts["machine"]))
    os.uname = lambda: answer
    real_confstr, names = os.confstr, {"CS_GNU_LIBC_VERSION", os.confstr_names.get("CS_GNU_LIBC_VERSION")}

    def confstr(name: str | int) -> str | None:
        if name not in names:
            return real_confstr(name)
        if facts["libc"] == "musl":
            raise ValueError("unrecognized configuration name")
        return f"glibc {facts['libc_version']}"

    os.confstr = confstr
    sys.implementation._multiarch = facts["multiarch"]  # type: ignore[attr-defined]  # noqa: SLF001
    # What is imported here was found with a list of its own.
    suffixes = [facts["variables"]["EXT_SUFFIX"], ".abi3.so", ".so"]
    importlib.machinery.EXTENSION_SUFFIXES = suffixes  # type: ignore[misc]


def _change_sysconfig(facts: Facts) -> None:
    import sysconfig

    variables = sysconfig.get_config_vars()  # the dictionary that the module itself uses
    variables.update(facts["variables"])
    data = facts["data"]
    name = os.path.splitext(os.path.basename(data))[0]  # noqa: PTH119, PTH122
    spec = importlib.util.spec_from_file_location(name, data)
    assert spec is not None and spec.loader is not None  # noqa: S101, PT018 - it ends in .py
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = facts["include"].replace("{", "{{").replace("}", "}}")
    for scheme, paths in sysconfig._INSTALL_SCHEMES.items():  # type: ignore[attr-defined]  # noqa: SLF001
        if not scheme.startswith("nt"):
            paths.update({key: folder for key in ("include", "platinclude") if key in paths})
    header = os.path.join(facts["include"], "pyconfig.h")  # noqa: PTH118
    sysconfig.get_config_h_filename = lambda: header
    sysconfig.get_platform = lambda: facts["platform"]


def _change_platform(platform: Any, facts: Facts) -> None:  # noqa: ANN401
    size = f"{facts['bits']}bit"
    libc = ("glibc", facts["libc_version"]) if facts["libc"] == "glibc" else ("", "")
    real_architecture, real_libc = platform.architecture, platform.libc_ver

    def architecture(executable: str = sys.executable, bits: str = "", linkage: str = "") -> tuple[str, str]:
        own: tuple[str, str] = (size, "ELF")
        return own if executable == sys.executable else real_architecture(executable, bits, linkage)

    def libc_ver(executable: str | None = None, *rest: Any, **named: Any) -> tuple[str, str]:  # noqa: ANN401
        own = not executable or executable == sys.executable
        return libc if own else real_libc(executable, *rest, **named)

    platform.architecture, platform.libc_ver = architecture, libc_ver
    platform.processor = lambda: facts["machine"]


def _change_distutils(sysconfig: Any, facts: Facts) -> None:  # noqa: ANN401
    """The standard library's, before Python 3.12; that of setuptools reads INCLUDEPY."""
    real = sysconfig.get_python_inc

    def get_python_inc(plat_specific: int = 0, prefix: str | None = None) -> str:
        own: str = facts["include"]
        return own if prefix is None else real(plat_specific, prefix)

    sysconfig.get_python_inc = get_python_inc


class _Later(importlib.abc.MetaPathFinder):
    """Changes modules when they are imported."""

    def __init__(self, changes: dict[str, Change], facts: Facts) -> None:
        self.changes, self.facts = changes, facts

    def find_spec(self, fullname: str, *_path_and_target: object) -> importlib.machinery.ModuleSpec | None:
        change = self.changes.pop(fullname, None)  # once: the search below asks this finder again
        if change is None:
            return None
        spec = importlib.util.find_spec(fullname)
        if spec is None or isinstance(spec.loader, (type, type(None))):
            return None
        real = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            real(module)
            change(module, self.facts)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
