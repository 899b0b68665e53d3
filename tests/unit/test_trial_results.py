"""What is read from the file that pytest was asked to write: project code's own, so anything may stand in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from manywheels.sandbox import Cancellation
from manywheels.stages.junit import asking_for, read_results

REPORT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest" errors="1" failures="1" skipped="1" tests="4">
<testcase classname="tests.test_a.TestB" name="test_c[1]" file="tests/test_a.py" line="4" time="0.001">
<failure message="assert 1 == 2">def test_c(self):
&gt;       assert 1 == 2
E       assert 1 == 2

tests/test_a.py:6: AssertionError</failure></testcase>
<testcase classname="tests.test_a" name="test_good" file="tests/test_a.py" line="9" time="0.001" />
<testcase classname="tests.test_a" name="test_left_out" file="tests/test_a.py" line="11">
<skipped message="no" /></testcase>
<testcase classname="" name="tests.test_broken" time="0.0"><error message="collection failure">E   ImportError: no
tests/test_broken.py:1: in &lt;module&gt;</error></testcase>
</testsuite></testsuites>"""


def write(folder: Path, text: str) -> Path:
    file = folder / "junit.xml"
    file.write_text(text, encoding="utf-8")
    return file


def test_failures_have_the_names_that_pytest_gives_them(tmp_path: Path) -> None:
    results = read_results(write(tmp_path, REPORT), Cancellation())

    assert results is not None
    assert results.count == 3, "what was skipped did not run"
    first, second = results.failed
    assert first.name == "tests/test_a.py::TestB::test_c[1]"
    assert first.lines == (">       assert 1 == 2", "E       assert 1 == 2")
    assert (first.file, first.line) == ("tests/test_a.py", 6)
    assert second.name == "tests.test_broken"
    assert second.lines == ("E   ImportError: no",)


@pytest.mark.parametrize(
    "text",
    ["", "no XML", REPORT[:200], '<!DOCTYPE x [<!ENTITY a "b">]><testsuites>&a;</testsuites>'],
    ids=["empty", "text", "cut off", "document type"],
)
def test_what_is_no_such_file_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_results(write(tmp_path, text), Cancellation()) is None


def test_links_and_other_peoples_files_are_not_read(tmp_path: Path) -> None:
    real = write(tmp_path, REPORT)
    link = tmp_path / "link.xml"
    link.symlink_to(real)
    os.mkfifo(tmp_path / "fifo.xml")

    assert read_results(real, Cancellation()) is not None
    assert read_results(link, Cancellation()) is None
    assert read_results(tmp_path / "fifo.xml", Cancellation()) is None
    assert read_results(tmp_path / "absent.xml", Cancellation()) is None
    assert read_results(real, Cancellation(), owner=os.getuid() + 1) is None


def test_what_the_user_asks_pytest_for_is_kept() -> None:
    asked = asking_for(Path("/a b/junit.xml"), {"PYTEST_ADDOPTS": "-x", "OTHER": "1"})

    assert asked["PYTEST_ADDOPTS"].startswith("-x ")
    assert "--junitxml='/a b/junit.xml'" in asked["PYTEST_ADDOPTS"]
    assert asked["OTHER"] == "1"
