"""Commands of the project's around its builds: where they run, what they see, what they leave, and how they fail."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from host.cases import build_cases

if TYPE_CHECKING:
    from host.conftest import Finished, Program


def before_all_log(finished: Finished) -> str:
    """Return what `before-all` wrote."""
    return (finished.output / "logs/before-all.log").read_text("utf-8")


# --- before-all -------------------------------------------------------------------------------------------------------

OWN_BEFORE_ALL = """
[[tool.manywheels.overrides]]
select = "cp313-*"
before-all = "echo for 3.13"
"""


def test_before_all_runs_once_with_the_first_targets_python_and_all_have_what_it_leaves(program: Program) -> None:
    project = program.copy("tested")
    before_all = (
        'echo "by $MANYWHEELS and $CIBUILDWHEEL in $PLACE"; {python} -V; test $(pwd) = $PLACE; '
        "test -d {package}/tested; echo made > {project}/made; mkdir $HOME/tool; echo tool > $HOME/tool/x"
    )
    settings = f"[tool.manywheels]\nbefore-all = {json.dumps(before_all)}\n{OWN_BEFORE_ALL}"
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write(settings)
    finished = program.build(
        project, "--before-build", "echo $(cat made) and $(cat $TOOL/x)",
        "--environment", "TOOL=$HOME/tool PLACE={project}", "--verbose", tags="cp310 cp312 cp313",
    )  # fmt: skip

    assert finished.status == 0, finished.text
    said = [line for line in before_all_log(finished).splitlines() if not line.startswith("$")]
    assert len(said) == 3, "each command has run once, the first with one of the two targets that it is for"
    assert said[0].startswith("by 1 and 1 in /")
    assert said[1].startswith("Python 3.10.")
    assert said[2] == "for 3.13"
    assert "  │ for 3.13" in finished.stdout.splitlines(), "--verbose prints it"
    for tag in ("cp310", "cp312", "cp313"):
        assert "made and tool" in finished.log(tag).read_text("utf-8")
    assert not (project / "made").exists(), "the project itself is not touched"


def test_where_before_all_fails_nothing_is_built(program: Program) -> None:
    finished = program.build("tested", "--before-all", "echo no such library; exit 7")

    assert finished.status == 2
    assert "MW011" in finished.stderr
    assert "`before-all` failed (exit status 7)" in finished.stderr
    assert "no such library" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (finished.output / "manywheels.json").exists()


# --- before-build -----------------------------------------------------------------------------------------------------


def test_before_build_has_the_targets_python_and_copy_and_its_failure_is_its_targets(program: Program) -> None:
    fails = "python -c 'import sys; sys.exit(\"not with 3.12\" if sys.version_info[:2] == (3, 12) else 0)'"
    hook = (
        "python -c 'import sys, os; print(\"python\", sys.version_info[:2], os.getcwd())'; pip --version; "
        "echo for $MANYWHEELS_BUILD_IDENTIFIER = $CIBUILDWHEEL_BUILD_IDENTIFIER; "
        "test ! -e mine; touch mine; test -f {package}/pyproject.toml; "
    )
    finished = program.build("tested", "--before-build", hook + fails, tags="cp312 cp313")

    assert finished.status == 1, finished.text
    for tag, version in (("cp312", "(3, 12)"), ("cp313", "(3, 13)")):
        log = finished.log(tag).read_text("utf-8")
        identifier = f"{tag}-manylinux_x86_64"
        assert f"python {version}" in log
        assert f"(python {version[1]}.{version[4:6]})" in log, "pip is that Python's"
        assert f"for {identifier} = {identifier}" in log
        assert f"/{identifier}/source" in log
    assert finished.states == {"cp312": "failed", "cp313": "built"}
    failure = finished.failure()
    assert (failure["code"], failure["stage"]) == ("MW111", "before-build")
    assert failure["problem"] == "`before-build` failed (exit status 1)."
    assert "not with 3.12" in failure["excerpt"]
    assert fails in failure["remedy"]


@pytest.mark.parametrize(
    "front_end", ["uv; args: --no-build-isolation", "build; args: --no-isolation", "pip; args: --no-build-isolation"]
)
@pytest.mark.slow("build; args: --no-isolation", "pip; args: --no-build-isolation")
def test_what_before_build_installs_is_there_without_isolation(program: Program, front_end: str) -> None:
    project = program.copy("tested")  # it requires nothing to be built with
    with (project / "backend.py").open("a", encoding="utf-8") as file:
        file.write('\nimport iniconfig\nprint("built beside", iniconfig.__file__)\n')
    finished = program.build(
        project, "--before-build", "pip install -q iniconfig", "--build-frontend", front_end, "--build-verbosity", "1"
    )

    assert finished.status == 0, finished.text
    assert "built beside /" in finished.log().read_text("utf-8")


# --- repair-wheel-command ---------------------------------------------------------------------------------------------

AUDITWHEEL = (
    f"PATH={Path(sys.executable).parent}:$PATH {sys.executable} -m auditwheel -v repair -w {{dest_dir}} {{wheel}}"
)


def test_a_repair_command_makes_the_wheel_and_has_the_targets_python(program: Program) -> None:
    look = "python -V; python -m pip --version; echo with $(python -c 'import sys; print(sys.prefix)')"
    repair = {"repair-wheel-command": f"{look}; {AUDITWHEEL} && echo repaired in $PWD"}
    cases = {"alone": repair, "after a before-build": {**repair, "before-build": "pip install -q iniconfig"}}
    for case in build_cases(program, program.copy("tested"), cases).values():
        assert case.target["state"] == "built", case.finished.text
        python = f"3.{case.tag.removeprefix('cp3')}"
        assert f"Python {python}." in case.log
        assert f"(python {python})" in case.log
        assert re.search(rf"^with .*/{case.tag}-manylinux_\w+/venv$", case.log, re.MULTILINE)
        assert "repaired in" in case.log
        assert all("manylinux_2_" in wheel.name for wheel in case.wheels)
        assert len(case.wheels) == 1


REPAIRS = {
    "echo gone wrong; false": "`repair-wheel-command` failed (exit status 1).",
    "true": "made no wheel",
    "cp {wheel} {dest_dir} && cp {wheel} {dest_dir}/tested-2.0-cp312-cp312-linux_x86_64.whl": "made 2 wheels",
    "cp {wheel} {dest_dir}/tested-1.0-cp38-cp38-linux_x86_64.whl": "not for cp3",
    "ln -s {wheel} {dest_dir}": "cannot be taken over",
}


def test_a_repair_command_must_leave_one_wheel(program: Program) -> None:
    cases = {command: {"repair-wheel-command": command} for command in REPAIRS}
    for command, case in build_cases(program, program.copy("tested"), cases).items():
        assert case.finished.status == 1
        failure = case.target["failure"]
        assert (failure["code"], failure["stage"]) == ("MW104", "repair")
        assert REPAIRS[command] in failure["problem"]
        assert not case.finished.wheels


def test_what_is_not_repaired_is_verified_all_the_same(program: Program) -> None:
    cases = {command: {"repair-wheel-command": command} for command in ("none", "cp {wheel} {dest_dir}")}
    for case in build_cases(program, program.copy("tested"), cases).values():
        assert case.finished.status == 3, case.finished.text
        failure = case.target["failure"]
        assert (failure["code"], failure["stage"]) == ("MW106", "verify")
        assert "linux_x86_64" in failure["problem"]
        assert not case.finished.wheels


# --- audit-command ----------------------------------------------------------------------------------------------------


def test_an_audit_looks_at_the_finished_wheel_with_what_it_requires(program: Program) -> None:
    command = "{python} -c 'import sys, iniconfig; print(\"audited\", sys.argv[1])' {wheel} && false {abi3_wheel}"
    finished = program.build("tested", "--audit-command", command, "--audit-requires", "iniconfig")
    assert finished.status == 0, finished.text
    (line,) = [line for line in finished.log().read_text("utf-8").splitlines() if line.startswith("audited ")]
    assert line.endswith(finished.wheel.name)


@pytest.mark.slow
def test_a_wheel_that_its_audit_refuses_is_not_delivered(program: Program) -> None:
    finished = program.build("abi3", "--audit-command", "echo not so; test ! -e {abi3_wheel}")
    assert finished.status == 1, finished.text
    assert "MW111" in finished.text
    assert "`audit-command` failed (exit status 1)" in finished.text
    assert not list(finished.output.glob("*.whl"))


# --- commands in `environment` ----------------------------------------------------------------------------------------

COMMANDS = {
    "made": {
        "environment": 'V="$(python -c "import sys; print(*sys.version_info[:2])")" LIB="$(pwd)/lib" D=`cat data` '
        'ONCE=$(mktemp -u) B="$(printenv LIB)"',
        "before-build": 'echo "V is $V."; test $LIB = $PWD/lib; test $B = $LIB; echo "D is $D."; echo "built $ONCE"',
        "test-environment": "T=$(python -c 'import sys; print(sys.prefix)') U=\"in $(basename $(pwd))\"",
        "before-test": 'echo "T is $T, U is $U."; test "$T" = "$VIRTUAL_ENV"',
        "test-command": 'echo "tested $ONCE"',
    },
    "fails": {"environment": "A=1 LIB=$(sh -c 'echo no such library: $A >&2; exit 3')"},
    "is not there": {"environment": "LIB=$(no-such-program --libs)"},
    "writes too much": {"environment": "LIB=$(head -c 200000 /dev/zero)"},
}  # fmt: skip


def test_commands_in_variables_run_in_the_targets_copy_with_its_python(program: Program) -> None:
    project = program.copy("tested")
    (project / "data").write_text("from the source\n\n", encoding="utf-8")
    cases = build_cases(program, project, COMMANDS)

    made = cases["made"]
    assert made.target["state"] == "built", made.finished.text
    assert f"V is 3 {made.tag.removeprefix('cp3')}." in made.log
    assert "D is from the source." in made.log
    tests = (made.finished.output / made.target["tests"]["log"]).read_text("utf-8")
    assert ", U is in source." in tests
    once = re.findall(r"^(?:built|tested) (\S+)$", made.log + tests, re.MULTILINE)
    assert len(once) == 2
    assert once[0] == once[1], "it ran once for its target"
    problems = {name: case.target["failure"] for name, case in cases.items() if name != "made"}
    assert {(failure["code"], failure["stage"]) for failure in problems.values()} == {("MW111", "prepare")}
    assert problems["fails"]["problem"] == (
        "`environment`: the command of LIB failed (exit status 3): no such library: 1"
    )
    assert "sh -c 'echo no such library: $A >&2; exit 3'" in problems["fails"]["remedy"]
    assert "no such library: 1" in cases["fails"].log
    assert problems["is not there"]["problem"] == (
        "`environment`: the command of LIB failed (exit status 127): no-such-program: not found"
    )
    assert "wrote 200000 bytes, and a variable holds 131072" in problems["writes too much"]["problem"]
