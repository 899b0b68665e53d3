"""What project code sees of the caller's environment. (That processes end is tested with real ones.)"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.runtime import process_trees, sandbox
from manywheels.runtime.environment import build_environment
from manywheels.runtime.isolation import reason_against
from manywheels.runtime.sandbox import Command, Outcome, run


def environment(
    private: Path, caller: dict[str, str], *, path: tuple[Path, ...] = (), passed: tuple[str, ...] = ()
) -> dict[str, str]:
    return build_environment(caller, path=path, private=private, passed=passed)


@pytest.mark.parametrize(
    "name",
    ["GITHUB_TOKEN", "CI_JOB_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN", "TWINE_PASSWORD",
     "AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK", "INPUT_PASSWORD", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CC",
     "CFLAGS", "LD_PRELOAD", "LD_LIBRARY_PATH", "XDG_CONFIG_HOME", "UV_INDEX_PRIVATE_PASSWORD", "PIP_CONFIG_FILE"],
)  # fmt: skip
def test_the_callers_secrets_and_habits_stay_outside(tmp_path: Path, name: str) -> None:
    assert name not in environment(tmp_path, {name: "value", "PATH": "/bin"})


@pytest.mark.parametrize(
    "name",
    ["LANG", "TZ", "SOURCE_DATE_EPOCH", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "https_proxy", "NO_PROXY",
     "AUDITWHEEL_PLAT", "RUSTUP_TOOLCHAIN", "PKG_CONFIG_PATH"],
)  # fmt: skip
def test_what_builds_need_comes_in(tmp_path: Path, name: str) -> None:
    assert environment(tmp_path, {name: "value"})[name] == "value"


@pytest.mark.parametrize(
    ("name", "value", "withheld"),
    [
        ("PIP_INDEX_URL", "https://index.example/simple", False),
        ("UV_DEFAULT_INDEX", "https://index.example/simple/@scope", False),
        ("PIP_INDEX_URL", "https://user:secret@index.example/simple", True),
        ("PIP_INDEX_URL", "https://token@index.example/simple", True),
        ("PIP_INDEX_URL", "https://user:p@ss@index.example/simple", True),
        ("UV_INDEX", "inner=https://user:secret@index.example/simple", True),
        ("PIP_EXTRA_INDEX_URL", "https://a.example/simple https://user:secret@b.example/simple", True),
        ("UV_EXTRA_INDEX_URL", "https://user:secret@b.example https://a.example", True),
        ("PIP_FIND_LINKS", "https://user:secret@files.example/", True),
        ("https_proxy", "http://proxy.example:3128", False),
        ("https_proxy", "http://user:secret@proxy.example:3128", True),
        ("HTTPS_PROXY", "user:secret@proxy.example:3128", True),  # curl and requests take it without a scheme
    ],
)
def test_credentials_in_addresses_are_withheld(
    tmp_path: Path,
    name: str,
    value: str,
    withheld: bool,  # noqa: FBT001
) -> None:
    assert (name not in environment(tmp_path, {name: value})) is withheld


def test_what_is_passed_comes_in_even_with_credentials(tmp_path: Path) -> None:
    caller = {"PIP_INDEX_URL": "https://user:secret@index.example/simple", "MY_FLAG": "1", "OTHER": "2"}
    made = environment(tmp_path, caller, passed=("PIP_INDEX_URL", "MY_FLAG", "ABSENT"))
    assert made["PIP_INDEX_URL"] == caller["PIP_INDEX_URL"]
    assert made["MY_FLAG"] == "1"
    assert "OTHER" not in made
    assert "ABSENT" not in made


def test_home_and_temporary_folder_are_private(tmp_path: Path) -> None:
    caller = {"HOME": "/root", "TMPDIR": "/tmp", "PATH": "/bin"}
    made = environment(tmp_path, caller, passed=("HOME", "TMPDIR"))
    assert (made["HOME"], made["TMPDIR"]) == (str(tmp_path / "home"), str(tmp_path / "tmp"))
    assert (tmp_path / "home").is_dir()
    assert (tmp_path / "tmp").is_dir()
    assert environment(tmp_path, caller) | {} == environment(tmp_path, caller)  # a second time, too


def test_the_programs_own_environment_is_not_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/opt/manywheels/venv")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    path = "/opt/manywheels/venv/bin:/usr/bin::/opt/manywheels/venv/bin/:/bin"
    made = environment(tmp_path, {"PATH": path}, path=(Path("/work/tools"),))
    assert made["PATH"] == "/work/tools:/usr/bin:/bin"


def test_without_an_environment_of_its_own_the_path_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed with the system's Python, the program's folder is the one that holds the compilers."""
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert environment(tmp_path, {"PATH": "/usr/bin:/bin"})["PATH"] == "/usr/bin:/bin"


def test_a_caller_without_path(tmp_path: Path) -> None:
    assert environment(tmp_path, {})["PATH"]


def test_rusts_tools_are_found_in_the_callers_home(tmp_path: Path) -> None:
    home, private = tmp_path / "caller", tmp_path / "private"
    (home / ".cargo").mkdir(parents=True)
    (home / ".rustup").mkdir()
    private.mkdir()
    made = environment(private, {"HOME": str(home), "RUSTUP_HOME": "/opt/rustup"})
    assert made["CARGO_HOME"] == str(home / ".cargo")
    assert made["RUSTUP_HOME"] == "/opt/rustup"
    assert "CARGO_HOME" not in environment(private, {"HOME": str(private)})


def test_a_switch_is_thrown_for_its_children_too() -> None:
    parent = Cancellation()
    before = parent.child()
    before.request()
    assert not parent.requested
    parent.request()
    parent.request()
    assert parent.requested
    assert parent.child().requested


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(status=0, seconds=1.0), True),
        (Outcome(status=1, seconds=1.0), False),
        (Outcome(status=0, seconds=1.0, timed_out=True), False),
        (Outcome(status=0, seconds=1.0, wrote_too_much=True), False),
        (Outcome(status=0, seconds=1.0, cancelled=True), False),
    ],
)
def test_success(outcome: Outcome, expected: bool) -> None:  # noqa: FBT001
    assert outcome.succeeded is expected


def test_whatever_happens_to_the_supervisor_the_tree_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_root: int) -> float:
        raise OSError

    monkeypatch.setattr(process_trees, "processor_seconds", fail)
    started = time.monotonic()
    with pytest.raises(OSError):  # noqa: PT011 - there is no more to it
        run(shell("exec sleep 60", tmp_path, silence=1.0), Cancellation())
    assert time.monotonic() - started < 30
    assert process_trees._running == set()


def test_the_first_process_has_none_of_the_commands_variables(tmp_path: Path) -> None:
    """It is root's where the command has a user of its own: LD_PRELOAD there is root's code execution."""
    command = Command(
        argv=("sh", "-c", "tr '\\0' '\\n' < /proc/$PPID/environ; echo $SAID; cat"), folder=tmp_path,
        environment={"PATH": os.environ["PATH"], "SAID": "two\nlines=\udcff"}, log=tmp_path / "log", timeout=60,
    )  # fmt: skip
    assert run(command, Cancellation()).succeeded
    assert (tmp_path / "log").read_bytes() == b"two lines=\xff\n"


@pytest.mark.skipif(bool(reason_against()), reason="only root has other users' commands to run")
def test_the_loader_of_roots_process_hears_nothing_of_the_commands_variables(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        command = Command(
            argv=("true",), folder=Path("/"), log=tmp_path / "log", timeout=60, user=62999,
            environment={"PATH": os.environ["PATH"], "LD_DEBUG": "files", "LD_DEBUG_OUTPUT": f"{folder}/trace"},
        )  # fmt: skip
        assert run(command, Cancellation()).succeeded
        owners = {file.stat().st_uid for file in Path(folder).iterdir()}
    assert owners == {62999}


def test_a_variable_that_would_be_two_is_refused(tmp_path: Path) -> None:
    command = Command(
        argv=("true",), folder=tmp_path, environment={"A": "1\0B=2"}, log=tmp_path / "log", timeout=60
    )  # fmt: skip
    with pytest.raises(ValueError, match="NUL"):
        run(command, Cancellation())


def shell(script: str, folder: Path, *, silence: float | None = None) -> Command:
    return Command(
        argv=("sh", "-c", script), folder=folder, environment={"PATH": os.defpath}, log=folder / "log", timeout=60,
        silence=silence,
    )  # fmt: skip


# --- how much a command may write -------------------------------------------------------------------------------------

LARGER = f"{sys.executable} -c 'import os; os.ftruncate(1, 1 << 40)'"


@pytest.mark.parametrize(
    ("script", "status", "interval"),
    [(f"{LARGER}; sleep 60", 128 + signal.SIGTERM, 0.05), (LARGER, 0, 60.0)],
    ids=["goes on", "ends itself"],
)
def test_a_log_has_a_limit_holes_or_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: int, interval: float
) -> None:
    """What ends itself is not looked at before."""
    monkeypatch.setattr(sandbox, "_LOG_INTERVAL", interval)
    started = time.monotonic()
    outcome = run(shell(script, tmp_path), Cancellation())
    assert (outcome.wrote_too_much, outcome.succeeded, outcome.status) == (True, False, status)
    assert time.monotonic() - started < 30
    size = (tmp_path / "log").stat().st_size
    assert sandbox.LARGEST_LOG < size < sandbox.LARGEST_LOG + 1000
    with (tmp_path / "log").open("rb") as log:
        log.seek(sandbox.LARGEST_LOG)
        assert b"cut off" in log.read()


def test_what_ignores_its_end_cannot_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "LARGEST_LOG", 1 << 20)
    flood = "trap '' TERM; while :; do head -c 300000 /dev/zero; sleep 0.05; done"
    assert run(shell(flood, tmp_path), Cancellation()).wrote_too_much
    assert (tmp_path / "log").stat().st_size < (1 << 20) + 1000


@pytest.mark.parametrize("place", ["", "rm log; "], ids=["there", "removed"])
def test_the_log_that_is_written_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setattr(sandbox, "_LOG_INTERVAL", 0.05)
    assert run(shell(f"{place}{LARGER}; sleep 60", tmp_path), Cancellation()).wrote_too_much


def test_a_command_that_empties_its_log_has_not_written_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "LARGEST_LOG", 1 << 20)
    monkeypatch.setattr(sandbox, "_LOG_INTERVAL", 0.01)
    empties = "for n in 1 2 3 4 5 6 7 8; do head -c 500000 /dev/zero; sleep 0.02; : >log; done; echo end"
    outcome = run(shell(empties, tmp_path, silence=30.0), Cancellation())
    assert outcome.succeeded
    assert (tmp_path / "log").read_text() == "end\n"


def test_a_command_that_removes_its_log_is_watched_all_the_same(tmp_path: Path) -> None:
    outcome = run(shell("rm log; exec sleep 60", tmp_path, silence=1.0), Cancellation())
    assert outcome.fell_silent


def test_who_is_served_by_others_is_not_silent(tmp_path: Path) -> None:
    """A compilation may be done by a worker meanwhile, whose time is not the tree's."""
    asked = []

    def is_served() -> bool:
        asked.append(1)
        return len(asked) < 30

    command = replace(shell("exec sleep 60", tmp_path, silence=1.0), is_served=is_served)
    assert run(command, Cancellation()).fell_silent
    assert len(asked) >= 30
