"""What a target's processes leave in /tmp, in shared memory and in queues is gone when the run is over."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.runtime import isolation, leftovers
from manywheels.runtime.isolation import isolate
from manywheels.runtime.leftovers import _message_queues, remove_of
from manywheels.runtime.sandbox import Command, run

USER, OTHER = 61991, 61992
LIMIT = 120.0  # seconds for removing what a test has made
PYTHON = "/usr/bin/python3"  # one that other users reach

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0 or not os.path.exists(PYTHON),  # noqa: PTH110
        reason="only root has a second user, who needs a Python",
    ),
    pytest.mark.xdist_group("users"),  # all that a user has is counted, and removed
]

# Objects of every kind, by the means of libc; what cannot be made here says so.
LEAVE = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
print(libc.shmget(0x6d770000 + os.getuid(), 4096, 0o1666))
print(libc.semget(0x6d770000 + os.getuid(), 1, 0o1666))
print(libc.msgget(0x6d770000 + os.getuid(), 0o1666))
libc.mq_open(b"/manywheels-test-%d" % os.getuid(), os.O_CREAT | os.O_RDWR, 0o666, None)
open(f"/dev/shm/manywheels-test-{os.getuid()}", "w").close()
"""


@pytest.fixture
def place(open_folder: Path) -> Iterator[Path]:
    """A folder where every user can write, as /tmp."""
    shared = open_folder / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    yield shared
    remove_of([USER, OTHER], places=[str(shared)], seconds=LIMIT)


def as_user(user: int, code: str, folder: Path) -> str:
    """Run Python code in the sandbox, as that user and in a folder; return what it says."""
    log = folder.parent / f"log-{user}"
    command = Command(
        argv=(PYTHON, "-I", "-S", "-c", textwrap.dedent(code)), folder=folder, environment={}, log=log,
        timeout=60.0, user=user,
    )  # fmt: skip
    outcome = run(command, Cancellation())
    assert outcome.succeeded, log.read_text()
    return log.read_text()


def removed(place: Path, *users: int) -> list[str]:
    return remove_of(users or [USER], places=[str(place)], seconds=LIMIT)


def owned_objects(user: int) -> list[str]:
    """The System V objects of a user, and its message queues."""
    found = []
    for kind in ("shm", "sem", "msg"):
        header, *rows = Path("/proc/sysvipc", kind).read_text().splitlines()
        at = header.split().index("cuid")
        found += [f"{kind} {row.split()[1]}" for row in rows if row.split()[at] == str(user)]
    with _message_queues() as folder:
        if folder is not None:
            found += [entry.name for entry in os.scandir(folder) if entry.stat().st_uid == user]
    found += [str(path) for path in Path("/dev/shm").iterdir() if path.lstat().st_uid == user]
    return found


def test_files_folders_links_and_fifos_are_removed(place: Path) -> None:
    (place / "of-root").write_text("stays")
    as_user(USER, """
        import os, socket
        os.umask(0)
        open("pip-unpack", "w").close()
        os.makedirs("ccache/a/b"); open("ccache/a/b/c", "w").close(); os.chmod("ccache", 0)
        os.symlink("/etc", "link"); os.symlink("/etc/passwd", "ccache-link"); os.mkfifo("fifo")
        socket.socket(socket.AF_UNIX).bind("socket")
    """, place)  # fmt: skip
    assert len(list(place.iterdir())) == 7
    assert removed(place) == []
    assert [path.name for path in place.iterdir()] == ["of-root"]
    assert Path("/etc/passwd").exists()


def test_what_belongs_to_others_stays(place: Path) -> None:
    as_user(USER, "open('mine', 'w').close()", place)
    as_user(OTHER, "import os; os.mkdir('theirs', 0o700); open('theirs/file', 'w').close()", place)
    assert removed(place) == []
    assert [str(path.relative_to(place)) for path in sorted(place.rglob("*"))] == ["theirs", "theirs/file"]


def test_what_lies_in_open_folders_of_others_is_found(place: Path) -> None:
    as_user(OTHER, "import os; os.umask(0); os.makedirs('a/b/c'); os.mkdir('closed', 0o755)", place)
    as_user(USER, "open('a/b/c/mine', 'w').close()", place)
    assert removed(place) == []
    assert [path.name for path in sorted(place.rglob("*"))] == ["a", "b", "c", "closed"]


def test_a_link_in_place_of_a_folder_is_not_entered(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").touch()
    for path in (victim, victim / "file"):
        os.chown(path, USER, USER)
    (place / "link").symlink_to(victim)
    as_user(USER, "import os; os.mkdir('folder'); os.symlink('../../victim', 'folder/link')", place)
    assert removed(place) == []
    assert (victim / "file").exists()
    assert [path.name for path in place.iterdir()] == ["link"]


def test_no_depth_is_too_deep(place: Path) -> None:
    as_user(USER, """
        import os
        for _ in range(5000):
            os.mkdir("d"); os.chdir("d")
    """, place)  # fmt: skip
    assert removed(place) == []
    assert list(place.iterdir()) == []


def test_it_ends_in_time_and_goes_on_the_next_time(place: Path) -> None:
    as_user(USER, "import os; os.mkdir('many'); [open(f'many/{n}', 'w').close() for n in range(3000)]", place)
    started = time.monotonic()
    (left,) = remove_of([USER], places=[str(place)], seconds=0.001)
    assert time.monotonic() - started < 30
    assert "more than could be removed in time" in left
    assert removed(place) == []
    assert list(place.iterdir()) == []


def test_it_hears_the_cancellation(place: Path) -> None:
    as_user(USER, "open('mine', 'w').close()", place)
    cancellation = Cancellation()
    cancellation.request()
    assert remove_of([USER], cancellation, places=[str(place)], seconds=LIMIT)
    assert (place / "mine").exists()


def test_what_a_killed_run_was_removing_is_removed(place: Path) -> None:
    as_user(USER, "import os; os.makedirs('a/b')", place)
    held = place / ".manywheels-leftovers-0123456789abcdef"
    held.mkdir(0o700)
    (place / "a").rename(held / "a")
    assert removed(place) == []
    assert list(place.iterdir()) == []


def test_a_folder_that_only_has_our_name_is_not_ours(place: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").touch()
    for name, mode in (("open", 0o755), ("closed", 0o700)):
        folder = place / f".manywheels-leftovers-{name}"
        folder.mkdir(mode)
        (folder / "file").touch()
    os.chown(place / ".manywheels-leftovers-closed", OTHER, OTHER)
    (place / ".manywheels-leftovers-link").symlink_to(tmp_path)
    assert removed(place) == []
    assert (tmp_path / "victim").exists()
    assert sorted(path.parent.name for path in place.rglob("file")) == [
        ".manywheels-leftovers-closed", ".manywheels-leftovers-open",
    ]  # fmt: skip


def test_shared_memory_semaphores_and_queues_are_removed(place: Path) -> None:
    try:
        for user in (USER, OTHER):
            assert "-1" not in as_user(user, LEAVE, place)
        mine, theirs = owned_objects(USER), owned_objects(OTHER)
        assert len(mine) == len(theirs) >= 4
        assert remove_of([USER], places=["/dev/shm"], seconds=LIMIT) == []
        assert owned_objects(USER) == []
        assert owned_objects(OTHER) == theirs
    finally:
        remove_of([USER, OTHER], places=["/dev/shm"], seconds=LIMIT)


def test_a_user_is_given_to_a_target_without_what_an_earlier_run_left(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was killed could not clean up; and one that ends leaves nothing either."""
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(isolation, "_USERS", range(USER, OTHER + 1))
    monkeypatch.setattr(isolation, "_FETCHER", 61993)
    monkeypatch.setattr(sys, "executable", PYTHON)
    poison = Path(f"/tmp/manywheels-test-poison-{os.getpid()}")
    if isolation.reason_against():
        pytest.skip(isolation.reason_against())
    try:
        as_user(USER, f"import os; os.mkdir({str(poison)!r})", place)
        with isolate(1, [], {}, source=tmp_path) as isolated:
            assert isolated.users == (USER,), isolated.against
            assert not poison.exists()
            as_user(USER, LEAVE, place)
            as_user(USER, f"import os; os.mkdir({str(poison)!r})", place)
        assert not poison.exists()
        assert owned_objects(USER) == []
    finally:
        with suppress(OSError):
            poison.rmdir()


def test_a_user_of_whom_something_is_left_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYWHEELS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(isolation, "_USERS", range(USER, OTHER + 2))
    monkeypatch.setattr(sys, "executable", PYTHON)
    monkeypatch.setattr(leftovers, "remove_of", lambda users: ["/tmp/x: in use"] if users == [USER] else [])
    if isolation.reason_against():
        pytest.skip(isolation.reason_against())
    with isolate(1, [], {}, source=tmp_path) as isolated:
        assert isolated.users == (OTHER,), isolated.against


def test_the_folder_for_removing_is_roots_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_user(USER, "import os; os.mkdir('a')", place)
    modes = []

    def rmdir(name: str, *, dir_fd: int) -> None:
        status = os.fstat(dir_fd)
        modes.append((status.st_uid, stat.S_IMODE(status.st_mode)))
        remove(name, dir_fd=dir_fd)

    remove = os.rmdir
    monkeypatch.setattr(os, "rmdir", rmdir)
    assert removed(place) == []
    assert modes[0] == (0, 0o700)


# --- keys -------------------------------------------------------------------------------------------------------------

KEYS = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
ADD, KEYCTL = {"x86_64": (248, 250), "aarch64": (217, 219)}[os.uname().machine]
SESSION, USERS = ctypes.c_int(-3), ctypes.c_int(-4)
def add(keyring): return libc.syscall(ADD, b"user", b"manywheels-test", b"secret", 6, keyring)
def find(keyring): return libc.syscall(KEYCTL, 10, keyring, b"user", b"manywheels-test", 0)
def persistent(): return libc.syscall(KEYCTL, 22, ctypes.c_int(-1), SESSION)
"""


@pytest.fixture
def keys() -> dict[str, Any]:
    """Functions that add and find a key of the kernel's; this process has a session keyring of its own for them."""
    if os.uname().machine not in {"x86_64", "aarch64"}:
        pytest.skip("the numbers of the system calls are not known here")
    functions: dict[str, Any] = {}
    exec(KEYS, functions)
    functions["libc"].syscall(functions["KEYCTL"], 1, None)
    if functions["add"](functions["SESSION"]) < 0:
        pytest.skip("the kernel's keys cannot be used here")
    return functions


def test_the_programs_keys_are_not_project_codes(place: Path, keys: dict[str, Any]) -> None:
    assert keys["find"](keys["SESSION"]) > 0
    assert as_user(USER, f"{KEYS}\nprint(find(SESSION))", place).strip() == "-1"
    assert keys["find"](keys["SESSION"]) > 0


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("keyring", ["USERS", "persistent()"])
def test_a_user_has_no_keys_of_an_earlier_one(place: Path, keyring: str) -> None:
    said = as_user(USER, f"{KEYS}\nprint(add({keyring}) > 0, find({keyring}) > 0)", place)
    if said != "True True\n":
        pytest.skip("the kernel has no such keyring")
    said = as_user(USER, f"{KEYS}\nprint(find({keyring}))", place)
    assert said.splitlines()[-1] == "-1"
