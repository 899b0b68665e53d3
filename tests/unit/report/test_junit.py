"""JUnit XML, read by a JUnit parser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from junitparser import Failure as Failed
from junitparser import JUnitXml, Skipped, TestCase

from manywheels.report.junit import write_junit
from manywheels.wheels.manifest import Manifest, TargetRecord, TargetState, TestRun
from scale import scaled
from unit.helpers import built, failed, manifest
from unit.report.test_summary import HOSTILE, hostile_run, many


def read(whole: Manifest, folder: Path) -> dict[str, dict[str, TestCase]]:
    """Return the cases by suite and name."""
    write_junit(whole, folder / "junit.xml")
    found = {suite.name: {case.name: case for case in suite} for suite in JUnitXml.fromfile(str(folder / "junit.xml"))}
    assert all(len({case.classname for case in cases.values()}) <= 1 for cases in found.values())
    return found


def outcomes(cases: dict[str, TestCase]) -> dict[str, str]:
    return {name: type(case.result[0]).__name__ if case.result else "passed" for name, case in cases.items()}


def test_each_target_is_a_suite_and_each_stage_a_case(tmp_path: Path) -> None:
    record = replace(built("cp312"), seconds={"build": 8.3, "waiting": 50.0, "repair": 0.5})
    (suite,) = read(manifest(record), tmp_path).values()
    assert outcomes(suite) == {"build": "passed", "repair": "passed"}
    assert suite["build"].time == 8.3


def test_a_failure_has_the_lines_that_matter(tmp_path: Path) -> None:
    record = failed("cp312", excerpt=("spam.c:9: error: <x> & y", "  int x;"), problem="spam.c:9: error: <x> & y")
    assert record.failure
    failure_there = replace(record.failure, file="src/spam.c", line=9)
    record = replace(record, failure=failure_there, seconds={"prepare": 0.1, "build": 2.0})
    suite = read(manifest(record), tmp_path)["cp312-manylinux_x86_64"]
    assert outcomes(suite) == {"prepare": "passed", "build": "Failure"}
    (failure,) = suite["build"].result
    assert isinstance(failure, Failed)
    assert (failure.type, failure.message) == ("MW101", "spam.c:9: error: <x> & y")
    assert failure.text == "spam.c:9: error: <x> & y\n  int x;\nMend it.\nLog: logs/cp312-manylinux_x86_64.log"
    assert suite["build"]._elem.get("file") == "src/spam.c"


def test_the_numbers_add_up(tmp_path: Path) -> None:
    absent = TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    write_junit(manifest(built("cp312"), failed("cp313"), absent), tmp_path / "junit.xml")
    found = JUnitXml.fromfile(str(tmp_path / "junit.xml"))
    suites = [(suite.tests, suite.failures, suite.skipped, suite.errors) for suite in found]
    assert suites == [(1, 0, 0, 0), (1, 1, 0, 0), (1, 0, 1, 0)]
    assert (found.tests, found.failures, found.skipped) == (3, 1, 1)


@pytest.mark.parametrize(("state", "kind"), [(TargetState.CANCELLED, Skipped), (TargetState.NO_INTERPRETER, Failed)])
def test_targets_without_a_build_have_the_reason(tmp_path: Path, state: TargetState, kind: type) -> None:
    record = replace(failed("cp39", problem="There is no Python 3.9."), state=state, seconds={})
    (suite,) = read(manifest(record), tmp_path).values()
    (case,) = suite.values()
    assert isinstance(case.result[0], kind)
    assert case.result[0].message == "There is no Python 3.9."


def test_a_target_that_may_be_missing_is_skipped(tmp_path: Path) -> None:
    record = TargetRecord(identifier="cp39-manylinux_x86_64", state=TargetState.NO_INTERPRETER)
    (suite,) = read(manifest(record), tmp_path).values()
    (case,) = suite.values()
    assert isinstance(case.result[0], Skipped)


def test_a_reused_wheel_is_named_with_its_target(tmp_path: Path) -> None:
    record = replace(built("cp313"), state=TargetState.REUSED, seconds={}, built_for="cp312-manylinux_x86_64")
    (suite,) = read(manifest(record), tmp_path).values()
    assert outcomes(suite) == {"served by cp312": "passed"}


def test_warnings_are_the_output_of_passed_cases(tmp_path: Path) -> None:
    whole = replace(manifest(built("cp312", warnings=("MW231 odd",))), warnings=("MW240 differ",))
    found = read(whole, tmp_path)
    assert outcomes(found["cp312-manylinux_x86_64"]) == {"build": "passed", "MW231": "passed"}
    assert found["cp312-manylinux_x86_64"]["MW231"].system_out == "MW231 odd"
    assert found["the set of wheels"]["MW240"].system_out == "MW240 differ"


def test_each_check_of_a_wheel_is_a_case(tmp_path: Path) -> None:
    checks: dict[str, tuple[str, ...]] = {"MW201": (), "MW231": (), "MW232": ()}
    record = replace(
        built("cp312", warnings=("MW231 a.so odd", "MW231 b.so odd")), seconds={"verify": 0.1}, checks=checks
    )
    suite = read(manifest(record), tmp_path)["cp312-manylinux_x86_64"]
    assert outcomes(suite) == dict.fromkeys(("verify", "MW201", "MW231", "MW232"), "passed")
    assert suite["MW231"].system_out == "MW231 a.so odd\nMW231 b.so odd"


def test_checks_with_errors_fail_with_their_own_errors(tmp_path: Path) -> None:
    errors = ("MW203 a.so is wrong", "MW203 b.so is wrong")
    record = failed("cp312", problem="; ".join(errors), excerpt=())
    assert record.failure
    record = replace(
        record, failure=replace(record.failure, code="MW104", stage="verify"), seconds={"build": 1.0, "verify": 0.1},
        checks={"MW201": (), "MW203": errors},
    )  # fmt: skip
    suite = read(manifest(record), tmp_path)["cp312-manylinux_x86_64"]
    assert outcomes(suite) == {"build": "passed", "MW201": "passed", "MW203": "Failure"}
    (failure,) = suite["MW203"].result
    assert (failure.type, failure.message) == ("MW203", "MW203 a.so is wrong; MW203 b.so is wrong")
    assert failure.text.startswith("MW203 a.so is wrong\nMW203 b.so is wrong\nMend it.\nLog: ")


@pytest.mark.parametrize(
    ("tests", "expected"),
    [
        (TestRun(passed=True, seconds=3.0, log="t.log", count=12), {"the project's tests": "passed"}),
        (TestRun(passed=False, seconds=3.0, log="t.log"), {"the project's tests": "Failure"}),
        (
            TestRun(passed=False, seconds=3.0, log="t.log", failed=("test_a", "test_b")),
            {"test test_a": "Failure", "test test_b": "Failure"},
        ),
    ],
)
def test_the_projects_tests_are_cases(tmp_path: Path, tests: TestRun, expected: dict[str, str]) -> None:
    record = replace(built("cp312"), seconds={}, tests=tests)
    assert outcomes(read(manifest(record), tmp_path)["cp312-manylinux_x86_64"]) == expected


@settings(max_examples=scaled(60, least=20), deadline=None)
@given(HOSTILE)
def test_any_text_makes_valid_xml(tmp_path_factory: pytest.TempPathFactory, words: str) -> None:
    folder = tmp_path_factory.mktemp("junit")
    write_junit(hostile_run(f"{words}\x0b\ufffe"), folder / "junit.xml")
    assert len(JUnitXml.fromfile(str(folder / "junit.xml"))) == 3


def test_thousands_of_targets(tmp_path: Path) -> None:
    assert len(read(many(2_000, "built"), tmp_path)) == 2_000
