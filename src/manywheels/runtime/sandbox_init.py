"""The first process of a sandbox: starts one command, and leaves no process of it behind.

Run by path with `python -I -S`, it uses nothing but the standard library. It makes itself the reaper of every process
that the command starts, also of those that leave its process group or session, so that all of them can be killed:
when the command ends, when SIGTERM arrives (first asked, after the grace killed), and when the supervisor dies.

    sandbox_init.py <grace in seconds> <user id, or -> <folder to start in> <program> [argument ...]

The command's environment comes on standard input, as `NAME=value` entries that NUL characters end. It is never this
process's own: with LD_PRELOAD, for one, whoever writes the command's variables would have code run as root.

With a user id, which only root can ask for, the command runs as that user and has nothing of root's left; this process
itself stays root's, so that the command cannot touch it. The exit status is the command's; a death by signal is passed
on as 128 + the signal's number.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
# keyctl(2), for which libc has no function.
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219, "loongarch64": 219, "ppc64le": 271, "s390x": 280}
_KEYCTL_32 = {"x86_64": 288, "i686": 288, "aarch64": 311, "armv7l": 311, "armv8l": 311}
_JOIN_SESSION_KEYRING, _CLEAR, _GET_PERSISTENT = 1, 7, 22
_SESSION_KEYRING, _USER_KEYRING, _USER_SESSION_KEYRING = -3, -4, -5
_MOST_CAPABILITIES = 64  # bits in the kernel's sets
_FIRST_TO_GO = b"500"  # where memory runs out, the kernel shall end what is built, not what leads it
_CANNOT_START = 127
_POLL = 0.02  # seconds between looks at the processes that are still there


def main(grace: float, user: int | None, folder: str, argv: list[str]) -> int:
    """Run `argv` in `folder`, and return its exit status when none of its processes is left."""
    parent = os.getppid()
    become_reaper()
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    terminated = False

    def on_sigterm(_number: int, _frame: object) -> None:
        nonlocal terminated
        terminated = True
        _signal_all(signal.SIGTERM)
        signal.setitimer(signal.ITIMER_REAL, grace)

    def on_alarm(_number: int, _frame: object) -> None:
        # Again and again: a process may have been starting another one just when it was killed.
        _signal_all(signal.SIGKILL)
        signal.setitimer(signal.ITIMER_REAL, _POLL)

    signal.signal(signal.SIGTERM, on_sigterm)
    signal.signal(signal.SIGALRM, on_alarm)
    if os.getppid() != parent:  # the supervisor died before the kernel was told to report it
        return _CANNOT_START
    child = _start(user, folder, argv, _take_environment())
    status = _wait_for(child)
    if not terminated:
        _kill_the_rest()
    else:
        _reap_all()
    return status


def become_reaper() -> None:
    """Make this process the parent of orphans among its descendants, however deep they are."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become_user(user: int) -> None:
    """Become a user for good: no groups, no capabilities, and no program that would give any back (setuid, sudo)."""
    for capability in range(_MOST_CAPABILITIES):
        with suppress(OSError):  # the kernel knows fewer, or root may not do this here: then no_new_privs must do
            _prctl(_PR_CAPBSET_DROP, capability)
    os.setgroups([])
    _keyctl(_JOIN_SESSION_KEYRING, 0)  # a new one: that of the program holds what its user put there
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    for keyring in (_USER_KEYRING, _USER_SESSION_KEYRING, _keyctl(_GET_PERSISTENT, -1, _SESSION_KEYRING)):
        _keyctl(_CLEAR, keyring)  # these stay when their user's last process has gone
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _keyctl(operation: int, *arguments: int) -> int:
    """Do something with the kernel's keys (keyctl(2), keyrings(7)); return -1 where that is forbidden or unknown."""
    names = _KEYCTL if sys.maxsize > 1 << 32 else _KEYCTL_32
    number = names.get(os.uname().machine)
    if number is None:
        return -1
    return int(ctypes.CDLL(None).syscall(number, operation, *map(ctypes.c_long, arguments)))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _start(user: int | None, folder: str, argv: list[str], environment: dict[bytes, bytes]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)  # what Python, nohup or a shell set to be ignored would be inherited
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_bytes(_FIRST_TO_GO)
        if user is not None:
            become_user(user)
        os.chdir(folder)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        print(f"manywheels: cannot start {argv[0]}: {error.strerror}", file=sys.stderr, flush=True)
    finally:
        os._exit(_CANNOT_START)


def _take_environment() -> dict[bytes, bytes]:
    """Read the command's environment from standard input, which is /dev/null afterwards."""
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


def _kill_the_rest() -> None:
    # That nobody is in /proc proves nothing: one process may hand over to the next while it is read. That the kernel
    # knows no child of the reaper is the proof.
    while _reap_finished():
        _signal_all(signal.SIGKILL)
        time.sleep(_POLL / 10)


def _reap_finished() -> bool:
    """Reap the children that have ended; return whether there are others."""
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
    """Signal every descendant."""
    for pid in descendants(os.getpid()):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def process_ids() -> list[int]:
    """Return the process ids of this machine, or of this container."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]  # noqa: PTH208 - thousands of Path objects


def status_fields(pid: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat from the state on (proc(5), field 3); none if the process has gone."""
    try:
        # pid (command) state ppid …: the command may hold blanks and brackets, so read from its last bracket
        return Path("/proc", str(pid), "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return []


def descendants(root: int) -> list[int]:
    """Return the process ids of everything below a process, zombies as well.

    A process whose first thread has ended is shown as a zombie, although its other threads run; true ones hear nothing.
    """
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
