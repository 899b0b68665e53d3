"""GitHub's runner and GitLab read no command in the output of a build or the name of a project."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from manywheels.cli.guard import print_error
from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.errors import BuildFailed
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.installer_files import Caller
from manywheels.plan.options import resolve
from manywheels.plan.setting import Setting
from manywheels.plan.settings import Settings
from manywheels.plan.targets import Plan
from manywheels.report.live import LiveReporter
from manywheels.report.plain import Fold, PlainReporter, github_group, gitlab_section, unfolded
from manywheels.report.plan import Shown, as_table
from manywheels.wheels.manifest import Failure, TargetRecord, TargetState
from scale import scaled
from unit.ci_logs import Command, github_commands, gitlab_sections, parse
from unit.helpers import built, failed, manifest, planned, project, wheel_record

# Lines that are CI commands if printed as they are.
COMMANDS = [
    "::error::x",
    "  ::add-mask::x",
    "\t::set-output name=x::y",
    "\xa0::error::x",
    "\u3000\u2009::error::x",
    "\x85::error::x",
    "\u2028::error::x",
    "::ERROR file=a,line=1::x",
    "\r::set-env name=PATH::x",
    "\n::stop-commands::x",
    "\r\n::add-path::x",
    "text\r::group::x",
    "##[error]x",
    "text ##[add-mask]x",
    "###[group]x",
    "##[set-env name=x]y",
    "####[debug]x##[error]y",
]
SECTIONS = [
    "section_start:1:x\r\x1b[0Kx",
    "text section_end:1:x\r\x1b[0K",
    "section_start:1:x[collapsed=true]\r\x1b[0Kx",
    "section_section_start:1:x\r\x1b[0Kx",
]
NEARLY = ["#\u200b#[error]x", "\u200b::error::x", "\xad:\xad:error::x", ":\u200b:error::x", "\udc80::error::x",
          "\x00::error::x"]  # fmt: skip
TRAPS = COMMANDS + SECTIONS + NEARLY
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*TRAPS, "::", "##[", "#", ":", "]", "error", "section_", "start:1:x", "\r\x1b[0K", "\\"]),
        st.sampled_from(["\r", "\n", "\xa0", "\u200b", "\xad", "\x85", "\u2028", "\ufeff", " "]),
        st.characters(),
    ),
    max_size=12,
).map("".join)
Place = Callable[[str], TargetRecord]
PLACES: dict[str, Place] = {
    "excerpt": lambda hostile: failed(excerpt=(hostile, f"x {hostile}")),
    "problem": lambda hostile: failed(problem=hostile),
    "remedy": lambda hostile: failed(remedy=hostile),
    "warning": lambda hostile: built(warnings=(hostile,)),
    "wheel": lambda hostile: replace(built(), wheel=replace(wheel_record(), name=f"{hostile}.whl", glibc=hostile)),
    "stage": lambda hostile: replace(
        failed(), failure=Failure(code="MW101", stage=hostile, problem="x", remedy="", excerpt=())
    ),
    "target": lambda hostile: replace(built(), identifier=hostile),
    "other": lambda hostile: replace(built(), state=TargetState.REUSED, built_for=hostile),
}


def said(record: TargetRecord, fold: Fold, title: str = "demo", output: str = "/out/dist") -> str:
    """Return the reporter's output for a run with this record."""
    stream = io.StringIO()
    reporter = PlainReporter(Path(output), stream, Cancellation(), verbose=False, fold=fold)
    reporter.started(Plan(targets=tuple(planned("cp312")), excluded=()), title)
    reporter.finished(record)
    reporter.finished(replace(record, identifier="cp313-manylinux_x86_64"))
    reporter.closed(manifest(record))
    stream.getvalue().encode()  # and a terminal must be able to take it
    return stream.getvalue()


def only_groups(commands: list[Command]) -> bool:
    return all(found.name == "endgroup" or found.data.startswith(("✓ ", "✗ ")) for found in commands) and [
        found.name for found in commands
    ] == ["group", "endgroup"] * (len(commands) // 2)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_port_reads_commands(line: str) -> None:
    assert github_commands(line)


@pytest.mark.parametrize("mark", SECTIONS)
def test_the_port_reads_sections(mark: str) -> None:
    assert gitlab_sections(mark)


def test_the_port_reads_what_a_command_carries() -> None:
    assert parse(" ::error file=a%2Cb.c,line=3,title=x%3A y::50 %25%0Anext") == Command(
        name="error", properties={"file": "a,b.c", "line": "3", "title": "x: y"}, data="50 %\nnext"
    )


@settings(max_examples=scaled(400, least=20), deadline=None)
@given(HOSTILE)
def test_no_text_is_a_command(hostile: str) -> None:
    for shown in (text.quote(hostile), text.sanitize(hostile)):
        assert github_commands(shown) == []
        assert gitlab_sections(shown) == []
        assert len(shown.splitlines()) <= 1
        shown.encode()


@pytest.mark.parametrize("place", PLACES)
def test_no_record_prints_a_ci_command(place: str) -> None:
    for trap in TRAPS:
        assert github_commands(said(PLACES[place](trap), unfolded, trap)) == []
        assert only_groups(github_commands(said(PLACES[place](trap), github_group, trap)))
        marks = gitlab_sections(said(PLACES[place](trap), gitlab_section, trap))
        assert [mark for mark, _ in marks] == ["start", "end"] * (len(marks) // 2)
        assert len(marks) <= 4


@settings(max_examples=scaled(150, least=20), deadline=None)
@given(place=st.sampled_from(sorted(PLACES)), hostile=HOSTILE, title=HOSTILE)
def test_no_run_prints_a_ci_command(place: str, hostile: str, title: str) -> None:
    record = PLACES[place](hostile)
    assert only_groups(github_commands(said(record, github_group, title)))
    assert github_commands(said(record, unfolded, title)) == []
    assert gitlab_sections(said(record, unfolded, title)) == []


@settings(max_examples=scaled(100, least=20), deadline=None)
@given(place=st.sampled_from(sorted(PLACES)), hostile=HOSTILE)
def test_no_output_folder_prints_a_ci_command(place: str, hostile: str) -> None:
    record = PLACES[place](hostile)
    assert only_groups(github_commands(said(record, github_group, output=hostile)))
    assert github_commands(said(record, unfolded, output=hostile)) == []
    assert gitlab_sections(said(record, unfolded, output=hostile)) == []


@settings(max_examples=scaled(100, least=20), deadline=None)
@given(HOSTILE)
@example(" x ".join(["::error::x"] * 40))  # which goes on in lines of its own
@example("[/x]")
def test_no_plan_prints_a_ci_command(hostile: str) -> None:
    options = resolve({}, project(), environment={})
    hook = Setting(name="before-all", value=Value(value=hostile, origin=Origin(OriginKind.COMMAND_LINE, hostile)))
    settings = Settings(rows=(*options.settings.rows, hook))
    options = replace(options, notes=(hostile,), left_out=(("cp312", "x"),), settings=settings)
    stream = io.StringIO()
    caller = Caller(environment={"PIP_INDEX_URL": hostile}, origins={"PIP_INDEX_URL": hostile}, notes=(hostile,))
    with redirect_stdout(stream):
        plan = Plan(targets=tuple(planned("cp312")), excluded=())
        named = replace(project(), name=hostile)
        as_table(Shown(plan=plan, project=named, options=options, caller=caller, engine="container"), explain=True)
    assert github_commands(stream.getvalue()) == []
    assert gitlab_sections(stream.getvalue()) == []
    stream.getvalue().encode()


def test_a_title_is_not_read_as_markup() -> None:
    reporter = LiveReporter(Path("/out/dist"), Cancellation(), verbose=False)
    with redirect_stdout(io.StringIO()):
        reporter.started(Plan(targets=tuple(planned("cp312")), excluded=()), "[/x] [bold]y")
        reporter.closed(manifest(built()))


@settings(max_examples=scaled(100, least=20), deadline=None)
@given(HOSTILE)
def test_no_log_prints_a_ci_command(tmp_path_factory: pytest.TempPathFactory, hostile: str) -> None:
    output = tmp_path_factory.mktemp("dist", numbered=True)
    (output / "logs").mkdir()
    log = f"before\n{hostile}\nafter\n".encode("utf-8", "surrogatepass")
    (output / str(built().log)).write_bytes(log + b"\xff\n::error::x")
    stream = io.StringIO()
    PlainReporter(output, stream, Cancellation(), verbose=True, fold=github_group).finished(built())
    assert [found.name for found in github_commands(stream.getvalue())] == ["group", "endgroup"]
    assert gitlab_sections(stream.getvalue()) == []


@settings(max_examples=scaled(100, least=20), deadline=None)
@given(HOSTILE, HOSTILE)
def test_no_error_prints_a_ci_command(message: str, remedy: str) -> None:
    stream = io.StringIO()
    with redirect_stderr(stream):
        print_error(BuildFailed(message, remedy=remedy))
    assert github_commands(stream.getvalue()) == []
    assert gitlab_sections(stream.getvalue()) == []


@pytest.mark.parametrize("line", ["int section_size = a::b;", "cross_section_area", "[##]", "a # [b]", "❤️ ünï 汉字"])
def test_harmless_text_is_unchanged(line: str) -> None:
    assert text.sanitize(line) == line
