"""The HTML report: complete, self-contained, and without markup from projects."""

from __future__ import annotations

import os
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings

from manywheels.build.trace import Trace
from manywheels.errors import OutputFolderError
from manywheels.report import wording
from manywheels.report.files import Reports
from manywheels.report.html import write_report
from manywheels.report.junit import write_junit
from manywheels.report.summary import step_summary
from manywheels.report.trace import write_trace
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState, TestRun
from scale import scaled
from unit.helpers import built, failed, manifest, wheel_record
from unit.report.test_summary import HOSTILE, hostile_run, many

VOID = {"meta", "wbr", "rect", "line"}


class Report(HTMLParser):
    """The elements, links and text of a report. Asserts that elements are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.text += data


def report(whole: Manifest, folder: Path, name: str = "report.html") -> Report:
    write_report(whole, folder / "dist", folder / name)
    return Report((folder / name).read_text("utf-8"))


def test_it_has_all_facts(tmp_path: Path) -> None:
    wheel = replace(wheel_record("cp312"), libraries=("libgomp-1.so.1",))
    tested = TestRun(passed=True, seconds=1.0, log="x", count=12)
    one = replace(built("cp312", warnings=("MW231 odd",)), wheel=wheel, tests=tested, began={"build": 0.0})
    absent = TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    whole = replace(manifest(one, failed("cp313"), failed("cp314"), absent), warnings=("MW240 differ",))
    found = report(whole, tmp_path)
    for words in (
        "demo", "1 wheel in 12.3 s, 2 failed", wheel.name, "417 kB", "2.17", "libgomp-1.so.1", "12 passed", "8.3 s",
        "unknown type name 'fooo'", "Mend it.", "Same as cp313-manylinux_x86_64.", "no interpreter", "MW231 odd",
        "MW240 differ", f"sha256:{whole.digest}",
    ):  # fmt: skip
        assert words in found.text, words
    assert found.text.count("unknown type name 'fooo'") == 1
    assert found.elements.count("tr") == 1 + 4
    assert found.elements.count("svg") == 1 + 1  # a lane, and the axis


def test_it_is_self_contained(tmp_path: Path) -> None:
    found = report(manifest(built("cp312"), failed("cp313")), tmp_path)
    assert not {"script", "img", "link", "iframe", "object"} & set(found.elements)
    assert "style" not in found.attributes
    assert found.links
    assert all(link.startswith("dist/logs/") for link in found.links)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("dist/report.html", "logs/cp312-manylinux_x86_64.log"),
        ("report.html", "dist/logs/cp312-manylinux_x86_64.log"),
        ("a/b/report.html", "../../dist/logs/cp312-manylinux_x86_64.log"),
    ],
)
def test_links_to_logs_are_relative_to_the_report(tmp_path: Path, place: str, expected: str) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    assert set(report(manifest(built("cp312")), tmp_path, place).links) == {expected}


def test_no_url_is_chosen_by_the_project(tmp_path: Path) -> None:
    hostile = replace(built(), log="javascript:alert(1)//x y.log")
    (link,) = report(manifest(hostile), tmp_path, "dist.html").links
    assert link == "dist/javascript%3Aalert%281%29/x%20y.log"


@settings(max_examples=scaled(60, least=20), deadline=None)
@given(HOSTILE)
def test_no_project_writes_markup(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    folder = tmp_path_factory.mktemp("report")
    honest, hostile = report(hostile_run("x"), folder), report(hostile_run(words), folder)
    optional = {"wbr", "code", "rect", "li", "i", "p", "pre", "span"}  # as many as there are words
    assert {*hostile.elements} - optional <= {*honest.elements}
    assert hostile.elements.count("tr") == honest.elements.count("tr")
    assert hostile.attributes <= honest.attributes | {"tabindex"}


def test_its_length_grows_linearly_with_the_wheels(tmp_path: Path) -> None:
    sizes = []
    for count in (100, 200, 300):
        report(many(count, "built"), tmp_path)
        sizes.append((tmp_path / "report.html").stat().st_size)
    first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
    assert abs(first - second) < 0.02 * first
    assert first / 100 < 3_000


def test_an_empty_run_has_a_report(tmp_path: Path) -> None:
    assert "No wheels" in report(manifest(), tmp_path).text


# --- where reports are written ----------------------------------------------------------------------------------------


def test_a_report_is_written_atomically(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("the last one")
    (tmp_path / ".report.html.partial").mkdir()
    with pytest.raises(OutputFolderError) as caught:
        write_report(manifest(built()), tmp_path, tmp_path / "report.html")
    assert "report.html" in caught.value.message
    assert (tmp_path / "report.html").read_text() == "the last one"


@pytest.mark.parametrize("option", ["report", "junit", "trace"])
def test_an_unwritable_path_is_refused_at_once(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "report"
    with pytest.raises(OutputFolderError) as caught:
        Reports(**{"html" if option == "report" else option: path}).require()
    assert str(path) in caught.value.message
    assert f"`{option}`" in caught.value.remedy


def test_a_folder_is_refused_as_a_report(tmp_path: Path) -> None:
    with pytest.raises(OutputFolderError):
        Reports(html=tmp_path).require()


def test_the_folder_of_a_report_is_made(tmp_path: Path) -> None:
    Reports(html=tmp_path / "a/b/report.html").require()
    assert list((tmp_path / "a/b").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_folder_of_a_report_belongs_to_the_owner_of_the_surroundings(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1234)
    Reports(html=tmp_path / "a/b/report.html", junit=tmp_path / "c/junit.xml").require()
    assert {path.stat().st_uid for path in tmp_path.rglob("*")} == {1234}


def test_a_link_is_not_followed_to_write_a_report(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("as it was")
    for name in (".report.html.partial", "report.html", ".junit.xml.partial", "trace.json", ".trace.json.partial"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
    write_report(manifest(built()), tmp_path, tmp_path / "report.html")
    write_junit(manifest(built()), tmp_path / "junit.xml")
    write_trace(Trace(), manifest(built()), tmp_path / "trace.json")
    assert (tmp_path / "victim").read_text() == "as it was"
    assert not (tmp_path / "report.html").is_symlink()


def test_the_log_of_failed_tests_is_named(tmp_path: Path) -> None:
    record = replace(failed("cp312"), tests=TestRun(passed=False, seconds=1.0, log="logs/cp312-test.log"))
    assert set(report(manifest(record), tmp_path).links) == {"dist/logs/cp312-test.log"}
    write_junit(manifest(record), tmp_path / "junit.xml")
    for text in (step_summary(manifest(record)), (tmp_path / "junit.xml").read_text("utf-8")):
        assert "cp312-test" in text.replace("&#45;", "-")
        assert "manylinux_x86_64.log" not in text


def test_a_report_does_not_say_that_all_is_there_where_a_python_was_missing() -> None:
    absent = TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    without_leave = replace(absent, failure=failed("cp39").failure)
    assert wording.verdict(manifest(built())) == "All wheels are there"
    assert wording.verdict(manifest(built(), absent)) == "Wheels are missing, as allowed"
    assert wording.verdict(manifest(built(), without_leave)) == "Wheels are missing"
    assert wording.verdict(manifest(built(), absent, failed())) == "Some targets failed"
