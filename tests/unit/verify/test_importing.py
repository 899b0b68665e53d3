"""What an imported module leaves where its results should be: a bounded part of a regular file is read."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.copying import remove_tree
from manywheels.verify.imports import host
from manywheels.verify.imports.host import Site, _attempt
from manywheels.verify.imports.modules import Module
from unit.helpers import interpreter

HOSTILE = {
    "a terabyte": "os.truncate(results, 1 << 40)",
    "a FIFO": "os.unlink(results); os.mkfifo(results)",
    "a link": "os.unlink(results); os.symlink('/dev/zero', results)",
    "a folder": "os.unlink(results); os.mkdir(results)",
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
def test_results_are_read_within_bounds(tmp_path: Path, script: str) -> None:
    site = Site(tmp_path, {"PATH": os.defpath}, tmp_path / "log", Cancellation())
    (site.path / "evil.py").write_text(f"import os, sys; results = sys.argv[2]; {script}")
    python = replace(interpreter("cp312"), path=Path(sys.executable))
    for _ in range(2):
        assert len(_attempt(site, python, [Module(name="evil")], 30.0).results) <= host._LARGEST_RESULTS
    remove_tree(tmp_path)  # pytest keeps its folders
