"""Reading pytest's JUnit file, which project code writes and may contain anything."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from manywheels.build.stages import pytest_results
from manywheels.build.stages.pytest_results import Results, asking_for, read_results
from manywheels.core.cancellation import Cancellation
from manywheels.errors import Cancelled
from scale import scaled

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
def test_invalid_files_are_ignored(tmp_path: Path, text: str) -> None:
    assert read_results(write(tmp_path, text), Cancellation()) is None


def test_links_and_files_of_other_users_are_not_read(tmp_path: Path) -> None:
    real = write(tmp_path, REPORT)
    link = tmp_path / "link.xml"
    link.symlink_to(real)
    os.mkfifo(tmp_path / "fifo.xml")

    assert read_results(real, Cancellation()) is not None
    assert read_results(link, Cancellation()) is None
    assert read_results(tmp_path / "fifo.xml", Cancellation()) is None
    assert read_results(tmp_path / "absent.xml", Cancellation()) is None
    assert read_results(real, Cancellation(), owner=os.getuid() + 1) is None


def test_the_users_pytest_options_are_kept() -> None:
    asked = asking_for(Path("/a b/junit.xml"), {"PYTEST_ADDOPTS": "-x", "OTHER": "1"})

    assert asked["PYTEST_ADDOPTS"].startswith("-x ")
    assert "--junitxml='/a b/junit.xml'" in asked["PYTEST_ADDOPTS"]
    assert asked["OTHER"] == "1"


# --- hostile files ----------------------------------------------------------------------------------------------------

SIZE = 6 << 20  # bytes; what grows with a file's size shows in these
CASE = '<testcase name="a"><failure>{}</failure></testcase>'
DEFAULTS = " ".join(f'a{number} CDATA "v"' for number in range(1_000))


def filled(before: str, unit: str, after: str = "") -> str:
    return before + unit * (SIZE // len(unit)) + after


HOSTILE: dict[str, Callable[[], str]] = {
    "a document type behind blanks": lambda: filled(
        f"<?xml version='1.0'?>{' ' * 5_000}<!DOCTYPE r [<!ATTLIST testcase {DEFAULTS}>]><r>", "<testcase/>", "</r>"
    ),
    "a document type behind a comment": lambda: "<!-- x --><!DOCTYPE r [<!ENTITY a 'b'>]><r><testcase/>&a;</r>",
    "nested": lambda: filled("", "<a>"),
    "names": lambda: "<r>" + "".join(f"<n{number}/>" for number in range(SIZE // 10)) + "</r>",
    "attributes": lambda: "<r " + " ".join(f"a{number}=''" for number in range(SIZE // 10)) + "/>",
    "tags of many attributes": lambda: (
        "<r>" + "".join(f"<a b{number}='' c{number}=''/>" for number in range(SIZE // 24)) + "</r>"
    ),
    "one name": lambda: filled("<", "x", "/>"),
    "one attribute": lambda: filled("<r><testcase name='", "x", "'/></r>"),
    "one comment": lambda: filled("<r><!--", "x", "--></r>"),
    "more than is read": lambda: " " * (33 << 20) + "<r/>",
    "zeros": lambda: "<r><testcase/></r>\0",
}


@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_ignored_in_little_memory(tmp_path: Path, make: Callable[[], str]) -> None:
    file = write(tmp_path, make())
    assert measured(file) is None
    file.unlink()  # pytest keeps its folders


@pytest.mark.parametrize(("unit", "events"), [("<a/>", 2), ("<!---->", 1)], ids=["elements", "comments"])
def test_more_parts_than_any_honest_file_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit: str, events: int
) -> None:
    most = scaled(pytest_results._MOST_EVENTS)
    monkeypatch.setattr(pytest_results, "_MOST_EVENTS", most)
    file = write(tmp_path, f"<r>{unit * (most // events)}</r>")
    assert measured(file, most=2 << 20) is None
    file.unlink()


def measured(file: Path, most: int = 20 << 20) -> Results | None:
    """Read a file; assert that it takes little memory."""
    tracemalloc.start()
    results = read_results(file, Cancellation())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < most
    return results


@pytest.mark.parametrize("unit", ["x", "E\n", "&lt;", "a.py:1: \n", "]]&gt;"])
def test_long_texts_are_shortened(tmp_path: Path, unit: str) -> None:
    file = write(tmp_path, f"<r>{CASE.format(filled('', unit))}<testcase/></r>")
    results = measured(file)
    file.unlink()
    assert results is not None
    assert results.count == 2
    (failed,) = results.failed
    assert len(failed.lines) <= 8
    assert max(map(len, failed.lines), default=0) <= 500


def test_names_numbers_and_lines_of_any_length(tmp_path: Path) -> None:
    """Python refuses to read a number of 4,301 digits."""
    case = f"<testcase name='{'n' * 5_000}'><failure>{'f' * 5_000}:{'9' * 5_000}: x</failure></testcase>"
    results = read_results(write(tmp_path, f"<r>{case}{CASE.format('x.py:7: E') * 300}</r>"), Cancellation())
    assert results is not None
    assert (results.count, len(results.failed)) == (301, 200)
    assert (len(results.failed[0].name), results.failed[0].file) == (500, None)
    assert (results.failed[1].file, results.failed[1].line) == ("x.py", 7)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"])
def test_other_encodings_are_ignored(tmp_path: Path, encoding: str) -> None:
    """In these, a document type does not look like one."""
    text = f"<?xml version='1.0' encoding='{encoding}'?><!DOCTYPE r [<!ENTITY a 'b'>]><r><testcase/>&a;</r>"
    (tmp_path / "junit.xml").write_bytes(text.encode(encoding))
    assert read_results(tmp_path / "junit.xml", Cancellation()) is None


def test_nested_cases_and_text_in_pieces(tmp_path: Path) -> None:
    said = "<failure>E <![CDATA[x]]> &amp; <b>E no</b>y</failure><error>E z</error>"
    text = f"<r><s><testcase name='a'>{said}</testcase></s></r>"
    results = read_results(write(tmp_path, text), Cancellation())
    assert results is not None
    assert [(test.name, test.lines) for test in results.failed] == [("a", ("E x & y",))]


def test_reading_stops_at_once(tmp_path: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()
    with pytest.raises(Cancelled):
        read_results(write(tmp_path, REPORT), cancellation)
