"""The project's own tests of the finished wheel: what they see, and what becomes of a wheel that fails them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from host.cases import Case, build_cases, program_in

if TYPE_CHECKING:
    from host.conftest import Finished, Processes, Program
    from manywheels.plan.interpreters import Interpreter

pytestmark = pytest.mark.xdist_group("trials")  # they share runs

PYTEST = ("--test-requires", "pytest", "--test-command")


def said(finished: Finished, tag: str = "cp312") -> str:
    """Return the log of a target's tests."""
    trial: dict[str, Any] = finished.targets[tag]["tests"]
    return (finished.output / str(trial["log"])).read_text("utf-8")


def assert_kept_out(finished: Finished, code: str = "MW110", tag: str = "cp312") -> dict[str, Any]:
    """The target failed in its tests, its wheel is not in the output folder; return its failure."""
    assert finished.status == 1, finished.text
    target = finished.targets[tag]
    assert (target["state"], target["failure"]["code"], target["failure"]["stage"]) == ("failed", code, "test")
    assert target["tests"]["passed"] is False
    assert target["wheel"] is None
    assert not [wheel for wheel in finished.wheels if f"-{tag}-" in wheel.name]
    failure: dict[str, Any] = target["failure"]
    assert failure["problem"].splitlines()[0] in finished.stdout
    assert "/run-" not in failure["problem"] + "".join(failure["excerpt"]), "users do not know our folders"
    return failure


LOOKS = (
    "python -c 'import iniconfig, pytest, packaging, tested, os, sys; "
    'assert os.environ["VIRTUAL_ENV"] == sys.prefix; '
    'print("for", os.environ["CIBUILDWHEEL_BUILD_IDENTIFIER"], "in", os.getcwd())\''
)
FROM_SOURCE = """python -c 'import sys; sys.path.insert(0, "{project}"); import tested'"""
PASS = {
    "pytest": {"test-requires": "pytest", "test-command": "pytest {project}/tests"},
    "from the source": {"test-command": FROM_SOURCE},  # `build` left the compiled module there
    "looks": {"test-extras": "ini", "test-groups": "test", "test-requires": "packaging==24.2", "test-command": LOOKS},
}
FAIL = {
    "a test": {**PASS["pytest"], "test-environment": "ANSWER=41"},
    "pytest": {"test-requires": "pytest", "test-command": "pytest"},
    "python -m unittest": {"test-command": "python -m unittest"},
    "no pytest": {"test-command": "echo broken on purpose; kill -SEGV $$"},
    "from the source": {"test-command": f"rm {{project}}/tested/_core*.so && {FROM_SOURCE}"},
    "requirements": {"test-requires": "no-such-package-anywhere-1b7", "test-command": "true"},
}


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory, interpreters: dict[str, Interpreter]) -> dict[str, Case]:
    """Tests that pass, in one run."""
    program = program_in(tmp_path_factory.mktemp("passed"), interpreters)
    return build_cases(program, program.copy("tested"), PASS, "--verbose")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, interpreters: dict[str, Interpreter]) -> dict[str, Case]:
    """Tests that fail, in one run."""
    program = program_in(tmp_path_factory.mktemp("failed"), interpreters)
    return build_cases(program, program.copy("tested"), FAIL)


def test_tests_that_pass_are_counted_and_have_a_log_of_their_own(passed: dict[str, Case]) -> None:
    case = passed["pytest"]
    assert case.finished.status == 0, case.finished.text
    trial = case.target["tests"]
    assert trial["passed"] is True
    assert trial["count"] == 2
    assert trial["failed"] == []
    assert trial["seconds"] > 0
    assert trial["log"] == f"logs/{case.tag}-manylinux_x86_64-test.log"
    log = said(case.finished, case.tag)
    assert "2 passed" in log
    assert "2 passed" not in case.log
    (wheel,) = case.wheels
    assert wheel.name in log, "what is tested is the finished wheel"


def test_a_failing_test_keeps_the_wheel_out_and_is_named(failed: dict[str, Case]) -> None:
    case = failed["a test"]
    failure = assert_kept_out(case.finished, tag=case.tag)
    assert "1 of 2 tests failed" in failure["problem"]
    assert f"Log: {case.finished.output}/logs/{case.tag}-manylinux_x86_64-test.log" in case.finished.stdout
    assert "tests/test_answer.py::test_answer" in failure["problem"]
    assert any("assert 42 == 41" in line for line in failure["excerpt"])
    assert (failure["file"], failure["line"]) == ("tests/test_answer.py", 8)
    assert case.target["tests"]["failed"] == ["tests/test_answer.py::test_answer"]


def test_a_package_imported_from_the_source_is_named(passed: dict[str, Case], failed: dict[str, Case]) -> None:
    case = failed["from the source"]
    failure = assert_kept_out(case.finished, tag=case.tag)
    assert failure["remedy"].startswith("The tests imported `tested` from the project's folder, not from the wheel.")
    assert "--import-mode=append" in failure["remedy"]
    shadowed = passed["from the source"]
    assert any("imported `tested` from the project's folder" in warning for warning in shadowed.target["warnings"])
    for case in (passed["pytest"], failed["a test"]):
        assert "from the project's folder" not in json.dumps(case.target), "the wheel was tested"


@pytest.mark.slow
def test_targets_that_are_skipped_are_not_tested(program: Program) -> None:
    finished = program.build("tested", "--test-command", "false", "--test-skip", "cp313-*", tags="cp312 cp313")

    assert_kept_out(finished)
    assert finished.states == {"cp312": "failed", "cp313": "built"}
    assert finished.targets["cp313"]["tests"] is None


def test_what_the_tests_need_is_installed_and_nothing_of_the_source_is_imported(passed: dict[str, Case]) -> None:
    case = passed["looks"]
    assert case.finished.status == 0, case.finished.text
    identifier, folder = re.findall(r"^for (\S+) in (.*)$", said(case.finished, case.tag), re.MULTILINE)[-1]
    assert identifier == f"{case.tag}-manylinux_x86_64"
    assert f"  │ for {identifier}" in case.finished.stdout, "--verbose prints what tests print"
    assert "/source" not in folder


@pytest.mark.slow
def test_sources_are_copied_to_where_the_tests_run(program: Program) -> None:
    tests = "test $(ls) = tests && pytest tests"
    finished = program.build("tested", "--test-sources", "tests/test_answer.py", *PYTEST, tests)
    assert finished.status == 0, finished.text + said(finished)
    assert finished.targets["cp312"]["tests"]["count"] == 2

    absent = program.build("tested", "--test-sources", "tests nowhere", *PYTEST, tests)
    assert "`nowhere`" in assert_kept_out(absent)["problem"]


@pytest.mark.parametrize("command", ["pytest", "python -m unittest"])
def test_tests_that_are_not_named_are_no_tests_that_passed(failed: dict[str, Case], command: str) -> None:
    case = failed[command]
    assert_kept_out(case.finished, tag=case.tag)
    assert "{project}/tests" in said(case.finished, case.tag)


def test_a_command_that_is_no_pytest_says_how_it_ended(failed: dict[str, Case]) -> None:
    case = failed["no pytest"]
    failure = assert_kept_out(case.finished, tag=case.tag)
    assert "killed by SIGSEGV" in failure["problem"]
    assert "echo broken on purpose" in failure["remedy"]
    assert "broken on purpose" in failure["excerpt"]
    assert case.target["tests"]["count"] is None


def test_the_tests_have_a_limit_of_their_own_and_leave_no_process(program: Program, processes: Processes) -> None:
    command = f"setsid sleep 300 {processes.marker} || MARKER={processes.marker} setsid sleep 300"
    finished = program.build("tested", "--test-timeout", "2s", "--test-command", command)

    assert "limit of 2 s" in assert_kept_out(finished)["problem"]
    processes.wait_until_gone()


@pytest.mark.slow
def test_before_test_prepares_the_environment_of_the_tests(program: Program) -> None:
    hook = "pip install -q iniconfig && test -f pyproject.toml && test -d {package}/tests"
    finished = program.build("tested", "--before-test", hook, "--test-command", "python -c 'import iniconfig'")
    assert finished.status == 0, finished.text + said(finished)

    failing = program.build("tested", "--before-test", "echo no luck; exit 3", "--test-command", "true")
    failure = assert_kept_out(failing, code="MW111")
    assert "`before-test` failed (exit status 3)" in failure["problem"]
    assert "no luck" in failure["excerpt"]


def test_requirements_that_cannot_be_had_are_named(failed: dict[str, Case]) -> None:
    case = failed["requirements"]
    assert "no-such-package-anywhere-1b7" in assert_kept_out(case.finished, tag=case.tag)["problem"]


@pytest.mark.slow
def test_a_wheel_that_serves_several_is_tested_with_each(program: Program) -> None:
    command = "python -c 'import abi3, sys; print(sys.version_info[:2])'"
    finished = program.build("abi3", "--test-command", command, tags="cp311 cp312 cp313")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp311": "built", "cp312": "reused", "cp313": "reused"}
    for tag, version in (("cp311", "(3, 11)"), ("cp312", "(3, 12)"), ("cp313", "(3, 13)")):
        assert finished.targets[tag]["tests"]["passed"] is True
        assert version in said(finished, tag)


@pytest.mark.slow
def test_a_wheel_that_fails_with_one_of_several_is_none(program: Program) -> None:
    command = "python -c 'import sys; sys.exit(sys.version_info[:2] == (3, 13))'"
    finished = program.build("abi3", "--test-command", command, tags="cp311 cp312 cp313")

    assert finished.status == 1, finished.text
    assert not finished.wheels
    assert [finished.targets[tag]["tests"]["passed"] for tag in ("cp311", "cp312", "cp313")] == [True, True, False]
    assert "3.13" in finished.failure("cp311")["problem"]
    assert "exit status 1" in finished.failure("cp313")["problem"]
    assert set(finished.states.values()) == {"failed"}
