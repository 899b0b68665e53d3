"""The checks of what a wheel holds: each finds what it is there for and no more, and lets honest wheels pass."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from manywheels.verify import Finding, Severity, check_wheel
from unit.elfmaker import SharedObject
from unit.helpers import PLATFORM, codes, the_one, write_wheel

EXTENSION = "demo/_core.cpython-312-x86_64-linux-gnu.so"
SHARED = SharedObject().to_bytes()
STATIC = SharedObject(dynamic=False).to_bytes()
OBJECT_FILE = STATIC[:16] + b"\1\0" + STATIC[18:]  # e_type is ET_REL
BIG_ENDIAN = SharedObject(dynamic=False, big_endian=True).to_bytes()
BIG_ENDIAN_OBJECT = BIG_ENDIAN[:16] + b"\0\1" + BIG_ENDIAN[18:]


def findings(folder: Path, *names: str, **contents: bytes) -> tuple[Finding, ...]:
    """Return what this module's checks say of a wheel with an extension module and these files."""
    members = {EXTENSION: SHARED, "demo/__init__.py": b"", **dict.fromkeys(names, b"x\n"), **contents}
    return of_this_module(write_wheel(folder, members=members))


def of_this_module(path: Path) -> tuple[Finding, ...]:
    return tuple(finding for finding in check_wheel(path).findings if re.match("MW25[0-6]", finding.code))


def test_honest_contents_pass(tmp_path: Path) -> None:
    names = ("demo/core.pyi", "demo/py.typed", "demo/include/demo.h", "demo/include/demo/impl.cpp", "demo/core.pxd",
             "demo/tests/test_core.py", "demo/data/table.csv", "demo_helper/__init__.py", "single.py",
             "demo.libs/libshout-1a2b.so.1", "demo-1.0.data/scripts/demo", "demo-1.0.data/data/share/doc/setup.py",
             "demo-1.0.data/headers/demo.h")  # fmt: skip
    assert findings(tmp_path, *names) == ()


# --- MW250, MW251: machine code ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "counts"),
    [
        (SHARED, True),
        (STATIC, True),
        (b"\x7fELF" + b"\xff" * 200, True),  # broken, which is MW210's business
        (BIG_ENDIAN, True),
        (OBJECT_FILE, False),
        (BIG_ENDIAN_OBJECT, False),
        (b"#!/bin/sh\n", False),
        (b"", False),
    ],
    ids=["shared", "static", "broken", "big-endian", "object file", "big-endian object file", "script", "empty"],
)
def test_mw250_a_platform_wheel_with_and_without_elf_files(
    tmp_path: Path,
    content: bytes,
    counts: bool,  # noqa: FBT001
) -> None:
    found = of_this_module(write_wheel(tmp_path, members={"demo/tool": content}))
    assert codes(found) == ([] if counts else ["MW250"])
    assert all("manylinux_2_17_x86_64" in finding.problem.message for finding in found)


@pytest.mark.parametrize(
    ("content", "counts"), [(SHARED, True), (STATIC, True), (OBJECT_FILE, False), (b"#!/bin/sh\n", False)],
    ids=["shared", "static", "object file", "script"],
)  # fmt: skip
def test_mw251_a_pure_wheel_with_and_without_elf_files(
    tmp_path: Path,
    content: bytes,
    counts: bool,  # noqa: FBT001
) -> None:
    found = of_this_module(write_wheel(tmp_path, tags="py3-none-any", members={"demo/tool": content}))
    assert codes(found) == (["MW251"] if counts else [])
    assert [finding.problem.member for finding in found] == (["demo/tool"] if counts else [])


@pytest.mark.parametrize(("tags", "severity"), [(None, Severity.ERROR), ("py3-none", Severity.WARNING)])
def test_mw250_a_package_of_headers_is_a_warning(tmp_path: Path, tags: str | None, severity: Severity) -> None:
    name = f"{tags or 'cp312-cp312'}-{PLATFORM}"
    found = of_this_module(write_wheel(tmp_path, tags=name, members={"demo/include/demo.h": b"int demo();\n"}))
    assert the_one(found, "MW250").severity is severity


@pytest.mark.parametrize(
    ("tags", "member", "severity"),
    [
        ("py3-none-any", "demo/tool", Severity.WARNING),
        ("py3-none-any", "demo/_core.abi3.so", Severity.ERROR),
        (f"py3-none-any.{PLATFORM}", "demo/libdemo.so", Severity.ERROR),
    ],
)
def test_mw251_how_bad_it_is(tmp_path: Path, tags: str, member: str, severity: Severity) -> None:
    found = of_this_module(write_wheel(tmp_path, tags=tags, members={member: SHARED}))
    assert the_one(found, "MW251").severity is severity


def test_mw251_many_are_one_finding(tmp_path: Path) -> None:
    members = {f"demo/lib/tool{number}": STATIC for number in range(9)}
    problem = the_one(of_this_module(write_wheel(tmp_path, tags="py3-none-any", members=members)), "MW251").problem
    assert problem.member == "demo/lib/"
    assert "9 files" in problem.message
    assert problem.message.count("tool") == 4
    assert "5 more" in problem.message


# --- MW252: top level -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("tests/__init__.py", "tests/"),
        ("Docs/index.rst", "Docs/"),
        ("src/demo/core.py", "src/"),
        ("setup.py", "setup.py"),
        ("conftest.py", "conftest.py"),
        ("README.md", "README.md"),
        ("LICENSE", "LICENSE"),
        ("pyproject.toml", "pyproject.toml"),
        ("demo-1.0.data/purelib/examples/one.py", "demo-1.0.data/purelib/examples/"),
    ],
)
def test_mw252_parts_of_the_source_tree(tmp_path: Path, name: str, place: str) -> None:
    finding = the_one(findings(tmp_path, name), "MW252")
    assert finding.severity is Severity.WARNING
    assert finding.problem.member == place


def test_mw252_each_of_them_once(tmp_path: Path) -> None:
    found = findings(tmp_path, "tests/__init__.py", "tests/test_core.py", "tests/data/x", "docs/conf.py")
    assert [finding.problem.member for finding in found] == ["tests/", "docs/"]


@pytest.mark.parametrize(
    "name", ["demo/tests/x.py", "demo/setup.py", "tests.py.in", "history.py", "license.so", "testing/x.py"]
)
def test_mw252_near_misses(tmp_path: Path, name: str) -> None:
    assert findings(tmp_path, name) == ()


@pytest.mark.parametrize(("start", "name"), [("build-1.0", "build/__init__.py"), ("tools-1.0", "tools/x.py")])
def test_mw252_the_projects_own_name(tmp_path: Path, start: str, name: str) -> None:
    assert of_this_module(write_wheel(tmp_path, start=start, members={EXTENSION: SHARED, name: b""})) == ()


# --- MW253, MW256: .pth files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"import demo_hook\n", "runs code"),
        (b"# comment\nimport\tdemo_hook; demo_hook.start()\n", "runs code"),
        (b"demo/vendor\n", "adds to sys.path"),
        (b"importlib_things\n", "adds to sys.path"),
    ],
)
@pytest.mark.parametrize("place", ["", "demo-1.0.data/platlib/"])
def test_mw253_path_files(tmp_path: Path, content: bytes, told: str, place: str) -> None:
    finding = the_one(findings(tmp_path, **{f"{place}demo.pth": content}), "MW253")
    assert finding.severity is Severity.WARNING
    assert finding.problem.member == f"{place}demo.pth"
    assert told in finding.problem.message


@pytest.mark.parametrize(
    "name",
    [
        "sitecustomize.py",
        "usercustomize.py",
        "demo-1.0.data/purelib/sitecustomize.py",
        "demo-1.0.data/data/lib/python3.12/sitecustomize.py",
        "demo-1.0.data/data/lib/python3.12/site-packages/demo.pth",
        "demo-1.0.data/data/lib/python3/dist-packages/demo.pth",
    ],
)
def test_mw253_other_code_at_start(tmp_path: Path, name: str) -> None:
    finding = the_one(findings(tmp_path, **{name: b"import demo\n"}), "MW253")
    assert finding.problem.member == name
    assert "whenever Python starts" in finding.problem.message


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("demo-1.0.data/data/share/demo.txt", True),
        ("demo-1.0.data/headers/demo.h", True),
        ("demo-1.0.data/scripts/demo", True),
        ("demo-1.0.data/platform/demo.txt", False),
        ("demo-1.0.data/data", False),
        ("demo.data", True),
    ],
)
def test_mw255_schemes(tmp_path: Path, name: str, known: bool) -> None:  # noqa: FBT001
    found = findings(tmp_path, **{name: b"text\n"})
    assert codes(found) == ([] if known else ["MW255"])


@pytest.mark.parametrize(
    "name",
    ["demo/sitecustomize.py", "demo/model.pth", "demo-1.0.data/data/demo.pth", "demo-1.0.data/purelib/demo/x.pth"],
)
def test_mw253_pth_files_elsewhere_are_data(tmp_path: Path, name: str) -> None:
    assert findings(tmp_path, **{name: b"import os\n"}) == ()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("demo.pth", b"/home/me/demo/src\n", "`/home/me/demo/src`"),
        ("__editable__.demo-1.0.pth", b"import __editable___demo_finder\n", "editable"),
    ],
)
def test_mw256_editable_installations(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    found = findings(tmp_path, **{name: content})
    assert codes(found) == ["MW253", "MW256"]
    assert found[1].severity is Severity.ERROR
    assert told in found[1].problem.message


# --- MW254: leftovers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("demo/__pycache__/core.cpython-312.pyc", "compiled Python"),
        ("demo/core.pyc", "compiled Python"),
        ("demo/.git/config", "version control"),
        ("demo/.DS_Store", "desktop"),
        ("demo/core.py.orig", "patch"),
        ("demo/core.py~", "editor"),
        ("demo/_core.c", "source"),
        ("demo/_core.cpp", "source"),
        ("demo/_core.pyx", "source"),
        ("demo/src/lib.rs", "source"),
        ("demo/_core.o", "object file"),
        ("demo/libdemo.a", "static library"),
        ("demo.egg-info/PKG-INFO", "earlier build"),
        ("demo/CMakeFiles/x.txt", "record of the build"),
        ("demo/config.log", "record of the build"),
        ("demo-1.0.data/platlib/demo/_core.c", "source"),
    ],
)
def test_mw254_leftovers(tmp_path: Path, name: str, told: str) -> None:
    finding = the_one(findings(tmp_path, name), "MW254")
    assert finding.severity is Severity.WARNING
    assert finding.problem.member == name
    assert told in finding.problem.message


@pytest.mark.parametrize(
    "name",
    ["demo/_core.h", "demo/_core.hpp", "demo/_core.pxd", "demo/include/impl.cpp", "demo/.gitignore", "demo/run.log",
     "demo/git/x.py", "demo/core.css", "demo-1.0.data/data/share/demo/x.c", "demo/original.py"],
)  # fmt: skip
def test_mw254_near_misses(tmp_path: Path, name: str) -> None:
    assert findings(tmp_path, name) == ()


def test_mw254_one_finding_for_each_kind(tmp_path: Path) -> None:
    sources = [f"demo/part{number}/core.c" for number in range(30)]
    found = findings(tmp_path, *sources, "demo/core.pyc", "other/core.pyc")
    assert codes(found) == ["MW254", "MW254"]
    assert [finding.problem.member for finding in found] == [None, "demo/"]
    assert "2 compiled Python files" in found[0].problem.message
    assert "30 C, C++, Cython or Rust sources" in found[1].problem.message
    assert "and 26 more" in found[1].problem.message
