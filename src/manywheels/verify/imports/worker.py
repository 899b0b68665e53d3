"""Import modules in the interpreter that runs this: Python 3.7 or newer.

    python -I -S worker.py SITE RESULTS MODULE…

`SITE` is the modules' folder. The file `RESULTS` gets a line of JSON before and after each import, so that the last one
names the module after a crash. `-` is standard output, hidden from the modules.

    python -I -S worker.py --describe

prints one line of JSON about this interpreter.
"""

from __future__ import annotations

import importlib
import json
import os
import site
import struct
import sys
import sysconfig

_ARCH_OF_32_BITS = {"x86_64": "i686", "aarch64": "armv7l"}  # by the kernel's architecture


def describe() -> dict[str, object]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.implementation.name == "cpython":
        free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
        abi = "cp" + "".join(map(str, sys.version_info[:2])) + free_threaded
    else:
        abi = "_".join(str(sysconfig.get_config_var("SOABI")).split("-")[:2])
    try:
        libc = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, OSError):
        libc = []
    machine = os.uname().machine
    if struct.calcsize("P") == 4:  # noqa: PLR2004 - bytes of an address
        machine = _ARCH_OF_32_BITS.get(machine, machine)
    return {
        "abi": abi,
        "version": version,
        "path": sys.executable,
        "libc": "glibc" if libc else "musl",
        "libc_version": [int(part) for part in (libc[1] if libc else "1.2").split(".")[:2]],
        "arch": machine,
    }


def import_all(folder: str, results: int, modules: list[str]) -> None:
    """Import the modules in order, and go on after an exception."""
    site.addsitedir(folder)
    for module in modules:
        _write(results, {"begun": module})
        try:
            importlib.import_module(module)
        except BaseException as error:  # noqa: BLE001 - SystemExit and the like are failures too
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            _write(results, {"failed": module, "kind": type(error).__name__, "text": _text(error), "missing": missing})
        else:
            _write(results, {"imported": module})
    _write(results, {"ended": True})


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception's own `__str__` may raise anything
        return ""


def _write(results: int, line: dict[str, object]) -> None:
    os.write(results, (json.dumps(line) + "\n").encode())


def main(arguments: list[str]) -> None:
    if arguments == ["--describe"]:
        print(json.dumps(describe()))
        return
    folder, name, *modules = arguments
    if name == "-":
        results = os.dup(1)
        os.dup2(2, 1)
    else:
        results = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    import_all(folder, results, modules)
    os._exit(0)  # do not wait for a module's threads


if __name__ == "__main__":
    main(sys.argv[1:])
