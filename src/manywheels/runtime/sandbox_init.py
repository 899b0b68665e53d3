"""The first process of a sandbox: start one command, and leave no process of it behind.

Run by path with `python -I -S`, with the standard library alone. It reaps all processes of the command, in other groups
and sessions too. It kills them when the command ends, and, after SIGTERM and the grace, when it gets SIGTERM or the
program dies.

A kernel, or an emulator of one (QEMU 7 without a machine), may lack a means. Without PR_SET_CHILD_SUBREAPER, orphans
go to the container's first process, and `process_trees` finds them by their user. Without PR_SET_PDEATHSIG, only the
container's end ends the command if the program is killed. Without keyctl(2), project code cannot use keys either.
Without PR_SET_NO_NEW_PRIVS, nothing is started as another user: it is what keeps project code from becoming root.

    sandbox_init.py <grace in seconds> <user id, or -> <folder to start in> <program> [argument ...]

The command's environment comes on standard input, as `NAME=value` entries that end with NUL; in this process's own,
LD_PRELOAD would run code as root. The user id needs root; this process stays root's. The exit status is the command's,
or 128 + n for death by signal n.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # without `signal`, which makes enumerations of its numbers
import ctypes
import os
import sys
import time
import warnings  # noqa: F401 - `os.execvpe` needs it, and a command's user may be unable to read Python's files

TYPE_CHECKING = False  # `typing`, `pathlib` and `contextlib` take longer to import than all else here
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
# keyctl(2), for which libc has no function.
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "ppc64le": 271, "s390x": 280}
_KEYCTL_32 = {"x86_64": 288, "i686": 288, "aarch64": 311, "armv7l": 311, "armv8l": 311}
_JOIN_SESSION_KEYRING, _CLEAR, _GET_PERSISTENT = 1, 7, 22
_SESSION_KEYRING, _USER_KEYRING, _USER_SESSION_KEYRING = -3, -4, -5
_MOST_CAPABILITIES = 64  # bits in the kernel's sets
_OOM_SCORE = b"500"  # out of memory, the kernel must end the build, not the program
_CANNOT_START = 127
_POLL = 0.02  # seconds
_LIBC = ctypes.CDLL(None, use_errno=True)


def main(grace: float, user: int | None, folder: str, argv: list[str]) -> int:
    parent = os.getppid()
    become_reaper()
    _can_prctl(_PR_SET_PDEATHSIG, _signal.SIGTERM)
    terminated = False

    def on_sigterm(_number: int, _frame: object) -> None:
        nonlocal terminated
        terminated = True
        _signal_all(_signal.SIGTERM)
        _signal.setitimer(_signal.ITIMER_REAL, grace)

    def on_alarm(_number: int, _frame: object) -> None:
        # Repeatedly: a process may start another just before it is killed.
        _signal_all(_signal.SIGKILL)
        _signal.setitimer(_signal.ITIMER_REAL, _POLL)

    _signal.signal(_signal.SIGTERM, on_sigterm)
    _signal.signal(_signal.SIGALRM, on_alarm)
    if os.getppid() != parent:  # the program died before PR_SET_PDEATHSIG
        return _CANNOT_START
    child = _start(user, folder, argv, _take_environment())
    status = _wait_for(child)
    if not terminated:
        leave_none()
    else:
        _reap_all()
    return status


def become_reaper() -> bool:
    """Adopt this process's orphaned descendants; return whether this kernel can do that."""
    return _can_prctl(_PR_SET_CHILD_SUBREAPER, 1)


def has_no_new_privs() -> bool:
    """Whether this kernel can keep a process from gaining rights by setuid programs; changes nothing."""
    return bool(_LIBC.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0)


def become_user(user: int) -> None:
    """Become a user for good: no groups, no capabilities, and no program that gives any (setuid, sudo)."""
    for capability in range(_MOST_CAPABILITIES):
        _can_prctl(_PR_CAPBSET_DROP, capability)  # fewer in this kernel, or forbidden: no_new_privs must suffice
    os.setgroups([])
    _keyctl(_JOIN_SESSION_KEYRING, 0)  # a new one: the program's may hold keys
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    for keyring in (_USER_KEYRING, _USER_SESSION_KEYRING, _keyctl(_GET_PERSISTENT, -1, _SESSION_KEYRING)):
        _keyctl(_CLEAR, keyring)  # these outlive the user's last process
    if not _can_prctl(_PR_SET_NO_NEW_PRIVS, 1):
        raise OSError(ctypes.get_errno(), "no_new_privs, which keeps it from becoming root, is missing here")


def _keyctl(operation: int, *arguments: int) -> int:
    """Call keyctl(2), see keyrings(7); return -1 if it is forbidden or unknown."""
    names = _KEYCTL if sys.maxsize > 1 << 32 else _KEYCTL_32
    number = names.get(os.uname().machine)
    if number is None:
        return -1
    return int(_LIBC.syscall(number, operation, *map(ctypes.c_long, arguments)))


def _can_prctl(option: int, value: int) -> bool:
    """Do it, and return whether this kernel could."""
    return bool(_LIBC.prctl(option, value, 0, 0, 0) == 0)


def _start(user: int | None, folder: str, argv: list[str], environment: dict[bytes, bytes]) -> int:
    child = os.fork()
    if not child:
        become_command(user, folder, argv, environment)
    return child


def become_command(
    user: int | None, folder: str, argv: list[str] | list[bytes], environment: Mapping[bytes, bytes]
) -> NoReturn:
    """Become a command, in a forked child, as a user if one is given; say on stderr if that cannot be."""
    try:
        os.setsid()
        for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:
            _signal.signal(number, _signal.SIG_DFL)  # Python, nohup or a shell may ignore signals
        _set_oom_score()
        if user is not None:
            become_user(user)
        os.chdir(folder)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        print(f"manywheels: cannot start {os.fsdecode(argv[0])}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(_CANNOT_START)


def _set_oom_score() -> None:
    try:
        with open("/proc/self/oom_score_adj", "wb") as file:
            file.write(_OOM_SCORE)
    except OSError:
        pass


def _take_environment() -> dict[bytes, bytes]:
    """Read the environment from standard input, which is then /dev/null."""
    with open(0, "rb", closefd=False) as given:
        entries = given.read().split(b"\0")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return dict(entry.split(b"=", 1) for entry in entries if b"=" in entry)


def _wait_for(child: int) -> int:
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def leave_none() -> None:
    """Kill and reap all descendants, of which this process is the reaper."""
    # An empty /proc proves nothing: a process may start another while it is read. A reaper without children is proof.
    while _reap_finished():
        _signal_all(_signal.SIGKILL)
        time.sleep(_POLL / 10)


def _reap_finished() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _reap_all() -> None:
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        pass


def _signal_all(number: int) -> None:
    for pid in descendants(os.getpid()):
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass


def process_ids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def status_fields(pid: int) -> list[bytes]:
    """Return /proc/PID/stat from the state (proc(5), field 3) on; empty without the process."""
    try:
        # pid (command) state ppid …: the command may contain blanks and brackets
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return []


def descendants(root: int) -> list[int]:
    """Zombies count too: their other threads may run."""
    children: dict[int, list[int]] = {}
    for pid in process_ids():
        if fields := status_fields(pid):
            children.setdefault(int(fields[1]), []).append(pid)
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), None if sys.argv[2] == "-" else int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
