"""The sandbox on kernels and emulators that lack a means: what stands in for it, and what is refused by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.runtime.isolation import reason_against
from manywheels.runtime.sandbox import Command, run
from users import USER

WITHOUT = Path(__file__).with_name("kernel_without.py")
PDEATHSIG, SUBREAPER, NO_NEW_PRIVS = "1", "36", "38,39"
# Runs a command that leaves a daemon, and children that nobody waits for; tells what is left, and what is said of it.
CHECK = """
import json, os, sys
from pathlib import Path
from manywheels.core.cancellation import Cancellation
from manywheels.runtime import isolation, process_trees, sandbox
from manywheels.runtime.isolation import Isolation

user, log = int(sys.argv[1]) or None, Path(sys.argv[2])
command = sandbox.Command(
    argv=("sh", "-c", "(setsid sleep 600 & true & true &); echo started; id -u"), folder=Path("/"),
    environment={"PATH": os.environ["PATH"]}, log=log, timeout=60, user=user,
)
outcome = sandbox.run(command, Cancellation())
children = [Path("/proc", pid, "stat").read_text().split()[2] for task in Path("/proc/self/task").iterdir()
            for pid in (task / "children").read_text().split()]
print(json.dumps({
    "status": outcome.status, "left": len(process_trees.processes_of(user)) if user else None, "children": children,
    "said": log.read_text(), "against": isolation.reason_against(), "pid": os.getpid(),
    "unended": isolation.unended_processes(Isolation(users=(user,) if user else ())),
}))
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root filters what a kernel answers")


def check(tmp_path: Path, lacking: str, *, user: int = USER, before: tuple[str, ...] = ()) -> dict[str, Any]:
    if reason := reason_against():
        pytest.skip(reason)
    argv = (
        *before,
        sys.executable,
        str(WITHOUT),
        lacking,
        sys.executable,
        "-c",
        CHECK,
        str(user),
        str(tmp_path / "log"),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_without_a_subreaper_processes_are_found_by_their_user(tmp_path: Path) -> None:
    found = check(tmp_path, SUBREAPER)
    assert (found["status"], found["said"]) == (0, f"started\n{USER}\n")
    assert found["left"] == 0
    assert (found["against"], found["unended"]) == ("", "")


def test_the_first_process_of_a_container_reaps_what_it_was_given(tmp_path: Path) -> None:
    """Without a subreaper, orphans become its children: none is left, not even as a zombie."""
    found = check(tmp_path, SUBREAPER, before=("unshare", "--pid", "--fork", "--mount-proc"))
    assert found["pid"] == 1
    assert (found["status"], found["left"], found["children"]) == (0, 0, [])


def test_without_a_subreaper_and_users_it_is_said_what_may_stay(tmp_path: Path) -> None:
    found = check(tmp_path, SUBREAPER, user=0, before=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    assert (found["status"], found["said"]) == (0, "started\n0\n")
    assert "has no PR_SET_CHILD_SUBREAPER: processes that project code detaches are not ended" in found["unended"]


def test_without_a_parents_death_signal_commands_run(tmp_path: Path) -> None:
    found = check(tmp_path, PDEATHSIG)
    assert (found["status"], found["left"]) == (0, 0)


def test_without_no_new_privs_nothing_is_started_as_another_user(tmp_path: Path) -> None:
    found = check(tmp_path, NO_NEW_PRIVS)
    assert found["status"] == 127
    assert "no_new_privs, which keeps it from becoming root, is missing here" in found["said"]
    assert "lacks no_new_privs" in found["against"]


def test_pythons_without_pidfd_open_hear_of_a_commands_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of manylinux2014's images, which are compiled with older headers."""
    monkeypatch.delattr(os, "pidfd_open")
    outcomes = [
        run(
            Command(
                argv=("sh", "-c", script), folder=tmp_path, environment=dict(os.environ), log=tmp_path / "log",
                timeout=timeout,
            ),
            Cancellation(),
        )
        for script, timeout in (("exit 3", 60.0), ("sleep 600", 0.1))
    ]  # fmt: skip
    assert [(outcome.status, outcome.timed_out) for outcome in outcomes] == [(3, False), (143, True)]
