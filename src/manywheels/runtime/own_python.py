"""Commands for this program in an isolated Python (`-I`).

It ignores PYTHONPATH and `pip install --user`, where this program may be.
"""

from __future__ import annotations

import site
import sys
from pathlib import Path


def module_argv(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command for a module, as `python -I -m`, with this program's packages on the path."""
    start = (
        f"import runpy, sys; sys.path += [folder for folder in {_package_folders()} if folder not in sys.path]; "
        f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    )
    return (sys.executable, "-I", "-c", start, *arguments)


def main_call(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that calls a module's `main` with the list of arguments, in a Python that starts fast.

    The module can import the standard library, and what of this program needs no more.
    """
    start = f"import sys; sys.path.append({str(_own_folder())!r}); from {module} import main; main(sys.argv[1:])"
    return (sys.executable, "-I", "-S", "-c", start, *arguments)


def script_folders() -> tuple[str, ...]:
    """Return the script folders of this environment, the user's packages, and `pip install --target`."""
    folders = [Path(sys.prefix), *([Path(site.getuserbase())] if site.ENABLE_USER_SITE else []), _own_folder()]
    return tuple(str(folder / "bin") for folder in folders)


def _package_folders() -> list[str]:
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [str(_own_folder()), *users]


def _own_folder() -> Path:
    return Path(__file__).absolute().parents[2]
