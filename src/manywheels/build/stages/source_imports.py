"""Whether tests imported a package from the project's folder, where it shadows the installed wheel.

pytest puts the folder above `tests/__init__.py`, or the one of a `conftest.py`, first on `sys.path`: in a flat layout
that has the package, without its compiled modules. There are two signs: bytecode that Python wrote beside the source
while the tests ran, and an error about a module that is in the wheel.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from manywheels.errors import TargetError
from manywheels.runtime import untrusted_files

_DEEPEST: Final = 2  # folders above a module that is looked for
_MOST: Final = 200  # modules looked for
_ROOTS: Final = ("", "src", "python", "lib")  # folders of a project that are put on `sys.path`
_NOT_FOUND: Final = re.compile(r"No module named '([\w.]{1,200})'")
_CANNOT_IMPORT: Final = re.compile(
    r"cannot import name '(\w{1,100})' from (?:partially initialized module )?'([\w.]{1,200})' (\([^\n]{1,4000})"
)


def describe(package: str) -> str:
    """Return what a user needs to know of a package that was imported from the project's folder."""
    return (
        f"The tests imported `{package}` from the project's folder, not from the wheel. Copy the tests alone with "
        "`test-sources`, give pytest `--import-mode=append`, or move the package into a `src` folder."
    )


def compiled_package(folders: Iterable[Path], wheel: Path, since: float) -> str:
    """Return the wheel's top-level package or module that was compiled in one of the folders; "" if none was.

    The target's user owns the folders. `since` is the tests' start in seconds since the epoch.
    """
    sources = sorted(name for name in _members(wheel) if name.endswith(".py") and name.count("/") <= _DEEPEST)
    places = [(folder, PurePosixPath(root)) for folder in folders for root in _ROOTS]
    for source in map(PurePosixPath, sources[:_MOST]):
        for folder, root in places:
            cache = str(root / source.parent / "__pycache__")
            if untrusted_files.written_since(folder, cache, f"{source.stem}.", since):
                return source.parts[0].removesuffix(".py")
    return ""


def missed_package(wheel: Path, failure: TargetError) -> str:
    """Return the package of a module that the failed tests did not find, although the wheel has it; else ""."""
    output = "\n".join((failure.message, *failure.excerpt))
    names = [found[1] for found in _NOT_FOUND.finditer(output)]
    names += [f"{found[2]}.{found[1]}" for found in _CANNOT_IMPORT.finditer(output) if "site-packages" not in found[3]]
    modules = {name.partition(".")[0] for name in _members(wheel)} if names else set()
    missed = (name.partition(".")[0] for name in names if "." in name and name.replace(".", "/") in modules)
    return next(missed, "")


def _members(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()
