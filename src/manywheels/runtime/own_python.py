"""Commands that run modules and scripts of this program in an isolated Python (`-I`), wherever it is installed.

An isolated Python ignores PYTHONPATH and the user's packages (`pip install --user`), where this program may be.
"""

from __future__ import annotations

import site
import sys
from pathlib import Path


def module_argv(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module as `python -I -m` does, with this program's packages on the path."""
    start = (
        f"import runpy, sys; sys.path += [folder for folder in {_package_folders()} if folder not in sys.path]; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return (sys.executable, "-I", "-c", start, *arguments)


def script_folders() -> tuple[str, ...]:
    """Return the folders for scripts of this environment, of the user's packages, and of `pip install --target`."""
    folders = [Path(sys.prefix), *([Path(site.getuserbase())] if site.ENABLE_USER_SITE else []), _own_folder()]
    return tuple(str(folder / "bin") for folder in folders)


def _package_folders() -> list[str]:
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [str(_own_folder()), *users]


def _own_folder() -> Path:
    return Path(__file__).absolute().parents[2]
