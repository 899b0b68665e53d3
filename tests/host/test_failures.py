"""What cannot be built: the user learns what happened, where and what to do; nothing wrong enters the output folder."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from manywheels.build.toolchain import Machine
from manywheels.verify import WHEEL_CHECKS

if TYPE_CHECKING:
    from pathlib import Path

    from host.conftest import Finished, Processes, Program

# The program's own main, and after it what memory its process had at most (VmHWM, for ru_maxrss is inherited).
MEASURED = """
import re, sys
from manywheels.cli.main import main
status = main()
print("peak kB:", re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
sys.exit(status)
"""


def assert_failed(finished: Finished, code: str, stage: str = "build", tag: str = "cp312") -> None:
    """One target failed with this code, which was printed, and there is no wheel of it."""
    assert finished.status == (3 if code == "MW106" else 1), finished.text
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


def test_compile_error_is_shown_and_not_what_surrounds_it(program: Program) -> None:
    finished = program.build("fails_compile")

    assert_failed(finished, "MW101")
    failure = finished.failure()
    assert "broken.c:12" in failure["problem"]
    assert any("broken.c:12" in line for line in failure["excerpt"])
    assert len(failure["excerpt"]) <= 60
    assert len(finished.stdout.splitlines()) < 100
    assert sum(map(len, finished.stdout.splitlines())) < 20_000
    assert "part_30.c" in finished.log().read_text()


def test_words_of_the_back_end_reach_the_user(program: Program) -> None:
    finished = program.build("fails_backend")

    assert_failed(finished, "MW101")
    assert finished.failure()["problem"] == "RuntimeError: the moon is not full"
    assert "  │ RuntimeError: the moon is not full" in finished.stdout
    assert not any("/work/run-" in line for line in finished.failure()["excerpt"])


def test_one_failure_leaves_the_others(program: Program) -> None:
    finished = program.build("fails_on_311", tags="cp310 cp311 cp312")

    assert_failed(finished, "MW101", tag="cp311")
    assert finished.states == {"cp310": "built", "cp311": "failed", "cp312": "built"}
    assert [wheel.name.split("-")[2] for wheel in finished.wheels] == ["cp310", "cp312"]
    assert "Python 3.11 is not supported" in finished.failure("cp311")["problem"]
    assert "2 wheels in " in finished.stdout
    assert "1 failed" in finished.stdout
    assert program.run_in("cp312", finished.wheels[1], "import fails_on_311 as f; print(f.answer())") == "42"


def test_same_failure_is_told_once(program: Program) -> None:
    finished = program.build("fails_backend", tags="cp310 cp312")

    assert finished.states == {"cp310": "failed", "cp312": "failed"}
    assert finished.stdout.count("  │ RuntimeError: the moon is not full") == 1
    assert all(str(finished.log(tag)) in finished.stdout for tag in ("cp310", "cp312"))


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


ONE_TERABYTE = """
import os

def build_wheel(*_):
    log = os.open(f"/proc/{os.getppid()}/fd/1", os.O_WRONLY)  # uv's own stdout is the log
    os.ftruncate(log, 1 << 40)
    raise RuntimeError("the moon is not full")
"""


def test_a_log_without_measure_ends_the_build(program: Program) -> None:
    project = program.copy("fails_backend")
    (project / "backend.py").write_text(ONE_TERABYTE)
    finished = program.build(project, "--verbose")

    assert_failed(finished, "MW112")
    assert "more than 1 GiB" in finished.failure()["problem"]
    assert finished.log().stat().st_size < (1 << 30) + 1000
    assert len(finished.stdout) < 20_000_000
    assert "bytes of this log are left out here]" in finished.stdout
    finished.log().unlink()  # pytest keeps its folders


NESTED = """
import os

def build_wheel(*_):
    for _ in range(3_000):
        os.mkdir("d")
        os.chdir("d")
    raise RuntimeError("the moon is not full")
"""


def test_nested_folders_end_no_run(program: Program, private_cache: Path) -> None:
    project = program.copy("fails_backend")
    (project / "backend.py").write_text(NESTED)
    finished = program.build(project, caller={"MANYWHEELS_CACHE": str(private_cache)})

    assert_failed(finished, "MW101")
    assert finished.failure()["problem"] == "RuntimeError: the moon is not full"
    assert list((private_cache / "work").iterdir()) == []


def test_time_limit_ends_every_process(program: Program, processes: Processes) -> None:
    finished = program.build("hangs", "--timeout", "10s", "--environment", f"HANG_MARKER={processes.marker}")

    assert processes.alive() == []
    assert_failed(finished, "MW102")
    assert "10 s" in finished.failure()["problem"]
    assert "timeout" in finished.failure()["remedy"]
    assert "hanging" in finished.log().read_text()
    assert finished.seconds < 60  # the limit, the grace, and what a busy machine takes; by itself it goes on for ever


def test_second_wheel_does_not_slip_in(program: Program) -> None:
    finished = program.build("two_wheels")

    assert_failed(finished, "MW103")
    assert "2 wheels" in finished.failure()["problem"]
    assert "two_wheels-1.0-2-cp312" in finished.failure()["problem"]


def test_wheel_that_was_never_written(program: Program) -> None:
    finished = program.build("no_wheel")

    assert_failed(finished, "MW103")
    assert "no wheel" in finished.failure()["problem"]


def test_wheel_for_another_python(program: Program) -> None:
    finished = program.build("wrong_python")

    assert_failed(finished, "MW103")
    assert "wrong_python-1.0-cp38-cp38-linux" in finished.failure()["problem"]


def test_pure_project(program: Program) -> None:
    finished = program.build("pure")

    assert_failed(finished, "MW103")
    assert "pure-1.0-py3-none-any.whl" in finished.failure()["problem"]
    assert "uv build" in finished.failure()["remedy"]


def test_wheel_that_contradicts_itself(program: Program) -> None:
    finished = program.build("lying_tag")

    assert_failed(finished, "MW106", stage="verify")
    assert "MW202" in finished.failure()["problem"]
    assert "cp38-cp38" in finished.failure()["problem"]
    checks = finished.targets["cp312"]["checks"]
    assert list(checks) == [check.code for check in WHEEL_CHECKS]
    assert "; ".join(chain(*checks.values())) == finished.failure()["problem"]


def test_symbol_that_is_too_new_for_the_policy(program: Program, compiler: str) -> None:
    if (Machine.here().glibc or (0, 0)) < (2, 34):
        pytest.skip("this machine's glibc is older than 2.34")
    finished = program.build("new_symbol", "--toolchain", "system")

    assert_failed(finished, "MW104", stage="repair")
    assert "close_range@GLIBC_2.34" in finished.failure()["problem"]
    assert "manylinux_2_28" in finished.failure()["problem"]
    assert "manylinux_2_34" in finished.failure()["remedy"]
    assert "manylinux_2_34" in finished.stdout


def test_symbol_that_the_policy_lacks_is_not_hidden_by_the_linker(program: Program) -> None:
    finished = program.build("new_symbol")

    assert finished.status in {1, 3}, finished.text
    assert finished.wheels == []
    assert "close_range" in finished.failure()["problem"]


def test_new_symbol_is_fine_for_a_newer_policy(program: Program) -> None:
    finished = program.build("new_symbol", "--platform", "manylinux_2_34")

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
def test_default_targets_without_interpreter_are_a_warning(program: Program, few: dict[str, str]) -> None:
    finished = program.build("c_setuptools", tags=None, caller=few)

    assert finished.status == 0, finished.text
    assert list(finished.states) == ["cp39", "cp310", "cp311", "cp312", "cp313", "cp314"]
    missing = [tag for tag, state in finished.states.items() if state == "no interpreter"]
    assert finished.states["cp312"] == "built"
    assert "cp314" in missing
    assert len(finished.wheels) == 6 - len(missing)
    (warning,) = [line for line in finished.stdout.splitlines() if line.startswith("warning: no interpreter")]
    assert set(missing) == {word.strip(":") for word in warning.split() if word.startswith("cp3")}
    assert "doctor" in finished.stdout
    assert finished.failure("cp314")["code"] == "MW105"
    assert "uv python install 3.14" in finished.failure("cp314")["remedy"]


def test_interpreter_that_was_asked_for_by_name(program: Program, few: dict[str, str]) -> None:
    finished = program.build("c_setuptools", "--build", "cp312 cp315t", tags=None, caller=few)

    assert_refused(finished, "MW004", "cp315t", "--engine container")
    assert "cp312" not in finished.stderr


def test_requires_python_leaves_targets_out(program: Program) -> None:
    finished = program.build("asks_too_much", tags="cp311 cp313")

    assert finished.status == 0, finished.text
    assert finished.states == {"cp313": "built"}
    assert "left out by the project's requires-python: cp311" in finished.stdout


# --- refusals, before anything is built -------------------------------------------------------------------------------


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
        (["--platform", "musllinux_1_2"], "", "MW006", ["musllinux_1_2", "--engine container"]),
        (["--jbos", "1"], "", "MW001", ["--jbos", "--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_wrong_options(options: list[str], settings: str, code: str, words: list[str], program: Program) -> None:
    project, output = program.copy("c_setuptools"), program.folder / "never"
    if settings:
        with (project / "pyproject.toml").open("a") as file:
            file.write(f"\n[tool.manywheels]\n{settings}\n")
    finished = assert_quick(lambda: program.build(project, *options, tags=None, output=output))

    assert_refused(finished, code, *words)


def test_pyproject_that_is_not_toml(program: Program) -> None:
    finished = assert_quick(lambda: program.build("bad_toml", tags=None))

    assert_refused(finished, "MW002", "pyproject.toml", "line 7")


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
def test_no_project(name: str, content: bytes | None, word: str, program: Program) -> None:
    path = program.folder / name
    if content is not None:
        path.write_bytes(content)
    finished = assert_quick(lambda: program.build(path, tags=None))

    assert_refused(finished, "MW002", str(path), word)


def test_folder_without_a_project(program: Program) -> None:
    path = program.new_folder("empty")
    finished = assert_quick(lambda: program.build(path, tags=None))

    assert_refused(finished, "MW002", str(path), "pyproject.toml")


@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_truncated_sdist(kept: float, program: Program) -> None:
    project, sdist = program.copy("c_setuptools"), program.folder / "c_setuptools-1.0.tar.gz"
    (project / "noise.bin").write_bytes(os.urandom(100_000))
    with tarfile.open(sdist, "w:gz") as archive:
        archive.add(project, "c_setuptools-1.0")
    whole = sdist.read_bytes()
    sdist.write_bytes(whole[: int(len(whole) * kept)])
    finished = assert_quick(lambda: program.build(sdist, tags=None))

    assert_refused(finished, "MW002", str(sdist), "cannot be read")


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/dist", "n" * 300, "dangling"])
def test_output_folder_that_cannot_be_written(place: str, program: Program) -> None:
    (program.folder / "a-file").write_text("")
    (program.folder / "dangling").symlink_to("/proc/nowhere")
    path = program.folder / place
    finished = assert_quick(lambda: program.build("c_setuptools", tags=None, output=path))

    assert_refused(finished, "MW005", str(path), "output-dir")
