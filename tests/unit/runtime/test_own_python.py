"""Programs of our own packages run isolated, and find these packages wherever they are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import manywheels
from manywheels.runtime.own_python import module_argv

PACKAGE = Path(manywheels.__file__).resolve().parent
# Prints what a module that is started finds, as started from the Python that runs this.
ASK = """
import subprocess
from manywheels.runtime.own_python import module_argv, script_folders
done = subprocess.run(module_argv("asked", "a b"), stdout=-1, text=True, check=True)
print(done.stdout, *script_folders(), sep="\\n")
"""
ASKED = """
import sys
import manywheels
print(sys.argv[1:], __name__, sys.flags.isolated, *[name for name in sys.modules if name == "planted"])
"""


@pytest.fixture
def base_python() -> str:
    """The Python that this environment was made from, which knows none of its packages."""
    python: str = sys._base_executable  # type: ignore[attr-defined]
    if python == sys.executable:
        pytest.skip("the tests run in no virtual environment")
    return python


def ask(python: str, folder: Path, **variables: str) -> list[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **variables}
    return subprocess.run(
        [python, "-c", ASK], check=True, capture_output=True, text=True, cwd=folder, env=environment
    ).stdout.splitlines()


def install(site: Path) -> None:
    """Put this package and the module that is asked into a folder for packages."""
    site.mkdir(parents=True)
    (site / "manywheels").symlink_to(PACKAGE)
    (site / "asked.py").write_text(ASKED)


def test_in_an_environment(tmp_path: Path) -> None:
    argv = module_argv("pip", "--version")
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.startswith("pip ")


def test_of_the_users_own(tmp_path: Path, base_python: str) -> None:
    """As `pip install --user` does it."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    install(tmp_path / "base/lib" / version / "site-packages")
    said = ask(base_python, tmp_path, PYTHONUSERBASE=str(tmp_path / "base"))
    assert said[0] == "['a b'] __main__ 1"
    assert str(tmp_path / "base/bin") in said


def test_in_a_folder_that_pythonpath_names(tmp_path: Path, base_python: str) -> None:
    """As `pip install --target` does it."""
    install(tmp_path / "target")
    said = ask(base_python, tmp_path, PYTHONPATH=str(tmp_path / "target"))
    assert said[0] == "['a b'] __main__ 1"
    assert str(tmp_path / "target/bin") in said


def test_the_folder_that_one_stands_in_has_no_part(tmp_path: Path, base_python: str) -> None:
    install(tmp_path / "target")
    for name in ("runpy", "manywheels", "asked"):
        (tmp_path / f"{name}.py").write_text("import planted\n")
    said = ask(base_python, tmp_path, PYTHONPATH=str(tmp_path / "target"), PYTHONSAFEPATH="1")
    assert said[0] == "['a b'] __main__ 1"
