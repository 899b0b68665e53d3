"""The report and the summary in a real browser: nothing overlaps, nothing is too small or too pale to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from containers.chromium import Page, View, browser
from containers.pages import SCHEMES, WIDTHS, fetch_mermaid, measure, write_summary
from manywheels.report.html import write_report
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState, TestRun
from unit.helpers import built, failed, manifest, wheel_record

pytestmark = [pytest.mark.chromium, pytest.mark.network, pytest.mark.xdist_group("pages")]
VIEWS = [View(width=width, scheme=scheme) for width in WIDTHS for scheme in SCHEMES]
TAGS = ("cp39", "cp310", "cp311", "cp312", "cp313", "cp314")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64")
LONG = "a_very_long_name_without_any_place_to_break_it_" * 4


def a_target(number: int, tag: str) -> TargetRecord:
    """Return a target that has gone through all stages, later ones after they have waited."""
    began = {"prepare": 2.6 * number, "build": 2.6 * number + 0.1, "repair": 30.0 + number, "verify": 31.2 + number}
    seconds = {"prepare": 0.1, "build": 18.3 + number, "waiting": 0.0, "repair": 1.2, "verify": 0.6}
    wheel = replace(
        wheel_record(tag, size=3_240_000 + number, platform=".".join(PLATFORMS)),
        tags=tuple(f"{tag}-{tag}-{platform}" for platform in PLATFORMS),
        libraries=("libgomp-a34b3233.so.1.0.0", "libgfortran-83c28eba.so.5.0.0"),
    )
    record = replace(built(tag), wheel=wheel, began=began, seconds=seconds)
    return replace(record, tests=TestRun(passed=True, seconds=3.0, log="x", count=128))


def a_run() -> Manifest:
    """Return a run in which everything occurs that can, some of it very long."""
    records = [a_target(number, tag) for number, tag in enumerate(TAGS)]
    broken = failed("cp312", excerpt=(f"src/{LONG}.c:9:5: error: unknown type name 'fooo'", "    9 |     fooo x;"))
    records[3] = replace(broken, began={"prepare": 3.0, "build": 3.1}, seconds={"prepare": 0.1, "build": 9.0})
    records[4] = replace(records[4], warnings=(f"MW231 demo/{LONG}.so is not needed by `{LONG}`",))
    records.append(TargetRecord(identifier="cp314t-manylinux_x86_64", state=TargetState.NO_INTERPRETER))
    records.append(replace(failed("cp313t", problem=f"auditwheel: {LONG}"), seconds={}))
    served = replace(
        records[0], identifier="cp315-manylinux_x86_64", state=TargetState.REUSED, built_for=records[0].identifier
    )
    return replace(manifest(*records, served, seconds=48.2), warnings=("MW240 the wheels differ in `METADATA`",))


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def mermaid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fetch_mermaid(tmp_path_factory.mktemp("mermaid"))


def test_the_report_can_be_read_everywhere(page: Page, tmp_path: Path) -> None:
    write_report(a_run(), tmp_path / "dist", tmp_path / "report.html")
    page.open(tmp_path / "report.html", VIEWS[0])
    assert page.requests() == [(tmp_path / "report.html").as_uri()]
    assert page.complaints() == []
    for view in VIEWS:
        found = measure(page, view)
        assert (found.overflow, found.small, found.pale, found.overlapping) == (0, [], [], []), view
        assert found.texts > 100


def test_the_reports_table_is_one_for_those_who_do_not_see_it(page: Page, tmp_path: Path) -> None:
    write_report(a_run(), tmp_path / "dist", tmp_path / "report.html")
    for width in WIDTHS:
        page.open(tmp_path / "report.html", View(width=width, scheme="light"))
        roles = page.roles()
        assert (roles["table"], roles["row"], roles["columnheader"], roles["rowheader"]) == (1, 10, 9, 9), width
        assert roles["image"] == 7  # the lanes, each with its stages in words


def test_no_script_runs_in_the_report(page: Page, tmp_path: Path) -> None:
    write_report(a_run(), tmp_path / "dist", tmp_path / "report.html")
    opened = (tmp_path / "report.html").read_text("utf-8")
    (tmp_path / "report.html").write_text(opened.replace("</main>", "<script>window.ran = 1</script></main>"))
    page.open(tmp_path / "report.html", VIEWS[0])
    assert page.evaluate("window.ran === undefined")
    assert any("Content Security Policy" in told for told in page.complaints())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_summary_can_be_read_everywhere(page: Page, mermaid: Path, tmp_path: Path, scheme: str) -> None:
    write_summary(a_run(), tmp_path / "summary.html", mermaid, scheme)
    for width in WIDTHS:
        view = View(width=width, scheme=scheme)
        page.open(tmp_path / "summary.html", view)
        page.evaluate("window.drawn")
        assert page.evaluate("document.querySelectorAll('.mermaid svg .task').length") > 20
        found = measure(page, view)
        assert (found.overflow, found.small, found.pale, found.overlapping) == (0, [], [], []), view


def test_mermaid_takes_what_thousands_of_targets_leave(page: Page, mermaid: Path, tmp_path: Path) -> None:
    records = [replace(a_target(n % 50, "cp312"), identifier=f"cp3{n}-manylinux_x86_64") for n in range(2_000)]
    write_summary(manifest(*records), tmp_path / "summary.html", mermaid, "light")
    page.open(tmp_path / "summary.html", VIEWS[-1])
    page.evaluate("window.drawn")
    assert page.evaluate("document.querySelectorAll('.mermaid svg .task').length") > 60


def test_the_measure_finds_what_it_is_there_for(page: Page, tmp_path: Path) -> None:
    faults = """<!DOCTYPE html><title>x</title><body style="background: #fff">
    <p style="font-size: 9px">small</p> <p style="color: #bbb">pale</p>
    <p style="position: absolute; left: 9px; top: 200px">under</p>
    <p style="position: absolute; left: 9px; top: 205px">over</p> <div style="width: 2000px">wide</div>"""
    (tmp_path / "faults.html").write_text(faults)
    page.open(tmp_path / "faults.html", View(width=1440, scheme="light"))
    found = measure(page, View(width=1440, scheme="light"))
    assert found.overflow > 500
    assert [words.partition(" ")[0] for words in (*found.small, *found.pale)] == ["small", "pale"]
    assert found.overlapping == ["under / over"]
