"""A run's events as lines: what is written in a container is what the reporter outside is told."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.build import events
from manywheels.build.events import EventReader, EventWriter
from manywheels.build.trace import Kind, Trace, TracePart
from manywheels.errors import EngineError
from manywheels.plan.targets import Plan, Target
from manywheels.wheels.manifest import Manifest, Shard, TargetRecord, TargetState, TestRun
from unit.helpers import built, failed, manifest, planned, target

INSIDE, OUTSIDE = Path("/output"), Path("/home/me/dist")
TARGETS = {target(tag).identifier: target(tag) for tag in ("cp311", "cp312")}
STDOUT, STDERR = 1, 2


class Recorder:
    """A reporter that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def prepared(self, name: str, log: Path, seconds: float) -> None:
        self.told.append(("prepared", name, log, seconds))

    def started(self, plan: Plan, title: str) -> None:
        self.told.append(("started", plan, title))

    def entered(self, target: Target, stage: str) -> None:
        self.told.append(("entered", target, stage))

    def finished(self, record: TargetRecord) -> None:
        self.told.append(("finished", record))

    def closed(self, manifest: Manifest) -> None:
        self.told.append(("closed", manifest))

    def stop(self) -> None:
        self.told.append(("stop",))


class Wire:
    """A reader, with what it passes on."""

    def __init__(self, targets: Mapping[str, Target] = TARGETS) -> None:
        self.reporter, self.lines = Recorder(), list[str]()
        self.reader = EventReader(targets, OUTSIDE, self.reporter, self.lines.append)

    def feed(self, text: str | bytes, stream: int = STDOUT) -> bool:
        return self.reader.feed(stream, text.encode() if isinstance(text, str) else text)


def written(tell: Callable[[EventWriter], object]) -> str:
    stream = io.StringIO()
    tell(EventWriter(stream, INSIDE))
    return stream.getvalue()


def event(**facts: object) -> str:
    return f"\x1e{json.dumps(facts)}\n"


FULL = replace(
    built("cp312", warnings=("beware",)),
    built_for="cp311",
    began={"build": 1.5},
    checks={"MW301": (), "MW302": ("x",)},
    tests=TestRun(passed=True, seconds=2.0, log="logs/cp312-tests.log", count=3, failed=("a", "b")),
)
EVENTS: dict[str, tuple[Callable[[EventWriter], object], tuple[Any, ...]]] = {
    "prepared": (lambda to: to.prepared("before-all", INSIDE / "logs/before-all.log", 1.25),
                 ("prepared", "before-all", OUTSIDE / "logs/before-all.log", 1.25)),
    "entered": (lambda to: to.entered(target("cp312"), "build"), ("entered", target("cp312"), "build")),
    "built": (lambda to: to.finished(FULL), ("finished", FULL)),
    "failed": (lambda to: to.finished(failed("cp311", problem="a\n\x1e\x00\x85\u2028b é")),
               ("finished", failed("cp311", problem="a\n\x1e\x00\x85\u2028b é"))),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_each_event_is_told_as_it_was_written(name: str) -> None:
    tell, expected = EVENTS[name]
    wire, text = Wire(), written(tell)
    assert text.count("\n") == 1
    assert wire.feed(text)
    assert wire.reporter.told == [expected]
    assert wire.lines == []


def test_the_last_event_is_the_manifest_which_is_not_reported_here() -> None:
    whole = replace(manifest(built("cp311"), FULL), warnings=("w",), planned=("x", "y"), shard=Shard(index=1, count=2))
    wire = Wire()
    assert wire.reader.manifest is None
    wire.feed(written(lambda to: to.closed(whole)))
    assert wire.reader.manifest == whole
    assert wire.reader.records == {record.identifier: record for record in whole.targets}
    assert wire.reporter.told == []


def test_what_the_program_outside_tells_itself_is_not_written() -> None:
    assert written(lambda to: to.started(Plan(targets=tuple(planned("cp312")), excluded=()), "demo")) == ""
    assert written(lambda to: to.stop()) == ""


def test_records_are_kept_for_a_container_that_does_not_come_to_its_end() -> None:
    wire = Wire()
    wire.feed(written(lambda to: to.finished(failed("cp311"))))
    wire.feed(written(lambda to: to.finished(built("cp312"))))
    reused = replace(built("cp312"), state=TargetState.REUSED)
    wire.feed(written(lambda to: to.finished(reused)))
    assert wire.reader.records == {
        target("cp311").identifier: failed("cp311"), target("cp312").identifier: reused,
    }  # fmt: skip
    assert wire.reader.manifest is None


def test_lines_come_in_chunks_of_any_size() -> None:
    texts = [written(tell) for tell, _ in EVENTS.values()]
    content = "".join(["note: é\n", texts[0], "plain\r\n", *texts[1:], "last"]).encode()
    for size in (1, 2, 7, len(content)):
        wire = Wire()
        for start in range(0, len(content), size):
            assert wire.feed(content[start : start + size])
        assert wire.lines == ["note: é", "plain"]
        wire.reader.end()
        assert wire.lines == ["note: é", "plain", "last"]
        assert wire.reporter.told == [expected for _, expected in EVENTS.values()]


def test_an_event_without_an_end_is_taken_at_the_end() -> None:
    tell, expected = EVENTS["entered"]
    wire = Wire()
    wire.feed(written(tell).rstrip("\n"))
    assert wire.reporter.told == []
    wire.reader.end()
    wire.reader.end()
    assert wire.reporter.told == [expected]


def test_streams_do_not_mix() -> None:
    tell, expected = EVENTS["entered"]
    text = written(tell)
    wire = Wire()
    wire.feed(text[:10])
    wire.feed("warn", STDERR)
    wire.feed(text[10:])
    wire.feed("ing\n", STDERR)
    assert wire.reporter.told == [expected]
    assert wire.lines == ["warning"]


def test_other_lines_are_passed_on_as_they_are() -> None:
    wire = Wire()
    wire.feed('{"event": "entered"}\n\n x\x1e{}\n' + "\x1b[1mbold\n")
    wire.feed(b"\xff\xfe\n")
    assert wire.lines == ['{"event": "entered"}', "", " x\x1e{}", "\x1b[1mbold", "\ufffd\ufffd"]
    assert wire.reporter.told == []


def test_names_are_shown_without_commands_for_a_ci() -> None:
    wire, hostile = Wire(), "a\n::error::b\x1b[2J##[error]" + "x" * 1_000
    wire.feed(event(event="entered", target=target("cp312").identifier, stage=hostile))
    wire.feed(event(event="prepared", name=hostile, log="logs/x.log", seconds=1))
    for shown in (wire.reporter.told[0][2], wire.reporter.told[1][1]):
        assert not re.search(r"##\[|[\x00-\x1f]|^\s*::", shown)
        assert len(shown) < 100


CP312 = target("cp312").identifier
STRANGE = {
    "an unknown event": event(event="exploded"),
    "no event": event(target=CP312),
    "no object": "\x1e[1]\n",
    "text": '\x1e"event"\n',
    "no JSON": "\x1e{\n",
    "nothing": "\x1e\n",
    "too deep": "\x1e" + "[" * 100_000 + "\n",
    "a foreign target": event(event="entered", target="cp312-musllinux_x86_64", stage="build"),
    "a target that is none": event(event="entered", target=[1], stage="build"),
    "a foreign record": written(lambda to: to.finished(built("cp39"))),
    "a record that is none": event(event="finished", record={"identifier": CP312}),
    "a record's log elsewhere": written(lambda to: to.finished(replace(built("cp312"), log="../x.log"))),
    "a foreign record in a manifest": written(lambda to: to.closed(manifest(built("cp312"), built("cp39")))),
    "a manifest that is none": event(event="closed", manifest={}),
    "seconds that are none": event(event="prepared", name="before-all", log="logs/x.log", seconds="long"),
    "endless seconds": event(event="prepared", name="before-all", log="logs/x.log", seconds=1e999),
    **{
        f"a log at {log}": event(event="prepared", name="before-all", log=log, seconds=1)
        for log in ("/etc/passwd", "../x.log", "logs/../../x", "logs/..", "x.log", "logs/a/b.log", "", "/logs", 3)
    },
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_not_known_here_is_an_error_of_the_engine(name: str) -> None:
    wire = Wire()
    with pytest.raises(EngineError) as caught:
        wire.feed(STRANGE[name])
    assert caught.value.message.startswith("The program in the container reported what is not known here: ")
    assert len(caught.value.message) < 300
    assert wire.reader.manifest is None
    assert wire.reporter.told == []


def test_a_line_that_is_too_long_ends_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LONGEST", 100)
    wire = Wire()
    assert wire.feed("x" * 60)
    assert wire.feed("y" * 60 + "\n" + "z" * 100)
    assert not wire.feed("z")
    assert [len(line) for line in wire.lines] == [120]


def test_lines_of_several_threads_stay_whole() -> None:
    stream = io.StringIO()
    writer = EventWriter(stream, INSIDE)

    def tell() -> None:
        for _ in range(50):
            writer.finished(FULL)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire = Wire()
    wire.feed(stream.getvalue())
    assert wire.reporter.told == [("finished", FULL)] * 200


# --- a trace ----------------------------------------------------------------------------------------------------------


def traced_wire() -> tuple[Wire, Trace]:
    wire, trace = Wire(), Trace()
    part = TracePart(trace, "musllinux_1_2_x86_64", TARGETS)
    wire.reader = EventReader(TARGETS, OUTSIDE, wire.reporter, wire.lines.append, part)
    return wire, trace


def test_a_trace_is_told_before_the_manifest() -> None:
    stream, inside = io.StringIO(), Trace()
    writer = EventWriter(stream, INSIDE, inside)
    with inside.span(Kind.TARGET, "build", lane=CP312):
        inside.shared(CP312, "core.c")
    writer.closed(manifest(built("cp312")))
    wire, outside = traced_wire()
    wire.feed(stream.getvalue())
    assert wire.reader.manifest == manifest(built("cp312"))
    assert {(span.kind, span.name, span.lane, span.place) for span in outside.spans} == {
        (Kind.TARGET, "build", CP312, "musllinux_1_2_x86_64"), (Kind.SHARED, "core.c", CP312, "musllinux_1_2_x86_64"),
    }  # fmt: skip


def test_without_being_asked_nothing_is_told_of_a_trace() -> None:
    assert "trace" not in written(lambda to: to.closed(manifest(built("cp312"))))
    assert written(lambda _: None) == ""


UNASKED = {
    "its beginning": event(event="began", seconds=0),
    "a trace": event(event="trace", spans=[], left_out=0),
}


@pytest.mark.parametrize("name", UNASKED)
def test_nothing_is_taken_of_a_trace_that_was_not_asked_for(name: str) -> None:
    with pytest.raises(EngineError):
        Wire().feed(UNASKED[name])


BEGAN = event(event="began", seconds=0)
STRANGE_TRACES = {
    "no beginning": event(event="trace", spans=[], left_out=0),
    "no spans": BEGAN + event(event="trace", left_out=0),
    "a foreign target": BEGAN + event(event="trace", spans=[["target", "build", 0, 1, "cp39-x", ""]], left_out=0),
    "a beginning that is none": event(event="began", seconds="x"),
    "a beginning without seconds": event(event="began"),
}


@pytest.mark.parametrize("name", STRANGE_TRACES)
def test_a_strange_trace_is_an_error_of_the_engine(name: str) -> None:
    wire, trace = traced_wire()
    with pytest.raises(EngineError):
        wire.feed(STRANGE_TRACES[name])
    assert trace.spans == ()
