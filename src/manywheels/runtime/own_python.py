"""Programs that came with this package, started as isolated as Python can be (`-I`), wherever the package is installed.

Isolated, a Python sees neither the user's own packages (`pip install --user`) nor what PYTHONPATH names, which is where
this program and what it needs may be.
"""

from __future__ import annotations

import site
import sys
from pathlib import Path


def module_argv(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module as `python -I -m` does, with this program's own packages in reach."""
    start = (
        f"import runpy, sys; sys.path += [folder for folder in {_package_folders()} if folder not in sys.path]; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return (sys.executable, "-I", "-c", start, *arguments)


def script_folders() -> tuple[str, ...]:
    """Return where scripts of this program's packages are: of its environment, the user's, and `pip --target`'s."""
    folders = [Path(sys.prefix), *([Path(site.getuserbase())] if site.ENABLE_USER_SITE else []), _own_folder()]
    return tuple(str(folder / "bin") for folder in folders)


def _package_folders() -> list[str]:
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [str(_own_folder()), *users]


def _own_folder() -> Path:
    return Path(__file__).absolute().parents[2]
