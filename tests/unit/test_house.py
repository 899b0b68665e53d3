"""The order of the packages is kept by machine: a wrong import is refused by import-linter, a process by ruff."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT

TOOLS = Path(sys.executable).parent


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check the package that lies in `folder` against the project's own contracts."""
    return subprocess.run(
        [TOOLS / "lint-imports", "--no-cache", ROOT / ".importlinter"],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package, to put wrong imports into."""
    shutil.copytree(ROOT / "src/manywheels", tmp_path / "manywheels", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        (
            "core/text.py",
            "from manywheels.plan import inputs",
            "manywheels.core is not allowed to import",
        ),
        ("deliver/index/upload.py", "import manywheels.build.pipeline", "manywheels.deliver is not allowed to import"),
        ("verify/places.py", "from manywheels.verify import run", "No cycles are allowed in manywheels.verify"),
        ("shed/__init__.py", "", "shed"),
    ],
    ids=["upwards", "sideways", "circle", "a package that is in no layer"],
)
def test_a_wrong_import_is_refused(house: Path, module: str, line: str, broken: str) -> None:
    file = house / "manywheels" / module
    file.parent.mkdir(exist_ok=True)
    with file.open("a") as written:
        written.write(f"\n{line}\n")
    checked = lint_imports(house)
    assert checked.returncode == 1
    assert broken in checked.stdout


def test_the_house_as_it_is_passes(house: Path) -> None:
    assert lint_imports(house).returncode == 0


@pytest.mark.parametrize("line", ["import subprocess", "from subprocess import run"])
def test_a_process_is_started_only_where_it_may_be(line: str) -> None:
    def refused(module: str) -> bool:
        name = f"src/manywheels/{module}"
        argv = [str(TOOLS / "ruff"), "check", "--quiet", "--select", "TID251", "--stdin-filename", name, "-"]
        return subprocess.run(argv, cwd=ROOT, input=f"{line}\n", text=True, check=False).returncode == 1

    assert refused("build/pipeline.py")
    assert refused("runtime/new.py")
    assert not refused("runtime/process_trees.py")
