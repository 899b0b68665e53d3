"""A trace as a file for Perfetto, and as lanes of the HTML report, whatever a project calls its sources."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manywheels.build.trace import MOST, Kind, Span, Trace
from manywheels.report.html import write_report
from manywheels.report.lanes import chart_of, lanes_of
from manywheels.report.trace import events_of, write_trace
from manywheels.wheels.manifest import Manifest
from scale import scaled
from unit.helpers import built, failed, manifest
from unit.report.test_html import Report
from unit.report.test_summary import HOSTILE

CP312, CP313 = (f"{tag}-manylinux_x86_64" for tag in ("cp312", "cp313"))
MUSL = "musllinux_1_2_x86_64"
WHOLE = manifest(built("cp312"), failed("cp313"))


def span(kind: Kind, name: str, begin: float, end: float, *of: str) -> Span:
    """`of`: the lane and the place."""
    lane, place = (*of, "", "")[:2]
    target = CP312 if kind is Kind.COMPILER else ""
    return Span(kind=kind, name=name, begin=begin, seconds=end - begin, lane=lane, target=target, place=place)


def trace_of(*spans: Span) -> Trace:
    trace = Trace()
    for one in spans:
        trace.add(one)
    return trace


def a_trace() -> Trace:
    return trace_of(
        span(Kind.RUN, "plan", 0, 1), span(Kind.RUN, "source", 1, 1.5), span(Kind.RUN, "targets", 1.5, 10),
        span(Kind.TARGET, "build", 6, 9, CP313), span(Kind.TARGET, "prepare", 1.5, 2, CP312),
        span(Kind.TARGET, "build", 2, 5, CP312), span(Kind.TARGET, "waiting", 5, 6, CP312),
        span(Kind.TARGET, "verify", 7, 8, CP312),
        span(Kind.COMPILER, "core.c", 2, 3, "2"), span(Kind.COMPILER, "deep.c", 2.5, 4, "10"),
        span(Kind.COMPILER, "last.c", 3, 4.5, "2"), span(Kind.SHARED, "core.c", 7, 7, CP313),
    )  # fmt: skip


def read(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def require_valid(events: list[dict[str, Any]]) -> None:
    """What Perfetto needs of each event: https://perfetto.dev/docs, the format's own document."""
    lanes = {(one["pid"], one["tid"]) for one in events if one["name"] == "thread_name"}
    processes = {one["pid"] for one in events if one["name"] == "process_name"}
    for one in events:
        assert one.keys() >= {"name", "ph", "ts", "pid", "tid"}, one
        assert isinstance(one["name"], str)
        assert type(one["ts"]) is type(one["pid"]) is type(one["tid"]) is int
        assert one["ts"] >= 0
        assert one["pid"] in processes
        match one["ph"]:
            case "M":
                assert one["name"] in {"process_name", "process_sort_index", "thread_name", "thread_sort_index"}
            case "X":
                assert type(one["dur"]) is int
                assert one["dur"] >= 0
                assert (one["pid"], one["tid"]) in lanes
            case "i":
                assert one["s"] == "t"
                assert (one["pid"], one["tid"]) in lanes
            case "C":
                assert one["args"]["running"] >= 0
            case other:
                pytest.fail(f"an event of the kind {other}")


def lanes_in(events: list[dict[str, Any]]) -> dict[str, list[tuple[str, float, float]]]:
    """Return what happened in each lane, by the lane's name, in seconds."""
    names = {one["tid"]: one["args"]["name"] for one in events if one["name"] == "thread_name"}
    found: dict[str, list[tuple[str, float, float]]] = {name: [] for name in names.values()}
    for one in events:
        if one["ph"] == "X":
            found[names[one["tid"]]].append((one["name"], one["ts"] / 1e6, (one["ts"] + one["dur"]) / 1e6))
    return found


def test_the_file_has_a_lane_for_the_run_each_target_and_each_compiler(tmp_path: Path) -> None:
    write_trace(a_trace(), WHOLE, tmp_path / "trace.json")
    written = read(tmp_path / "trace.json")
    assert written["otherData"] == {"project": "demo", "manywheels": WHOLE.manywheels, "left out": 0}
    events = written["traceEvents"]
    require_valid(events)
    assert lanes_in(events) == {
        "run": [("plan", 0, 1), ("source", 1, 1.5), ("targets", 1.5, 10)],
        CP312: [("prepare", 1.5, 2), ("build", 2, 5), ("waiting", 5, 7), ("verify", 7, 8)],
        CP313: [("waiting", 1.5, 6), ("build", 6, 9)],
        "compiler 2": [("core.c", 2, 3), ("last.c", 3, 4.5)],
        "compiler 10": [("deep.c", 2.5, 4)],
    }
    (unit,) = [one for one in events if one["name"] == "deep.c"]
    assert unit["args"] == {"target": CP312}
    (mark,) = [one for one in events if one["ph"] == "i"]
    assert (mark["name"], mark["ts"], mark["cat"]) == ("core.c", 7_000_000, "shared")
    running = [(one["ts"] / 1e6, one["args"]["running"]) for one in events if one["ph"] == "C"]
    assert running == [(2.0, 1), (2.5, 2), (3.0, 2), (4.0, 1), (4.5, 0)]


def test_each_container_is_a_process_of_its_own() -> None:
    trace = trace_of(
        span(Kind.RUN, "plan", 0, 1), span(Kind.RUN, "image", 1, 3, "", MUSL),
        span(Kind.TARGET, "build", 4, 5, "cp312-musllinux_x86_64", MUSL), span(Kind.COMPILER, "a.c", 4, 5, "1", MUSL),
    )  # fmt: skip
    events = list(events_of(trace, WHOLE))
    require_valid(events)
    processes = {one["pid"]: one["args"]["name"] for one in events if one["name"] == "process_name"}
    assert {one["name"]: processes[one["pid"]] for one in events if one["ph"] == "X"} == {
        "plan": "manywheels", "image": MUSL, "build": MUSL, "a.c": MUSL,
    }  # fmt: skip


def test_a_run_without_anything_has_a_valid_trace() -> None:
    require_valid(list(events_of(Trace(), manifest())))


def flood() -> Trace:
    """More of everything than is kept."""
    trace = Trace()
    for number in range(2 * max(MOST.values())):
        begin = number / 100
        trace.add(span(Kind.COMPILER, "x" * 500, begin, begin + 0.015, str(number % 8 + 1)))
        trace.add(span(Kind.SHARED, "y" * 500, begin, begin, CP312))
        trace.add(span(Kind.TARGET, "build", begin, begin + 0.005, CP312))
        trace.add(span(Kind.RUN, "plan", begin, begin + 0.005))
    return trace


def test_the_file_is_bounded(tmp_path: Path) -> None:
    trace = flood()
    write_trace(trace, WHOLE, tmp_path / "trace.json")
    written = read(tmp_path / "trace.json")
    events = written["traceEvents"]
    require_valid(events)
    assert len(events) < 20_000
    assert (tmp_path / "trace.json").stat().st_size < 5_000_000
    assert written["otherData"]["left out"] == trace.left_out > 0


SPANS = st.lists(
    st.builds(
        Span, kind=st.sampled_from(Kind), name=HOSTILE, begin=st.floats(0, 1e6), seconds=st.floats(0, 1e6),
        lane=st.sampled_from(["1", "2"]), target=HOSTILE, place=st.sampled_from(["", MUSL]),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=scaled(60, least=20), deadline=None)
@given(SPANS)
def test_whatever_was_noted_is_a_valid_trace_without_overlaps_in_a_target(spans: list[Span]) -> None:
    trace = trace_of(*spans)
    events = list(events_of(trace, WHOLE))
    require_valid(events)
    json.dumps(events).encode("ascii")
    for lane in lanes_of(trace, ()):
        if lane.kind is Kind.TARGET:
            assert all(one.end <= two.begin + 1e-6 for one, two in zip(lane.spans, lane.spans[1:], strict=False))


# --- the HTML report --------------------------------------------------------------------------------------------------


def page_of(trace: Trace, folder: Path, whole: Manifest = WHOLE) -> tuple[str, Report]:
    write_report(whole, folder / "dist", folder / "report.html", trace)
    page = (folder / "report.html").read_text("utf-8")
    return page, Report(page)


def test_the_report_draws_every_lane(tmp_path: Path) -> None:
    page, found = page_of(a_trace(), tmp_path)
    for label in ("<b>run</b>", "<b>cp312</b>", "<b>cp313</b>", "<b>compiler 2</b>", "<b>compiler 10</b>"):
        assert page.count(label) == 1, label
    assert found.elements.count("svg") == 5 + 1  # and the axis
    assert "last.c for cp312-manylinux_x86_64 1.5 s" in found.text
    assert "core.c, compiled before" in found.text
    assert "an object that had been compiled" in found.text
    assert 'aria-label="compiler 2: 2 units, 2.5 s"' in page
    assert "not shown" not in found.text


def test_a_failed_stage_is_drawn_as_failed(tmp_path: Path) -> None:
    page, _ = page_of(a_trace(), tmp_path)
    assert page.count('<rect class="failed"') == 1


def test_containers_have_headings(tmp_path: Path) -> None:
    spans = [span(Kind.RUN, "image", 1, 3, "", MUSL), span(Kind.COMPILER, "a.c", 4, 5, "1", MUSL)]
    page, _ = page_of(trace_of(span(Kind.RUN, "plan", 0, 1), *spans), tmp_path)
    assert page.count(f'<li class="place">{MUSL}</li>') == 1


def test_without_a_trace_the_targets_are_drawn_as_the_manifest_has_them(tmp_path: Path) -> None:
    whole = manifest(replace(built("cp312"), began={"build": 0.0}, seconds={"build": 2.0}))
    page, found = page_of(Trace(on=False), tmp_path, whole)
    assert "<b>cp312</b>" in page
    assert "<b>run</b>" not in page
    assert found.elements.count("svg") == 1 + 1


def test_the_report_is_bounded(tmp_path: Path) -> None:
    page, found = page_of(flood(), tmp_path)
    assert found.elements.count("rect") < 10_000
    assert len(page) < 2_000_000
    assert "more spans are not shown" in found.text
    rows = chart_of(WHOLE, flood()).rows
    assert Counter(row.title.partition(" ")[0] for row in rows) == {"run": 1, "cp312": 1, "compiler": 8}


@settings(max_examples=scaled(60, least=20), deadline=None)
@given(HOSTILE)
@example('" onload="x')
@example("<script>x</script>")
def test_no_source_is_called_what_is_markup(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    folder = tmp_path_factory.mktemp("report")

    def lanes(name: str) -> Report:
        return page_of(
            trace_of(
                span(Kind.RUN, name, 0, 1, "", MUSL), span(Kind.TARGET, name, 0, 1, CP312, MUSL),
                span(Kind.COMPILER, name, 0, 1, "1", MUSL), span(Kind.SHARED, name, 1, 1, CP312, MUSL),
            ),
            folder,
        )[1]  # fmt: skip

    honest, hostile = lanes("core.c"), lanes(words)
    assert Counter(hostile.elements) - Counter(honest.elements) <= Counter(["li", "i"])  # a stage's own colour
    assert hostile.attributes == honest.attributes
