"""The console's texts, blocks and tables; no build can print CI commands through them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from manywheels.core import text
from manywheels.core.cancellation import Cancellation
from manywheels.plan.targets import Plan, PlannedTarget, Refusal
from manywheels.report import wording
from manywheels.report.live import LiveReporter
from manywheels.report.plain import PlainReporter, github_group, unfolded
from manywheels.report.rows import plan_remarks, warnings
from manywheels.wheels.manifest import Failure, TargetRecord, TargetState, TestRun
from unit.helpers import built, failed, manifest, planned, target, wheel_record

OUTPUT = Path("/out/dist")
HOSTILE = [
    "::set-output name=x::y",
    "  ::add-mask::x",
    "\n::set-output name=x::y",
    "\r::set-output name=x::y",
    "\r\n::stop-commands::x",
    "\x0b::error::x",
    "\x0c::error::x",
    "\x1c::error::x",
    "\x85::error::x",
    "\u2028::error::x",
    "\u2029::error::x",
    "##[error]x",
    "a ##[add-mask]x",
    "###[group]x",
    "#\x00#[group]x",
    "section_start:1:x[collapsed=true]\r\x1b[0Kx",
    "a section_end:1:x\r\x1b[0K",
    "\x1b[2J\x1b[31mred",
    "\x1b]8;;http://evil.example\x07link",
    "\x08\x08\x08ok",
    "\x9b2J",
]


def is_harmless(output: str, *, grouped: bool = False) -> bool:
    """Whether no line is a command to GitHub's runner, GitLab's or a terminal."""
    for line in re.split(r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", output):
        own = grouped and (line == "::endgroup::" or line.startswith(("::group::✓ ", "::group::✗ ")))
        if line.lstrip().startswith("::") and not own:
            return False
    return not re.search(r"##\[|section_(?:start|end):|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", output)


class Spoken:
    """A PlainReporter and its output."""

    def __init__(self, *, output: Path = OUTPUT, verbose: bool = False, grouped: bool = False) -> None:
        self._stream = io.StringIO()
        fold = github_group if grouped else unfolded
        self.reporter = PlainReporter(output, self._stream, Cancellation(), verbose=verbose, fold=fold)

    @property
    def lines(self) -> list[str]:
        return self._stream.getvalue().splitlines()

    @property
    def whole(self) -> str:
        return self._stream.getvalue()


def a_plan(*entries: PlannedTarget, excluded: tuple[tuple[str, Refusal], ...] = ()) -> Plan:
    return Plan(targets=entries, excluded=tuple((target(tag), refusal) for tag, refusal in excluded))


def absent(tag: str) -> PlannedTarget:
    return PlannedTarget(target=target(tag), interpreter=None, asked_by_name=False)


# --- harmless ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", HOSTILE)
def test_quoted_lines_are_not_commands(line: str) -> None:
    quoted = text.quote(line)
    assert is_harmless(quoted)
    assert all(part.startswith("  │ ") for part in quoted.splitlines())


@pytest.mark.parametrize("line", ["int x = a::b;", "spam.c:9:5: error: 'fooo'", "\tindented", "# 50 %", "", "[##]"])
def test_harmless_lines_are_quoted_unchanged(line: str) -> None:
    assert text.quote(line) == f"  │ {line}"


REPORTS: dict[str, Callable[[str], TargetRecord]] = {
    "excerpt": lambda hostile: failed(excerpt=(hostile, f"x {hostile}")),
    "problem": lambda hostile: failed(problem=hostile),
    "problem, later": lambda hostile: failed(problem=f"spam.c:9:5: error: {hostile}"),
    "warning": lambda hostile: built(warnings=(hostile,)),
}


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("place", REPORTS)
def test_no_build_prints_a_ci_command(place: str, grouped: bool) -> None:  # noqa: FBT001
    """Compilers quote sources; checks quote names of members, symbols and libraries: the project chooses all of it."""
    heard = []
    for hostile in HOSTILE:
        spoken, record = Spoken(grouped=grouped), REPORTS[place](hostile)
        spoken.reporter.finished(record)
        spoken.reporter.finished(replace(record, identifier="cp313-manylinux_x86_64"))
        spoken.reporter.closed(manifest(record))
        heard += [] if is_harmless(spoken.whole, grouped=grouped) else [hostile]
    assert heard == []


def test_no_log_prints_a_ci_command(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    heard = []
    for hostile in HOSTILE:
        (tmp_path / str(built().log)).write_bytes(f"before\n{hostile}\nafter\n".encode() + b"\xff\n::error::x")
        spoken = Spoken(output=tmp_path, verbose=True)
        spoken.reporter.finished(built())
        heard += [] if is_harmless(spoken.whole) else [hostile]
        assert {"  │ before", "  │ after"} < set(spoken.lines)
    assert heard == []


def test_no_project_name_prints_a_ci_command() -> None:
    heard = []
    for hostile in HOSTILE:
        spoken = Spoken()
        spoken.reporter.started(a_plan(*planned("cp312")), f"{hostile} for manylinux_2_28, zig")
        heard += [] if is_harmless(spoken.whole) else [hostile]
    assert heard == []


# --- words and numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "1 kB"), (1, "1 kB"), (499, "1 kB"), (417_000, "417 kB"), (417_499, "417 kB"), (999_400, "999 kB"),
     (999_600, "1.0 MB"), (1_000_000, "1.0 MB"), (3_240_000, "3.2 MB"), (1_234_000_000, "1234.0 MB")],
)  # fmt: skip
def test_sizes(count: int, expected: str) -> None:
    assert text.size(count) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0.0 s"), (8.25, "8.2 s"), (99.94, "99.9 s"), (99.96, "1 min 40 s"), (125, "2 min 05 s"),
     (119.7, "2 min 00 s"), (3600, "60 min 00 s")],
)  # fmt: skip
def test_durations(seconds: float, expected: str) -> None:
    assert text.duration(seconds) == expected


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", "manylinux_2_17"),
        ("manylinux_2_28_x86_64.manylinux_2_5_x86_64", "manylinux_2_5"),
        ("manylinux_2_28_aarch64", "manylinux_2_28"),
        ("musllinux_1_2_x86_64", "musllinux_1_2"),
        ("linux_x86_64", "linux_x86_64"),
    ],
)
def test_the_oldest_platform(platform: str, expected: str) -> None:
    assert wording.platforms(replace(built(), wheel=wheel_record(platform=platform))) == expected
    assert wording.platforms(failed()) == ""


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (built("cp312", seconds=8.25), "cp312-manylinux_x86_64: built in 8.2 s"),
        (failed("cp39", problem="It broke."), "cp39-manylinux_x86_64: failed in build in 2.0 s (MW101): It broke."),
        (
            TargetRecord(
                identifier="cp313-manylinux_x86_64", state=TargetState.REUSED, built_for="cp39-manylinux_x86_64"
            ),
            "cp313-manylinux_x86_64: served by cp39",
        ),
        (
            TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.NO_INTERPRETER),
            "cp39-manylinux_x86_64: missing: no interpreter",
        ),
        (
            TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.CANCELLED),
            "cp39-manylinux_x86_64: cancelled",
        ),
    ],
)
def test_headlines(record: TargetRecord, expected: str) -> None:
    assert wording.headline(record) == expected


def test_waiting_does_not_count() -> None:
    assert wording.total(built(seconds=3.0)) == 3.0


def test_the_total_names_what_is_missing() -> None:
    one = wording.summary(manifest(built("cp312"), seconds=8.3))
    assert one.startswith("1 wheel in 8.3 s")
    absent_one = TargetRecord(identifier="cp310-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    stopped = TargetRecord(identifier="cp311-manylinux_x86_64", state=TargetState.CANCELLED)
    several = wording.summary(manifest(built("cp312"), built("cp313"), failed("cp39"), absent_one, stopped))
    assert several.startswith("2 wheels in 12.3 s")
    assert "1 failed" in several
    assert re.search(r"1 (?:without|no) .*interpreter", several) or "interpreter" in several
    assert "1 cancelled" in several
    assert "failed" not in one


def test_a_failure_is_explained_with_its_lines_remedy_and_log() -> None:
    assert wording.explain(failed("cp312", excerpt=("a", "b"), remedy="Mend it."), OUTPUT) == [
        "  │ a",
        "  │ b",
        "  Mend it.",
        "  Log: /out/dist/logs/cp312-manylinux_x86_64.log",
    ]
    assert wording.explain(built(), OUTPUT) == []


# --- the plain reporter -----------------------------------------------------------------------------------------------


def test_the_plan_is_announced() -> None:
    spoken = Spoken()
    plan = a_plan(*planned("cp311", "cp312"), absent("cp310"), excluded=(("cp39", Refusal.REQUIRES_PYTHON),))
    spoken.reporter.started(plan, "demo for manylinux_2_28, zig")
    assert spoken.lines == [
        "demo for manylinux_2_28, zig: cp311 cp312",
        "warning: no interpreter on this machine for cp310: these wheels will be missing",
        "left out by the project's requires-python: cp39",
    ]


def test_targets_skipped_on_purpose_are_not_remarked() -> None:
    assert plan_remarks(a_plan(*planned("cp311"), excluded=(("cp39", Refusal.SKIPPED),))) == []
    others = a_plan(*planned("cp311"), excluded=(("cp314t", Refusal.NOT_DEFAULT), ("cp315", Refusal.NOT_DEFAULT)))
    assert plan_remarks(others) == ["not in the default `build`, but here: cp314t cp315 (`--build all` includes them)"]


def test_what_takes_long_is_announced() -> None:
    spoken = Spoken()
    for stage in ("prepare", "build", "waiting", "repair", "verify", "deliver"):
        spoken.reporter.entered(target("cp312"), stage)
    assert spoken.lines == ["cp312-manylinux_x86_64: building", "cp312-manylinux_x86_64: repairing"]


def test_a_built_target_is_one_block() -> None:
    spoken = Spoken()
    spoken.reporter.finished(built("cp312", seconds=8.25))
    assert spoken.lines == [
        "✓ cp312-manylinux_x86_64: built in 8.2 s",
        "  demo-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl (417 kB)",
    ]


def test_on_github_a_block_is_a_group() -> None:
    spoken = Spoken(grouped=True)
    spoken.reporter.finished(built("cp312", seconds=8.25))
    assert spoken.lines[0] == "::group::✓ cp312-manylinux_x86_64: built in 8.2 s"
    assert spoken.lines[-1] == "::endgroup::"
    assert len(spoken.lines) == 3


def test_the_same_failure_is_shown_once() -> None:
    spoken = Spoken()
    for tag in ("cp311", "cp312", "cp313"):
        spoken.reporter.finished(failed(tag))
    assert spoken.whole.count("  │ spam.c:9:5: error: unknown type name 'fooo'") == 1
    assert spoken.whole.count("Mend it.") == 1
    assert spoken.lines[-2:] == [
        "✗ cp313-manylinux_x86_64: failed in build in 2.0 s (MW101): spam.c:9:5: error: unknown type name",
        "  same as cp311-manylinux_x86_64; log: /out/dist/logs/cp313-manylinux_x86_64.log",
    ]


def test_another_failure_is_shown_too() -> None:
    spoken = Spoken()
    spoken.reporter.finished(failed("cp311"))
    spoken.reporter.finished(failed("cp312", problem="eggs.c:1: error: x", excerpt=("eggs.c:1: error: x",)))
    assert "  │ eggs.c:1: error: x" in spoken.lines


def test_verbose_prints_the_whole_log(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    log = "".join(f"line {number}\n" for number in range(300))
    record = built()
    (tmp_path / str(record.log)).write_text(log)
    (tmp_path / "logs/test.log").write_text("2 passed\n")
    tests = TestRun(passed=True, seconds=1.0, log="logs/test.log", count=2)
    spoken = Spoken(output=tmp_path, verbose=True)
    spoken.reporter.finished(replace(record, tests=tests))
    assert spoken.lines[1:302] == [*(f"  │ line {number}" for number in range(300)), "  │ 2 passed"]


@pytest.mark.parametrize("verbose", [True, False])
def test_before_alls_output_is_a_group_of_its_own(tmp_path: Path, *, verbose: bool) -> None:
    log = tmp_path / "before-all.log"
    log.write_text("$ make\nmade\n")
    spoken = Spoken(output=tmp_path, verbose=verbose, grouped=True)
    spoken.reporter.prepared("before-all", log, 1.5)
    expected = ["::group::before-all", "  │ $ make", "  │ made", "::endgroup::"]
    assert spoken.lines == (expected if verbose else [])


def test_the_table_and_the_total() -> None:
    spoken = Spoken()
    reused = TargetRecord(
        identifier="cp313-manylinux_x86_64", state=TargetState.REUSED, wheel=wheel_record("cp312"), built_for="cp312-x"
    )
    whole = manifest(built("cp312", seconds=8.25), reused, failed("cp39"), seconds=12.3)
    spoken.reporter.closed(whole)
    table = [line for line in spoken.lines if line][:4]
    assert [line.split()[:2] for line in table] == [
        ["target", "result"],
        ["cp312-manylinux_x86_64", "built"],
        ["cp313-manylinux_x86_64", "served"],
        ["cp39-manylinux_x86_64", "failed"],
    ]
    assert table[1].split()[2:] == ["8.2", "s", "2.17", "417", "kB", "manylinux_2_17"]
    assert (
        len({line.index(word) for line, word in zip(table, ["result", "built", "served", "failed"], strict=True)}) == 1
    )
    assert spoken.lines[-1] == f"{wording.summary(whole)}; /out/dist"


def test_warnings_follow_the_table() -> None:
    twice = (built("cp312", warnings=("MW299 odd",)), built("cp313", warnings=("MW299 odd",)))
    found = warnings(replace(manifest(*twice), warnings=("MW262 odd",)))
    assert found == [
        "warning: MW299 odd (cp312 cp313)",
        "warning: MW262 odd",
        "  `manywheels explain MW262 MW299` says what that means, and what to do",
    ]


def test_warnings_without_a_code_name_none() -> None:
    assert warnings(replace(manifest(built("cp312")), warnings=("odd",))) == ["warning: odd"]


def test_missing_targets_follow_the_table_with_the_ways_out_once() -> None:
    spoken = Spoken()
    problem = "This machine has no Python 3.9, 3.10."
    why = Failure(code="MW105", stage="plan", problem=problem, remedy="Install it.")
    absent = [
        TargetRecord(identifier=f"{tag}-manylinux_x86_64", state=TargetState.NO_INTERPRETER, failure=why)
        for tag in ("cp39", "cp310")
    ]
    spoken.reporter.closed(manifest(built("cp312"), *absent))
    assert spoken.lines[-4:-1] == [
        "✗ cp39-manylinux_x86_64: missing: no interpreter (MW105): This machine has no Python 3.9, 3.10.",
        "  so are `cp310-manylinux_x86_64`",
        "  Install it.",
    ]
    assert spoken.lines[-1].startswith("1 wheel in 12.3 s, 2 missing (no interpreter); ")


def test_many_missing_targets_take_few_lines() -> None:
    spoken = Spoken()
    why = Failure(code="MW105", stage="plan", problem="This machine has no Python 3.9.", remedy="Install it.")
    absent = [
        TargetRecord(identifier=f"cp39-manylinux_{number}", state=TargetState.NO_INTERPRETER, failure=why)
        for number in range(60)
    ]
    spoken.reporter.closed(manifest(built("cp312"), *absent))
    assert len(spoken.lines) < 10
    assert sum("cp39-manylinux_" in line for line in spoken.lines) == 2
    assert "and 47 more" in "".join(spoken.lines)


# --- the live table ---------------------------------------------------------------------------------------------------

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class Shown:
    """A LiveReporter and its output to a terminal."""

    def __init__(self, output: Path = OUTPUT, *, verbose: bool = False) -> None:
        self._terminal = io.StringIO()
        console = Console(file=self._terminal, force_terminal=True, width=120, highlight=False)
        self.reporter = LiveReporter(output, Cancellation(), verbose=verbose, console=console)

    @property
    def sent(self) -> str:
        return self._terminal.getvalue()

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.sent)


def test_the_live_table_stays_as_the_result() -> None:
    shown = Shown()
    shown.reporter.started(a_plan(*planned("cp311", "cp312")), "demo")
    shown.reporter.entered(target("cp311"), "build")
    shown.reporter.finished(built("cp311"))
    shown.reporter.finished(failed("cp312"))
    shown.reporter.closed(manifest(built("cp311"), failed("cp312")))
    table, _, details = shown.plain.rpartition("✗ cp312-manylinux_x86_64")
    assert "✓ cp311-manylinux_x86_64" in table
    assert "unknown type name" in details
    assert shown.sent.count(HIDE) == shown.sent.count(SHOW) == 1


def test_the_cursor_is_restored_when_a_run_is_cancelled() -> None:
    shown = Shown()
    shown.reporter.stop()  # before anything was drawn
    assert shown.sent == ""
    shown.reporter.started(a_plan(*planned("cp312")), "demo")
    assert SHOW not in shown.sent
    shown.reporter.stop()
    assert shown.sent.rstrip().endswith(SHOW)


@pytest.mark.parametrize("verbose", [True, False])
def test_logs_above_the_live_table(tmp_path: Path, *, verbose: bool) -> None:
    log = tmp_path / f"logs/{target('cp312').identifier}.log"
    log.parent.mkdir()
    log.write_text("cc -c [bold]spam.c\n\x1b[2J::error::x\n")
    shown = Shown(tmp_path, verbose=verbose)
    shown.reporter.started(a_plan(*planned("cp312")), "demo")
    shown.reporter.finished(built("cp312"))
    shown.reporter.closed(manifest(built("cp312")))
    assert ("  │ cc -c [bold]spam.c" in shown.plain) is verbose
    assert "\x1b[2J" not in shown.sent


def test_a_target_without_a_log_does_not_end_the_run(tmp_path: Path) -> None:
    """It was cancelled before it began."""
    spoken, shown = Spoken(output=tmp_path, verbose=True), Shown(tmp_path, verbose=True)
    spoken.reporter.finished(failed("cp312"))
    shown.reporter.finished(failed("cp312"))
    assert "unknown type name" in spoken.whole


@pytest.mark.timeout(300)
@pytest.mark.parametrize("requested", [False, True])
def test_both_ends_of_a_huge_log_are_shown(tmp_path: Path, requested: bool) -> None:  # noqa: FBT001
    record = built()
    log = tmp_path / str(record.log)
    log.parent.mkdir()
    with log.open("wb") as file:
        file.write(b"first\n")
        file.seek((1 << 40) - 5)
        file.write(b"\nlast")
    stream, cancellation = io.StringIO(), Cancellation()
    if requested:
        cancellation.request()
    PlainReporter(tmp_path, stream, cancellation, verbose=True).finished(record)
    log.unlink()  # pytest keeps its folders
    shown = stream.getvalue().splitlines()
    assert ("  │ first" in shown) is ("  │ last" in shown) is not requested
    assert sum(map(len, shown)) < 10 << 20
    assert any("bytes of this log are left out here]" in line for line in shown) is not requested
