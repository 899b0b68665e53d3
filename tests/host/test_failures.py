"""What cannot be built: the user learns what happened, where and what to do; nothing wrong enters the output folder."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from junitparser import JUnitXml

from host.cases import Case, InProcess, build_cases, program_in
from host.conftest import PROJECTS
from manywheels.build.compilers.choice import Machine
from manywheels.verify import WHEEL_CHECKS
from unit.ci_logs import github_commands

if TYPE_CHECKING:
    from pathlib import Path

    from host.conftest import Finished, Processes, Program
    from manywheels.plan.interpreters import Interpreter

# The program's own main, and after it what memory its process had at most (VmHWM, for ru_maxrss is inherited).
MEASURED = """
import re, sys
from manywheels.cli.main import main
status = main()
print("peak kB:", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(status)
"""


def assert_failed(finished: Finished, code: str, stage: str = "build", tag: str = "cp312") -> None:
    """A target failed with this code, which was printed, and there is no wheel of it."""
    codes = {target["failure"]["code"] for target in finished.targets.values() if target["failure"]}
    assert finished.status == (3 if codes == {"MW106"} else 1), finished.text
    target = finished.targets[tag]
    assert (target["state"], target["failure"]["code"], target["failure"]["stage"]) == ("failed", code, stage)
    assert target["wheel"] is None
    assert not [wheel for wheel in finished.wheels if f"-{tag}-" in wheel.name]
    assert f"({code})" in finished.stdout
    assert target["failure"]["problem"] in finished.stdout
    assert str(finished.log(tag)) in finished.stdout
    assert finished.log(tag).is_file()
    assert "Traceback" not in finished.stderr


# --- builds that fail -------------------------------------------------------------------------------------------------


def test_an_optional_extension_that_does_not_compile_is_no_success(program: Program) -> None:
    """setuptools leaves it out and goes on; the wheel has the tags of one that has it."""
    project = program.copy("c_setuptools")
    setup = project / "setup.py"
    setup.write_text(setup.read_text().replace("**COMMON)", "optional=True, **COMMON)"))
    for unit in ("_core.c", "sub/_deep.c"):
        (project / "c_setuptools" / unit).write_text("int broken(void) { return missing_name; }\n")
    finished = program.build(project)
    assert_failed(finished, "MW114", stage="repair")
    assert any("missing_name" in line for line in finished.failure("cp312")["excerpt"])


def test_compile_error_is_shown_and_not_what_surrounds_it(program: Program) -> None:
    project = program.copy("fails_compile")
    (project / "_core.abi3.so").touch()
    finished = program.build(project)

    assert_failed(finished, "MW101")
    failure = finished.failure()
    assert "files of an earlier build (_core.abi3.so)" in failure["remedy"]
    assert "broken.c:12" in failure["problem"]
    assert any("broken.c:12" in line for line in failure["excerpt"])
    assert len(failure["excerpt"]) <= 60
    assert len(finished.stdout.splitlines()) < 100
    assert sum(map(len, finished.stdout.splitlines())) < 20_000
    assert "part_300.c" in finished.log().read_text()


def test_what_was_left_out_of_the_copy_is_named(program: Program) -> None:
    source = program.copy("c_setuptools")
    header = source.parent / "node_modules" / "core.h"
    header.parent.mkdir()
    (source / "include" / "core.h").rename(header)
    (source.parent / ".git").mkdir()
    finished = program.build(source)

    assert_failed(finished, "MW101")
    assert "core.h" in finished.failure()["problem"]
    assert f"`{header}` exists, but `{header.parent}` is not copied for builds" in finished.failure()["remedy"]


def test_words_of_the_back_end_reach_the_user_once(program: Program) -> None:
    finished = program.build("fails_backend", tags="cp310 cp312")

    assert finished.states == {"cp310": "failed", "cp312": "failed"}
    for tag in finished.states:
        assert_failed(finished, "MW101", tag=tag)
        assert finished.failure(tag)["problem"] == "RuntimeError: the moon is not full"
        assert not any("/work/run-" in line for line in finished.failure(tag)["excerpt"])
    assert finished.stdout.count("  │ RuntimeError: the moon is not full") == 1


def test_one_failure_leaves_the_others_and_shows_in_every_report(program: Program) -> None:
    source = program.copy("fails_on_311")
    report, junit = program.folder / "new" / "report.html", program.folder / "junit.xml"
    github = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(source.parent)}
    options = ("--report", report, "--junit", junit)
    finished = program.build(source, *options, tags="cp310 cp311 cp312", caller=github)

    assert_failed(finished, "MW101", tag="cp311")
    assert finished.states == {"cp310": "built", "cp311": "failed", "cp312": "built"}
    assert [wheel.name.split("-")[2] for wheel in finished.wheels] == ["cp310", "cp312"]
    assert "Python 3.11 is not supported" in finished.failure("cp311")["problem"]
    assert "2 wheels in " in finished.stdout
    assert "1 failed" in finished.stdout
    assert program.run_in("cp312", finished.wheels[1], "import fails_on_311 as f; print(f.answer())") == "42"

    assert "Python 3.11 is not supported" in report.read_text("utf-8")
    assert all(wheel.name.split("-")[0] in report.read_text("utf-8") for wheel in finished.wheels)
    suites = {suite.name.partition("-")[0]: suite for suite in JUnitXml.fromfile(str(junit))}
    assert {tag: suites[tag].failures for tag in finished.states} == {"cp310": 0, "cp311": 1, "cp312": 0}
    (told,) = [command for command in github_commands(finished.stdout) if command.name == "error"]
    assert told.properties["file"] == "fails_on_311/fails_on_311/_core.c"
    assert told.properties["line"] == "4"


@pytest.mark.slow
def test_noise_goes_to_the_log_and_not_to_memory(program: Program) -> None:
    program.require("cp312")
    output = program.new_folder("dist")
    process = subprocess.run(
        [sys.executable, "-c", MEASURED, "build", program.copy("noisy"), "--build", "cp312", "--output-dir", output],
        capture_output=True, text=True, check=False, env=dict(program.environment), cwd=program.folder, timeout=120,
    )  # fmt: skip

    assert process.returncode == 1, process.stderr
    assert "RuntimeError: too much said" in process.stdout
    assert len(process.stdout) < 50_000
    assert next((output / "logs").iterdir()).stat().st_size > 50_000_000
    peak = re.search(r"peak kB: (\d+)", process.stderr)
    assert peak is not None
    assert int(peak[1]) < 100_000


WITHOUT_MEASURE = """
import os

def build_wheel(*_):
    if os.environ["MAKES"] == "one terabyte":
        log = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY)  # uv's own stdout is the log
        os.ftruncate(log, 1 << 40)
    else:
        for _ in range(3_000):
            os.mkdir("d")
            os.chdir("d")
    raise RuntimeError("the moon is not full")
"""


def test_neither_a_log_nor_folders_without_measure_end_a_run(program: Program, private_cache: Path) -> None:
    project = program.copy("fails_backend")
    (project / "backend.py").write_text(WITHOUT_MEASURE)
    cases = {makes: {"environment": f"MAKES='{makes}'"} for makes in ("one terabyte", "nested folders")}
    found = build_cases(program, project, cases, "--verbose", caller={"MANYWHEELS_CACHE": str(private_cache)})

    log, folders = found["one terabyte"], found["nested folders"]
    assert_failed(log.finished, "MW112", tag=log.tag)
    assert "more than 1 GiB" in log.target["failure"]["problem"]
    assert log.finished.log(log.tag).stat().st_size < (1 << 30) + 1000
    assert len(log.finished.stdout) < 20_000_000
    assert "bytes of this log are left out here]" in log.finished.stdout
    log.finished.log(log.tag).unlink()  # pytest keeps its folders

    assert_failed(folders.finished, "MW101", tag=folders.tag)
    assert folders.target["failure"]["problem"] == "RuntimeError: the moon is not full"
    assert list((private_cache / "work").iterdir()) == []


def test_time_limit_ends_every_process(program: Program, processes: Processes) -> None:
    for limit in (3, 12, 60):  # a busy machine may need more than the first until the project's code runs
        environment = f"HANG_MARKER={processes.marker}"
        finished = program.build("hangs", "--timeout", f"{limit}s", "--environment", environment)

        assert processes.alive() == []
        assert_failed(finished, "MW102")
        assert f"{limit} s" in finished.failure()["problem"]
        assert "timeout" in finished.failure()["remedy"]
        assert finished.seconds < limit + 50  # the grace, and what a busy machine takes; by itself it goes on for ever
        if "hanging" in finished.log().read_text():
            return
    pytest.fail("the project's code has not been reached")


# --- wheels that are refused: one run, and each test looks at a target of its own -------------------------------------

LEAVES = """
import os
import shutil

import backend


def build_wheel(folder, config_settings=None, metadata_directory=None):
    leaves, other = os.environ["LEAVES"], "cp38-cp38-linux_x86_64"
    if leaves == "no wheel":
        return "tested-1.0-py3-none-any.whl"
    if leaves == "another python":
        backend.tag = lambda suffix: other
    elif leaves == "another tag in it":
        backend.WHEEL = backend.WHEEL.format(other)
    elif leaves == "pure":
        backend.tag = lambda suffix: "py3-none-any"
        backend.WHEEL = backend.WHEEL.replace("Purelib: false", "Purelib: true")
        backend.compiled = lambda suffix, name: "tested/__init__.py"
    name = backend.build_wheel(folder)
    if leaves == "two wheels":
        shutil.copy(os.path.join(folder, name), os.path.join(folder, name.replace("-1.0-", "-1.0-2-")))
    return name
"""


@pytest.fixture(scope="module")
def leaves(tmp_path_factory: pytest.TempPathFactory, interpreters: dict[str, Interpreter]) -> dict[str, Case]:
    """Targets by what their back end leaves: no project of these can be delivered."""
    program = program_in(tmp_path_factory.mktemp("leaves"), interpreters)
    project = program.copy("tested")
    (project / "leaves.py").write_text(LEAVES)
    pyproject = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(pyproject.replace('"backend"', '"leaves"'))
    kinds = ("two wheels", "no wheel", "another python", "pure", "another tag in it")
    return build_cases(program, project, {kind: {"environment": f"LEAVES='{kind}'"} for kind in kinds})


share_a_run = pytest.mark.xdist_group("leaves")


@share_a_run
def test_second_wheel_does_not_slip_in(leaves: dict[str, Case]) -> None:
    case = leaves["two wheels"]
    assert_failed(case.finished, "MW103", tag=case.tag)
    assert "2 wheels" in case.target["failure"]["problem"]
    assert f"tested-1.0-2-{case.tag}" in case.target["failure"]["problem"]
    assert not case.finished.wheels


@share_a_run
def test_wheel_that_was_never_written(leaves: dict[str, Case]) -> None:
    case = leaves["no wheel"]
    assert_failed(case.finished, "MW103", tag=case.tag)
    assert "no wheel" in case.target["failure"]["problem"]


@share_a_run
def test_wheel_for_another_python(leaves: dict[str, Case]) -> None:
    case = leaves["another python"]
    assert_failed(case.finished, "MW103", tag=case.tag)
    assert "tested-1.0-cp38-cp38-linux" in case.target["failure"]["problem"]


@share_a_run
def test_pure_project(leaves: dict[str, Case]) -> None:
    case = leaves["pure"]
    assert_failed(case.finished, "MW114", tag=case.tag)
    assert "tested-1.0-py3-none-any.whl" in case.target["failure"]["problem"]
    assert "uv build" in case.target["failure"]["remedy"]


def test_a_project_without_anything_to_compile_is_told_after_the_first_build(program: Program) -> None:
    finished = program.build("pure", "--jobs", "1", tags="cp311 cp312")
    assert finished.status == 1
    first, second = finished.manifest["targets"]
    assert first["failure"]["code"] == second["failure"]["code"] == "MW114"
    assert "build" in first["seconds"]
    assert "build" not in second["seconds"]
    assert "same as cp311" in finished.stdout


@share_a_run
def test_wheel_that_contradicts_itself(leaves: dict[str, Case]) -> None:
    case = leaves["another tag in it"]
    assert_failed(case.finished, "MW106", stage="verify", tag=case.tag)
    problem, checks = case.target["failure"]["problem"], case.target["checks"]
    assert "MW202" in problem
    assert "cp38-cp38" in problem
    assert list(checks) == [check.code for check in WHEEL_CHECKS]
    assert "; ".join(chain(*checks.values())) == problem


# --- symbols of the C library -----------------------------------------------------------------------------------------


@pytest.fixture
def new_symbol(program: Program) -> Path:
    """A project that calls a function which is in glibc since 2.34, and declares it itself: old headers allow it."""
    project = program.copy("tested")
    with (project / "tested" / "_core.c").open("a") as file:
        file.write("int close_range(unsigned, unsigned, int);\n")
        file.write("int close_none(void)\n{\n    return close_range(1000, 1000, 0);\n}\n")
    return project


def test_symbol_that_is_too_new_for_the_policy(program: Program, new_symbol: Path, compiler: str) -> None:
    if (Machine.here().glibc or (0, 0)) < (2, 34):
        pytest.skip("this machine's glibc is older than 2.34")
    finished = program.build(new_symbol, "--toolchain", "system")

    assert_failed(finished, "MW104", stage="repair")
    assert "close_range@GLIBC_2.34" in finished.failure()["problem"]
    assert "manylinux_2_28" in finished.failure()["problem"]
    assert "manylinux_2_34" in finished.failure()["remedy"]
    assert "manylinux_2_34" in finished.stdout


def test_symbol_that_the_policy_lacks_is_not_hidden_by_the_linker(program: Program, new_symbol: Path) -> None:
    finished = program.build(new_symbol)

    assert finished.status in {1, 3}, finished.text
    assert finished.wheels == []
    assert "close_range" in finished.failure()["problem"]


def test_new_symbol_is_fine_for_a_newer_policy(program: Program, new_symbol: Path) -> None:
    finished = program.build(new_symbol, "--platform", "manylinux_2_34")

    assert finished.status == 0, finished.text
    assert finished.targets["cp312"]["wheel"]["glibc"] == "2.34"
    assert f"manylinux_2_34_{os.uname().machine}" in finished.wheel.name
    assert "manylinux_2_17" not in finished.wheel.name


# --- interpreters that are not there ----------------------------------------------------------------------------------


@pytest.fixture
def few(program: Program) -> dict[str, str]:
    """An environment in which only Python 3.12 is found, and what the system has itself."""
    pyenv = program.new_folder("pyenv")
    (pyenv / "versions").mkdir()
    executable = program.require("cp312").path.resolve()
    (pyenv / "versions" / "3.12").symlink_to(executable.parent.parent)
    return {
        "PYENV_ROOT": str(pyenv),
        "UV_PYTHON_INSTALL_DIR": str(program.new_folder("uv")),
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    }


@pytest.mark.slow
def test_default_targets_without_interpreter_stop_every_command_unless_allowed(
    program: Program, few: dict[str, str]
) -> None:
    project = program.copy("c_setuptools")
    finished = program.build(project, tags=None, caller=few)

    assert finished.status == 1, finished.text
    assert list(finished.states) == ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314"]
    missing = [tag for tag, state in finished.states.items() if state == "no interpreter"]
    assert finished.states["cp312"] == "built"
    assert "cp314" in missing
    assert len(finished.wheels) == 6 - len(missing)
    (warning,) = [line for line in finished.stdout.splitlines() if line.startswith("warning: no interpreter")]
    assert set(missing) == {word.strip(":") for word in warning.split() if word.startswith("cp3")}
    failure = finished.failure("cp314")
    assert failure["code"] == "MW105"
    assert "uv python install" in failure["remedy"]
    assert "3.14" in failure["remedy"]
    assert f"missing: no interpreter (MW105): {failure['problem']}" in finished.stdout

    names = [target["identifier"] for target in finished.manifest["targets"] if target["state"] == "no interpreter"]
    gathering = ("gather", finished.output, "--output-dir")
    for command, status in (
        (("verify", finished.output), 3),
        ((*gathering, program.folder / "refused"), 3),
        (("publish", finished.output, "--dry-run", "--repository-url", "http://127.0.0.1:9/"), 4),
    ):
        refused = program(*command, caller=few | {"MANYWHEELS_PASSWORD": "pypi-x"})
        assert refused.status == status, refused.text
        assert all(name in refused.text for name in names)
    for command in (("verify", finished.output), (*gathering, program.folder / "gathered")):
        allowed = program(*command, "--allow-missing", caller=few)
        assert allowed.status == 0, allowed.text
        assert f"missing: {' '.join(names)}" in allowed.text

    allowed = program.build(project, "--allow-missing", tags=None, caller=few)
    assert allowed.status == 0, allowed.text
    assert (
        f"warning: MW105 planned, but not built because their Pythons were missing: {' '.join(names)}" in allowed.text
    )
    assert allowed.states == finished.states


def test_interpreter_that_was_asked_for_by_name(program: Program, few: dict[str, str]) -> None:
    finished = program.build("c_setuptools", "--build", "cp312 cp315t", tags=None, caller=few)

    assert_refused(finished, "MW004", "cp315t", "--engine container")
    assert "cp312" not in finished.stderr


def test_requires_python_leaves_targets_out(program: Program) -> None:
    project = program.copy("tested")
    pyproject = (project / "pyproject.toml").read_text()
    (project / "pyproject.toml").write_text(pyproject.replace(">=3.9", ">=3.13"))
    finished = program.build(project, tags="cp312 cp313")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp313": "built"}
    assert "left out by the project's requires-python: cp312" in finished.stdout


# --- refusals, before anything is built -------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """The program in this process."""
    return InProcess(folder=tmp_path, monkeypatch=monkeypatch, capsys=capsys)


def assert_refused(finished: Finished, code: str, *words: str) -> None:
    """The run was refused with this code and these words, and nothing was built."""
    assert finished.status == 2, finished.text
    assert finished.stderr.count(f"error {code}: ") == 1, finished.stderr
    for word in words:
        assert word in finished.stderr
    assert "Traceback" not in finished.text
    assert "building" not in finished.stdout
    folder = os.fspath(finished.output)  # a Path would raise for a name that is too long
    assert not [name for _, _, names in os.walk(folder) for name in names]


@pytest.mark.parametrize(
    ("options", "settings", "code", "words"),
    [
        (["--build", "cp47-*"], "", "MW003", ["`cp47-*` matches no target", "cp312-manylinux"]),
        (["--skip", "cp9"], "", "MW003", ["`skip`", "`cp9` matches no target"]),
        (["--build", "cp312", "--skip", "cp312"], "", "MW003", ["Nothing is left to build"]),
        ([], "plattform = 'manylinux_2_28'", "MW001", ["`plattform`", "did you mean `platform`?"]),
        ([], "jobs = 'many'", "MW001", ["[tool.manywheels] jobs", "`many`", "`auto`"]),
        ([], "environment = [1]", "MW001", ["[tool.manywheels] environment"]),
        (["--platform", "manylinux_2_29"], "", "MW001", ["--platform", "`manylinux_2_29`", "`manylinux_2_28`"]),
        (["--timeout", "soon"], "", "MW001", ["--timeout", "`soon`", "`60m`"]),
        (["--archs", "pdp11"], "", "MW001", ["--archs", "`pdp11`", os.uname().machine]),
        (["--environment", "1X=2"], "", "MW001", ["--environment", "`1X=2`"]),
        (
            ["--platform", "musllinux_1_2", "--toolchain", "system"],
            "",
            "MW006",
            ["musllinux_1_2", "--toolchain zig", "--engine container"],
        ),
        (["--jbos", "1"], "", "MW001", ["--jbos", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_wrong_options(options: list[str], settings: str, code: str, words: list[str], here: InProcess) -> None:
    project = here.folder / "c_setuptools"
    shutil.copytree(PROJECTS / project.name, project)
    if settings:
        with (project / "pyproject.toml").open("a") as file:
            file.write(f"\n[tool.manywheels]\n{settings}\n")

    assert_refused(here.build(project, *options), code, *words)


def test_pyproject_that_is_not_toml(here: InProcess) -> None:
    assert_refused(here.build(PROJECTS / "bad_toml"), "MW002", "pyproject.toml", "line 7")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("absent", None, "There is no"),
        ("notes.txt", b"hello\n", "neither a folder nor an sdist"),
        ("empty-1.0.tar.gz", b"", "cannot be read"),
        ("garbage-1.0.tar.gz", b"hello\n" * 1000, "cannot be read"),
        ("garbage-1.0.zip", b"hello\n" * 1000, "cannot be read"),
    ],
)
def test_no_project(name: str, content: bytes | None, word: str, here: InProcess) -> None:
    path = here.folder / name
    if content is not None:
        path.write_bytes(content)

    assert_refused(here.build(path), "MW002", str(path), word)


def test_folder_without_a_project(here: InProcess) -> None:
    path = here.folder / "empty"
    path.mkdir()

    assert_refused(here.build(path), "MW002", str(path), "pyproject.toml")


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_truncated_sdist(kept: float, here: InProcess) -> None:
    noise, sdist = here.folder / "noise.bin", here.folder / "c_setuptools-1.0.tar.gz"
    noise.write_bytes(os.urandom(100_000))
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(PROJECTS / "c_setuptools", "c_setuptools-1.0")
        archive.add(noise, "c_setuptools-1.0/noise.bin")
    whole = sdist.read_bytes()
    sdist.write_bytes(whole[: int(len(whole) * kept)])

    assert_refused(here.build(sdist), "MW002", str(sdist), "cannot be read")


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/dist", "n" * 300, "dangling"])
def test_output_folder_that_cannot_be_written(place: str, here: InProcess) -> None:
    (here.folder / "a-file").write_text("")
    (here.folder / "dangling").symlink_to("/proc/nowhere")
    path = here.folder / place

    assert_refused(here.build(PROJECTS / "c_setuptools", output=path), "MW005", str(path), "output-dir")


def assert_quick(run: Callable[[], Finished]) -> Finished:
    """The run takes a second of the processor, and a half for a busy machine; the best of several counts."""
    for _ in range(4):
        before = _processor()
        finished = run()
        taken = _processor() - before
        if taken < 1.5:
            break
    assert taken < 1.5
    return finished


def _processor() -> float:
    """Return the processor's seconds of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize(
    ("name", "place", "code"),
    [("absent-1.0.tar.gz", "dist", "MW002"), ("fails_backend", "a-file", "MW005"), ("bad_toml", "dist", "MW002")],
)
def test_a_refusal_takes_a_second(program: Program, name: str, place: str, code: str) -> None:
    (program.folder / "a-file").write_text("")
    project = program.folder / name if name.startswith("absent") else program.copy(name)
    finished = assert_quick(lambda: program.build(project, tags=None, output=program.folder / place))

    assert_refused(finished, code)
