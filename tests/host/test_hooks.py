"""Commands of the project's around its builds: where they run, what they see, what they leave, and how they fail."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from host.conftest import Finished, Program


def before_all_log(finished: Finished) -> str:
    """Return what `before-all` wrote."""
    return (finished.output / "logs/before-all.log").read_text("utf-8")


# --- before-all -------------------------------------------------------------------------------------------------------


def test_before_all_runs_once_and_what_it_leaves_all_targets_have(program: Program) -> None:
    project = program.copy("tested")
    everything = (
        "echo once; test -d {package}/tested; echo made > {project}/made; mkdir $HOME/tool; echo tool > $HOME/tool/x"
    )
    each = "echo $(cat made) and $(cat $TOOL/x)"
    finished = program.build(
        project, "--before-all", everything, "--before-build", each, "--environment", "TOOL=$HOME/tool",
        tags="cp312 cp313",
    )  # fmt: skip

    assert finished.status == 0, finished.text
    assert before_all_log(finished).splitlines().count("once") == 1
    for tag in ("cp312", "cp313"):
        assert "made and tool" in finished.log(tag).read_text("utf-8")
    assert not (project / "made").exists(), "the project itself is not touched"


def test_before_all_knows_what_runs_it_and_the_first_targets_python(program: Program) -> None:
    told = 'echo "by $MANYWHEELS and $CIBUILDWHEEL in $PLACE"; {python} -V; test $(pwd) = $PLACE'
    finished = program.build("tested", "--before-all", told, "--environment", "PLACE={project}", tags="cp311 cp312")

    assert finished.status == 0, finished.text
    assert "by 1 and 1 in /" in before_all_log(finished)
    assert "Python 3.11." in before_all_log(finished)


def test_targets_with_a_before_all_of_their_own_have_it_run_as_well(program: Program) -> None:
    project = program.copy("tested")
    with (project / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('[tool.manywheels]\nbefore-all = "echo for most"\n')
        file.write('[[tool.manywheels.overrides]]\nselect = "cp313-*"\nbefore-all = "echo for 3.13"\n')
    finished = program.build(project, tags="cp311 cp312 cp313")

    assert finished.status == 0, finished.text
    said = [line for line in before_all_log(finished).splitlines() if not line.startswith("$")]
    assert said == ["for most", "for 3.13"]


def test_where_before_all_fails_nothing_is_built(program: Program) -> None:
    finished = program.build("tested", "--before-all", "echo no such library; exit 7")

    assert finished.status == 2
    assert "MW011" in finished.stderr
    assert "`before-all` failed (exit status 7)" in finished.stderr
    assert "no such library" in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (finished.output / "manywheels.json").exists()


# --- before-build -----------------------------------------------------------------------------------------------------


def test_before_build_has_the_targets_python_and_copy(program: Program) -> None:
    hook = (
        "python -c 'import sys, os; print(\"python\", sys.version_info[:2], os.getcwd())'; pip --version; "
        "echo for $MANYWHEELS_BUILD_IDENTIFIER = $CIBUILDWHEEL_BUILD_IDENTIFIER; "
        "test ! -e mine; touch mine; test -f {package}/pyproject.toml"
    )
    finished = program.build("tested", "--before-build", hook, tags="cp312 cp313")

    assert finished.status == 0, finished.text
    for tag, version in (("cp312", "(3, 12)"), ("cp313", "(3, 13)")):
        log = finished.log(tag).read_text("utf-8")
        identifier = f"{tag}-manylinux_x86_64"
        assert f"python {version}" in log
        assert f"(python {version[1]}.{version[4:6]})" in log, "pip is that Python's"
        assert f"for {identifier} = {identifier}" in log
        assert f"/{identifier}/source" in log


def test_a_before_build_that_fails_is_its_targets_failure(program: Program) -> None:
    hook = "python -c 'import sys; sys.exit(\"not with 3.12\" if sys.version_info[:2] == (3, 12) else 0)'"
    finished = program.build("tested", "--before-build", hook, tags="cp312 cp313")

    assert finished.status == 1
    assert finished.states == {"cp312": "failed", "cp313": "built"}
    failure = finished.failure()
    assert (failure["code"], failure["stage"]) == ("MW111", "before-build")
    assert failure["problem"] == "`before-build` failed (exit status 1)."
    assert "not with 3.12" in failure["excerpt"]
    assert hook in failure["remedy"]


@pytest.mark.parametrize(
    "front_end", ["uv; args: --no-build-isolation", "build; args: --no-isolation", "pip; args: --no-build-isolation"]
)
@pytest.mark.slow("build; args: --no-isolation", "pip; args: --no-build-isolation")
def test_what_before_build_installs_is_there_without_isolation(program: Program, front_end: str) -> None:
    hook = "pip install -q 'setuptools==78.1.1' wheel"
    project = program.copy("c_setuptools")
    with (project / "setup.py").open("a", encoding="utf-8") as file:
        file.write('\nimport setuptools\nprint("built with setuptools", setuptools.__version__)\n')
    finished = program.build(project, "--before-build", hook, "--build-frontend", front_end, "--build-verbosity", "1")

    assert finished.status == 0, finished.text
    assert "built with setuptools 78.1.1" in finished.log().read_text("utf-8")


# --- repair-wheel-command ---------------------------------------------------------------------------------------------

AUDITWHEEL = (
    f"PATH={Path(sys.executable).parent}:$PATH {sys.executable} -m auditwheel -v repair -w {{dest_dir}} {{wheel}}"
)


def test_a_repair_command_makes_the_wheel(program: Program) -> None:
    finished = program.build("tested", "--repair-wheel-command", f"{AUDITWHEEL} && echo repaired in $PWD")

    assert finished.status == 0, finished.text
    assert "repaired in" in finished.log().read_text("utf-8")
    assert "manylinux_2_" in finished.wheel.name


@pytest.mark.parametrize("before_build", [(), ("--before-build", "pip install -q iniconfig")])
def test_a_repair_command_has_the_targets_python(program: Program, before_build: tuple[str, ...]) -> None:
    look = "python -V; python -m pip --version; echo in $(python -c 'import sys; print(sys.prefix)')"
    finished = program.build("tested", *before_build, "--repair-wheel-command", f"{look}; {AUDITWHEEL}", tags="cp311")

    assert finished.status == 0, finished.text
    log = finished.log("cp311").read_text("utf-8")
    assert "Python 3.11." in log
    assert "(python 3.11)" in log
    assert re.search(r"^in .*/cp311-manylinux_\w+/venv$", log, re.MULTILINE)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("echo gone wrong; false", "`repair-wheel-command` failed (exit status 1)."),
        ("true", "made no wheel"),
        ("cp {wheel} {dest_dir} && cp {wheel} {dest_dir}/tested-2.0-cp312-cp312-linux_x86_64.whl", "made 2 wheels"),
        ("cp {wheel} {dest_dir}/tested-1.0-cp313-cp313-linux_x86_64.whl", "not for cp312"),
        ("ln -s {wheel} {dest_dir}/tested-1.0-cp312-cp312-linux_x86_64.whl", "cannot be taken over"),
    ],
)
def test_a_repair_command_must_leave_one_wheel(program: Program, command: str, reason: str) -> None:
    finished = program.build("tested", "--repair-wheel-command", command)

    assert finished.status == 1
    assert (finished.failure()["code"], finished.failure()["stage"]) == ("MW104", "repair")
    assert reason in finished.failure()["problem"]
    assert not finished.wheels


@pytest.mark.parametrize("command", ["none", "cp {wheel} {dest_dir}"])
def test_what_is_not_repaired_is_verified_all_the_same(program: Program, command: str) -> None:
    finished = program.build("tested", "--repair-wheel-command", command)

    assert finished.status == 3, finished.text
    assert (finished.failure()["code"], finished.failure()["stage"]) == ("MW106", "verify")
    assert "linux_x86_64" in finished.failure()["problem"]
    assert not finished.wheels


# --- audit-command ----------------------------------------------------------------------------------------------------


def test_an_audit_looks_at_the_finished_wheel_with_what_it_requires(program: Program) -> None:
    command = "{python} -c 'import sys, iniconfig; print(\"audited\", sys.argv[1])' {wheel} && false {abi3_wheel}"
    finished = program.build("c_setuptools", "--audit-command", command, "--audit-requires", "iniconfig")
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
