"""Run each target's project code as its own user, if the program is root (docs/security.md).

The kernel then separates targets, and shows whether processes of a target are left. Folders with the CI's files and
credentials are closed meanwhile.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pwd
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import cache_dir
from manywheels.core.text import sanitize
from manywheels.errors import IsolationError
from manywheels.plan.trust import IN_A_JOB_OF_ITS_OWN, grants_in
from manywheels.runtime import leftovers, process_trees, sandbox, sandbox_init
from manywheels.runtime.git import linked_repository
from manywheels.runtime.sandbox import Command
from manywheels.runtime.untrusted_files import open_lock

# Within the ranges of systemd's and distributions' dynamic users.
_USERS: Final = range(62000, 64000)
_FETCHER: Final = 61999  # fixed: its files outlive a run
_CAPABILITIES: Final = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
_SOCKETS: Final = ("/var/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock")
_FILE_COMMANDS: Final = ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY")
_PR_SET_DUMPABLE: Final = 4
_MOUNTS: Final = Path("/proc/self/mountinfo")
_PROBE: Final = Path(__file__).with_name("isolation_probe.py")
_PROBE_TIMEOUT: Final = 60.0  # seconds
_LARGEST_OUTPUT: Final = 1 << 20  # bytes of the probe
_LARGEST_REASON: Final = 300  # bytes of it, if it fails


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """A user for each target; without users, `against` is the reason, without a full stop.

    `fetcher` fetches build requirements; None if another run has it.
    """

    users: tuple[int, ...] = ()
    fetcher: int | None = None
    against: str = ""

    def user(self, number: int) -> int | None:
        """Return the user id of a target by number, from 0; None for the program's own."""
        return self.users[number] if self.users else None


@contextmanager
def isolate(
    count: int, needed: Sequence[Path], environment: Mapping[str, str], *, source: Path, against: str = ""
) -> Iterator[Isolation]:
    """Reserve users for `count` targets and close the CI's folders, until the end of the `with` block.

    Project code must reach `needed`; `source` is the checkout; `against` is the caller's reason against isolation. If a
    job that can get identity tokens cannot be isolated, raises IsolationError: project code could use them.
    """
    _shield()
    with ExitStack() as stack:
        closed = (*closed_folders(environment, needed), *_repository_folders(source, needed))
        against = against or reason_against()
        isolation = Isolation(against=against) if against else _try_to_isolate(stack, count, needed, closed)
        if isolation.against and (grants := grants_in(environment)):
            raise IsolationError(
                f"This job can have identity tokens ({', '.join(grants)}), and project code would share them: "
                f"{isolation.against}.",
                remedy=f"{IN_A_JOB_OF_ITS_OWN} See docs/security.md.",
            )
        yield isolation


def _shield() -> None:
    """Hide this process's memory, environment and open files from all but root (prctl(2)).

    Only as root: another user's process could no longer read its own files in /proc.
    """
    if os.geteuid() == 0:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


# --- reasons against it -----------------------------------------------------------------------------------------------


def reason_against() -> str:
    """Return why project code cannot have its own users, without a full stop; empty if it can."""
    if os.geteuid() != 0:
        return "manywheels does not run as root, so there is no second user"
    missing = [name for name, number in _CAPABILITIES.items() if not _capabilities() >> number & 1]
    if missing:
        return f"root lacks capabilities here (CAP_{', CAP_'.join(missing)})"
    if not sandbox_init.has_no_new_privs():
        return "this kernel, or its emulator, lacks no_new_privs, so that setuid programs could make project code root"
    return ""


def unended_processes(isolation: Isolation) -> str:
    """Return what does not hold here of the promise that no process of project code is left; mostly empty.

    With users, all of a user's processes are ended, whatever the kernel lacks.
    """
    if isolation.users or process_trees.can_adopt():
        return ""
    return (
        "this kernel, or its emulator, has no PR_SET_CHILD_SUBREAPER: processes that project code detaches are not "
        "ended with it, but with the container"
    )


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("CapEff:")[2].split()[0], 16)


def _try_to_isolate(stack: ExitStack, count: int, needed: Sequence[Path], closed: Sequence[Path]) -> Isolation:
    attempt = stack.enter_context(ExitStack())
    fetcher = _FETCHER if not _is_known(_FETCHER) and _hold(attempt, _FETCHER) else None
    users = _reserve(attempt, count)
    _close(attempt, closed)
    if problems := _probe(users[0], closed, needed):
        attempt.close()
        return Isolation(against="; ".join(problems))
    attempt.callback(_remove_and_report, (*users, *([fetcher] if fetcher else [])))
    attempt.callback(os.umask, os.umask(0o022))  # targets must read what is made for them
    return Isolation(users=users, fetcher=fetcher)


# --- users ----------------------------------------------------------------------------------------------------------


def _reserve(stack: ExitStack, count: int) -> tuple[int, ...]:
    reserved: list[int] = []
    for user in _USERS:
        if len(reserved) == max(1, count):
            return tuple(reserved)
        if not _is_known(user) and _hold(stack, user):
            reserved.append(user)
    raise IsolationError(
        f"All users from {_USERS[0]} to {_USERS[-1]} are in use on this machine.",
        remedy="Wait for other runs to end.",
    )


def _hold(stack: ExitStack, user: int) -> bool:
    """Lock a user; return whether the lock was free, and the user without processes and leftovers."""
    folder = cache_dir() / "users"
    folder.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context(open_lock(folder / str(user)))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return not process_trees.processes_of(user) and not leftovers.remove_leftovers([user])


def _remove_and_report(users: Sequence[int]) -> None:
    if left := leftovers.remove_leftovers(users):
        print(f"note: project code left behind {sanitize('; '.join(left))}", file=sys.stderr, flush=True)


def _is_known(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


# --- folders --------------------------------------------------------------------------------------------------------


def closed_folders(environment: Mapping[str, str], in_use: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return the CI's folders with credentials, or files that control later steps, sorted; none outside CI.

    The workspace is one: its `.git` may hold credentials, and builds use a copy. HOME stays open if `in_use` is in it.
    """
    named: list[str] = []
    if environment.get("GITHUB_ACTIONS"):
        folders = [environment.get(name) for name in ("GITHUB_WORKSPACE", "RUNNER_TEMP")]
        home = environment.get("HOME")
        folders += [home] if home and not _is_in_use(Path(home).resolve(), in_use) else []
        files = (environment.get(name) for name in (*_FILE_COMMANDS, "GITHUB_EVENT_PATH"))
        named += [*filter(None, folders), *(os.path.dirname(file) for file in files if file)]  # noqa: PTH120
    if project := environment.get("GITLAB_CI") and environment.get("CI_PROJECT_DIR"):
        named += [project, f"{project}.tmp"]  # the second has the file variables
        named += _runners_mounts(environment)
    found = {Path(name).resolve() for name in named if Path(name).is_absolute() and Path(name).is_dir()}
    return tuple(sorted(found - {Path("/")}))


def _runners_mounts(environment: Mapping[str, str]) -> list[str]:
    """Return the mounts of GitLab's Kubernetes executor with the job's scripts (all variables) and log.

    All users can write both, and the runner reads an exit status from the log. Their parents are configurable
    (`scripts_base_dir`, `logs_base_dir`), so search the mounts.
    """
    job = f"{environment.get('CI_PROJECT_ID')}-{environment.get('CI_JOB_ID')}"
    points = [_unescaped(line.split()[4]) for line in _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()]
    return [point for point in points if Path(point).name in {f"scripts-{job}", f"logs-{job}"}]


def _unescaped(point: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)


def _repository_folders(source: Path, in_use: Iterable[Path]) -> tuple[Path, ...]:
    """Return the folder to close so that the repository is out of reach.

    With `--engine container`, the checkout is read-only, so only its parent can be closed.
    """
    linked = linked_repository(source)
    repository = linked or source / ".git"
    if not repository.is_dir():
        return ()
    if os.access(repository, os.W_OK):
        return (repository,)
    parent = (linked or source).parent
    can_be_closed = os.access(parent, os.W_OK) and not _is_in_use(parent, in_use)
    return (parent,) if can_be_closed else ()


def _is_in_use(folder: Path, in_use: Iterable[Path]) -> bool:
    return any(path.resolve().is_relative_to(folder) for path in (*in_use, Path(sys.executable)))


def _close(stack: ExitStack, folders: Iterable[Path]) -> None:
    for folder in folders:
        mode = folder.stat().st_mode & 0o7777
        folder.chmod(mode & 0o7700)
        stack.callback(_reopen, folder, mode)


def _reopen(folder: Path, mode: int) -> None:
    with suppress(OSError):  # it was removed
        folder.chmod(mode)


# --- the probe --------------------------------------------------------------------------------------------------------


def _probe(user: int, closed: Iterable[Path], needed: Iterable[Path]) -> list[str]:
    request = {
        "supervisor": os.getpid(),
        "closed": [str(folder) for folder in closed],
        "sockets": [path for path in _SOCKETS if Path(path).exists()],
        "needed": [str(path) for path in needed],
    }
    with tempfile.TemporaryDirectory(prefix="manywheels-") as folder:
        log = Path(folder) / "output"
        command = Command(
            argv=(sys.executable, "-I", "-S", str(_PROBE), json.dumps(request)),
            folder=Path("/"), environment={}, log=log, timeout=_PROBE_TIMEOUT, user=user,
        )  # fmt: skip
        outcome = sandbox.run(command, Cancellation())
        with log.open("rb") as file:
            output = file.read(_LARGEST_OUTPUT)
    if not outcome.succeeded:
        said = output[-_LARGEST_REASON:].decode("utf-8", "replace").strip().removeprefix("manywheels: ")
        return [f"no program can be run as user {user} ({said or f'exit status {outcome.status}'})"]
    problems: list[str] = json.loads(output)
    return problems
