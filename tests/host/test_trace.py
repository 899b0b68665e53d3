"""A real run's trace: what ran when, in the run, in each target and in each compiler."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from host.test_compiler_cache import gcc_house  # noqa: F401 - a fixture
from host.test_toolchain import needs_gcc
from manywheels.build.events import EventReader
from manywheels.build.trace import Kind, Trace, TracePart
from unit.build.test_events import Recorder
from unit.helpers import target
from unit.report.test_trace import lanes_in, require_valid

if TYPE_CHECKING:
    from host.conftest import Program
    from host.test_compiler_cache import House

STAGES = ["prepare", "build", "repair", "verify", "deliver"]


def test_a_trace_has_each_targets_stages_and_what_was_compiled(program: Program) -> None:
    trace, report = program.folder / "new" / "trace.json", program.folder / "report.html"
    options = ("--trace", trace, "--report", report, "--engine", "host")
    finished = program.build("c_setuptools", *options, tags="cp39 cp312")
    assert finished.status == 0, finished.text
    events: list[dict[str, Any]] = json.loads(trace.read_text("utf-8"))["traceEvents"]
    require_valid(events)
    lanes = lanes_in(events)
    assert [name for name, *_ in lanes["run"]] == ["plan", "isolation", "source", "compilers", "targets"]
    _, began, ended = lanes["run"][-1]
    for built in finished.targets.values():
        found = [name for name, *_ in lanes[built["identifier"]] if name not in {"waiting", "fetch"}]
        assert found == STAGES
        assert all(began <= begin <= end <= ended for _, begin, end in lanes[built["identifier"]])
    compiled = [name for lane, units in lanes.items() if lane.startswith("compiler ") for name, *_ in units]
    assert len(compiled) == finished.manifest["compilations"]["compiled"] > 0
    assert {*compiled} <= {"_core.c", "_deep.c"}
    page = report.read_text("utf-8")
    assert "<b>run</b>" in page
    assert "<b>compiler " in page


def test_a_part_of_a_run_tells_its_trace_to_the_program_that_started_it(program: Program) -> None:
    """As in a container, but here: what is printed there is what is read outside."""
    program.require("cp312")
    own = target("cp312")
    source, output = program.copy("c_setuptools"), program.new_folder("dist")
    options = (f"--part={own.identifier}", "--traced", "--report=", "--trace=", "--engine=host", "--output-dir", output)
    trace, said = Trace(), list[str]()
    part = TracePart(trace, "the container", {own.identifier})
    reader = EventReader({own.identifier: own}, output, Recorder(), said.append, part)
    part.step("program")
    process = program.start("build", source, *options)
    assert process.stdout is not None
    for line in process.stdout:
        assert reader.feed(1, line.encode())
    _, errors = process.communicate()
    assert reader.manifest is not None, errors
    assert said == []
    by_kind = {kind: [span.name for span in trace.spans if span.kind is kind] for kind in Kind}
    assert by_kind[Kind.RUN] == ["program", "plan", "isolation", "source", "compilers", "targets"]
    assert [name for name in by_kind[Kind.TARGET] if name not in {"waiting", "fetch"}] == STAGES
    assert sorted(by_kind[Kind.COMPILER]) == ["_core.c", "_deep.c"]
    assert {span.place for span in trace.spans} == {"the container"}
    assert all(span.seconds > 0 for span in trace.spans)
    (building,) = [span for span in trace.spans if span.name == "targets"]
    stages = [span for span in trace.spans if span.kind is not Kind.RUN]
    assert all(building.begin <= span.begin <= span.end <= building.end for span in stages)


@needs_gcc
def test_an_object_that_had_been_compiled_is_a_mark_of_the_target_that_got_it(
    gcc_house: House,  # noqa: F811
) -> None:
    trace = Trace()
    gcc_house.cache._trace = gcc_house.cache._pool._trace = trace
    (gcc_house.folder("a") / "sub").mkdir()
    gcc_house.write("unit.c", "int f(void) { return 1; }\n")
    (gcc_house.folder("a") / "sub" / "\x1b##[x].c").write_text("int f(void) { return 1; }\n")
    gcc_house.compile("a", "cc", "-c", "unit.c")
    gcc_house.compile("b", "cc", "-c", "unit.c")
    gcc_house.compile("a", "cc", "-c", str(Path("sub", "\x1b##[x].c")))
    a, b = (socket.name for socket in gcc_house.sockets.values())
    assert [(span.kind, span.name, span.lane, span.target) for span in trace.spans] == [
        (Kind.COMPILER, "unit.c", "3", a), (Kind.SHARED, "unit.c", b, ""), (Kind.COMPILER, " ##\\[x].c", "3", a),
    ]  # fmt: skip
