"""Whether anything in a source may become machine code."""

from __future__ import annotations

from pathlib import Path

import pytest

from manywheels.build import source_files
from manywheels.build.source_files import may_compile
from manywheels.core.cancellation import Cancellation

PYTHON_ONLY = {"pyproject.toml": "[project]\nname = 'x'\n", "pkg/__init__.py": "", "README.md": "in C"}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def test_python_alone_does_not(tmp_path: Path) -> None:
    assert not may_compile(write(tmp_path, PYTHON_ONLY), Cancellation())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pkg/core.c", ""),
        ("deep/er/lib.rs", ""),
        ("CMakeLists.txt", ""),
        ("pyproject.toml", "[tool.hatch.build.hooks.custom]"),
        ("pyproject.toml", "[build-system]\nrequires = ['setuptools', 'mypy[mypyc]']"),
        ("setup.py", "from x import build\nsetup(cmdclass=build)"),
        ("setup.cfg", "[options]\ncmdclass =\n  build_py = x.Build"),
    ],
)
def test_what_may(tmp_path: Path, name: str, content: str) -> None:
    assert may_compile(write(tmp_path, PYTHON_ONLY | {name: content}), Cancellation())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    source = write(tmp_path / "source", PYTHON_ONLY)
    (tmp_path / "secret").write_text("Extension")
    (source / "setup.py").symlink_to(tmp_path / "secret")
    assert not may_compile(source, Cancellation())


def test_what_was_not_seen_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_files, "_MOST", 3)
    assert may_compile(write(tmp_path, PYTHON_ONLY), Cancellation())
