"""The pool of tokens: the order in which targets get them, and that none is lost."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from manywheels.build import jobserver
from manywheels.build.jobserver import Jobserver, Place, Rank
from manywheels.core.cancellation import Cancellation
from manywheels.core.cgroup import available_cores
from manywheels.errors import Cancelled

SOON = 60  # seconds; on a machine with other work to do


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[int], Jobserver]]:
    made: list[Jobserver] = []

    def make_one(tokens: int) -> Jobserver:
        made.append(Jobserver(tmp_path / "jobserver", tokens))
        return made[-1]

    yield make_one
    for server in made:
        server.close()


class Client:
    """A compiler's end of the FIFO."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def draw(self, count: int) -> int:
        with suppress(BlockingIOError):
            return len(os.read(self._descriptor, count))
        return 0

    def put(self, count: int) -> None:
        os.write(self._descriptor, b"+" * count)

    def fill(self) -> None:
        for size in (4096, 1):
            with suppress(BlockingIOError):
                while True:
                    self.put(size)

    def count(self) -> int:
        """Return how many tokens lie in the FIFO."""
        found = self.draw(60_000)
        if found:
            self.put(found)
        return found

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[[], Client]]:
    made: list[Client] = []

    def connect() -> Client:
        made.append(Client(tmp_path / "jobserver"))
        return made[-1]

    yield connect
    for one in made:
        one.close()


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < end, f"it did not happen within {SOON} s"
        time.sleep(0.001)


def test_the_variables_for_make_ninja_and_cargo(make: Callable[[int], Jobserver]) -> None:
    server = make(4)
    assert stat.S_ISFIFO(server.path.stat().st_mode)
    assert server.environment["MAKEFLAGS"] == f"-j4 --jobserver-auth=fifo:{server.path}"
    assert server.environment["CARGO_MAKEFLAGS"] == server.environment["MAKEFLAGS"]


def test_a_slot_is_a_token(make: Callable[[int], Jobserver], client: Callable[[], Client]) -> None:
    server, compiler = make(3), client()
    assert compiler.count() == 3
    with server.slot(Cancellation()):
        assert compiler.count() == 2
        with server.slot(Cancellation()):
            assert compiler.count() == 1
        assert compiler.count() == 2
    assert compiler.count() == 3


def test_a_slot_is_returned_when_its_build_fails(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    server, compiler = make(1), client()
    with pytest.raises(ZeroDivisionError), server.slot(Cancellation()):
        _ = 1 / 0
    assert compiler.count() == 1


def test_tokens_of_killed_compilers_are_restored(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    server, compiler = make(4), client()
    with server.slot(Cancellation()):
        assert compiler.draw(2) == 2  # and never put back
    assert compiler.count() == 4


def test_tokens_in_use_by_another_build_are_not_restored_twice(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    server, compiler = make(4), client()
    with server.slot(Cancellation()):
        compiler.draw(1)
        with server.slot(Cancellation()):
            pass
        assert compiler.count() == 2


@pytest.mark.parametrize("surplus", [1, 4, 50, 5000])
def test_surplus_tokens_of_a_build_are_removed(
    make: Callable[[int], Jobserver],
    client: Callable[[], Client],
    surplus: int,
) -> None:
    server, compiler = make(4), client()
    with server.slot(Cancellation()):
        compiler.put(surplus)
    assert compiler.count() == 4


def test_a_fifo_that_a_build_has_filled_blocks_no_one(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    server, compiler = make(2), client()
    with server.slot(Cancellation()):
        compiler.fill()
        with server.slot(Cancellation()):
            compiler.fill()
    with server.slot(Cancellation()):
        pass


class Queue:
    """Targets that wait for a slot, each in a thread; `served` are their names in the order of their turns."""

    def __init__(self, server: Jobserver) -> None:
        self._server = server
        self._threads: list[threading.Thread] = []
        self.served: list[str] = []

    def join(self, name: str, place: Place) -> None:
        """Have a target wait at its place."""

        def work() -> None:
            with self._server.slot(Cancellation(), place):
                self.served.append(name)

        self._threads.append(in_thread(work))

    def wait_for_end(self) -> None:
        for thread in self._threads:
            thread.join(SOON)
            assert not thread.is_alive()


def wait_until_somebody_waits(server: Jobserver) -> None:
    """Wait until a target waits for its turn, and not for a token."""
    until(lambda: bool(server._changed._waiters))  # type: ignore[attr-defined]


def test_first_come_first_served(make: Callable[[int], Jobserver]) -> None:
    server = make(1)
    queue = Queue(server)
    with server.slot(Cancellation()):
        for name in "abcde":
            queue.join(name, server.reserve(Rank.NEW))
        assert queue.served == []
    queue.wait_for_end()
    assert queue.served == list("abcde")


def test_who_has_begun_comes_before_who_has_not(make: Callable[[int], Jobserver]) -> None:
    server = make(1)
    queue = Queue(server)
    with server.slot(Cancellation()):
        for name, rank in (("new", Rank.NEW), ("begun", Rank.BEGUN), ("newer", Rank.NEW), ("begun later", Rank.BEGUN)):
            queue.join(name, server.reserve(rank))
    queue.wait_for_end()
    assert queue.served == ["begun", "begun later", "new", "newer"]


def test_who_has_begun_comes_before_who_waits_for_a_token_already(
    make: Callable[[int], Jobserver], client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, compiler, is_taking = make(2), client(), threading.Event()
    queue, take = Queue(server), server._take

    def noted(place: Place, cancellation: Cancellation) -> bool:
        is_taking.set()
        return take(place, cancellation)

    monkeypatch.setattr(server, "_take", noted)
    with server.slot(Cancellation()):
        assert compiler.draw(1) == 1
        is_taking.clear()
        queue.join("new", server.reserve(Rank.NEW))
        assert is_taking.wait(SOON)
        queue.join("begun", server.reserve(Rank.BEGUN))
        until(lambda: len(server._queue) == 2)
        compiler.put(1)
        queue.wait_for_end()
    assert queue.served == ["begun", "new"]


def second_of_two(queue: Queue, server: Jobserver) -> Place:
    """Have the second of two targets wait at its place; return the first's, at which nobody waits."""
    first, second = (server.reserve(Rank.NEW) for _ in range(2))
    queue.join("second", second)
    return first


def test_a_place_is_kept_for_who_is_not_there_yet(
    make: Callable[[int], Jobserver], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So builds begin in the plan's order, whichever of them is ready first."""
    monkeypatch.setattr(jobserver, "_RESERVATION", 1000.0)
    server = make(2)
    queue = Queue(server)
    first = second_of_two(queue, server)
    wait_until_somebody_waits(server)
    assert queue.served == []
    queue.join("first", first)
    queue.wait_for_end()
    assert sorted(queue.served) == ["first", "second"]


def test_a_place_is_not_kept_for_long(make: Callable[[int], Jobserver], monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose build requirements take their time holds up no other."""
    monkeypatch.setattr(jobserver, "_RESERVATION", 0.05)
    server = make(1)
    queue = Queue(server)
    first = second_of_two(queue, server)
    queue.wait_for_end()
    queue.join("first", first)
    queue.wait_for_end()
    assert queue.served == ["second", "first"]


def test_who_leaves_its_place_lets_the_next_one_go_on(
    make: Callable[[int], Jobserver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobserver, "_RESERVATION", 1000.0)
    server = make(1)
    queue = Queue(server)
    first = second_of_two(queue, server)
    wait_until_somebody_waits(server)
    server.leave(first)
    queue.wait_for_end()
    server.leave(first)  # it is not in the queue any more
    assert queue.served == ["second"]


def test_a_compiler_that_waits_lends_its_token(make: Callable[[int], Jobserver], client: Callable[[], Client]) -> None:
    server, compiler, lending, is_back = make(1), client(), threading.Event(), threading.Event()

    def wait() -> None:
        with server.lent(Cancellation()):
            assert lending.wait(SOON)
        is_back.set()

    with server.slot(Cancellation()):
        in_thread(wait)
        until(lambda: server._lent == 1)
        with server.slot(Cancellation()):  # another target's
            lending.set()
            until(lambda: len(server._queue) == 1)
            assert not is_back.is_set()
        assert is_back.wait(SOON)
        assert compiler.count() == 0
    assert compiler.count() == 1


def test_a_compiler_gets_its_token_back_before_others_begin_or_go_on(make: Callable[[int], Jobserver]) -> None:
    server, lending, is_back = make(1), threading.Event(), threading.Event()
    queue = Queue(server)

    def wait() -> None:
        with server.lent(Cancellation()):
            assert lending.wait(SOON)
        assert queue.served == []
        is_back.set()

    with server.slot(Cancellation()):
        in_thread(wait)
        until(lambda: server._lent == 1)
        with server.slot(Cancellation()):
            for name, rank in (("new", Rank.NEW), ("begun", Rank.BEGUN)):
                queue.join(name, server.reserve(rank))
            until(lambda: len(server._queue) == 2)
            lending.set()
            until(lambda: len(server._queue) == 3)
        assert is_back.wait(SOON)
    queue.wait_for_end()
    assert queue.served == ["begun", "new"]


def test_no_further_target_begins_on_a_lent_token_than_are_allowed(tmp_path: Path) -> None:
    with closing(Jobserver(tmp_path / "jobserver", 2, most=1)) as server:
        queue = Queue(server)
        with server.slot(Cancellation()), server.lent(Cancellation()):
            queue.join("new", server.reserve(Rank.NEW))
            wait_until_somebody_waits(server)
            assert queue.served == []
        queue.wait_for_end()


def test_a_slot_that_was_given_back_is_a_token_for_others(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    server, compiler = make(2), client()
    with server.slot(Cancellation()) as slot:
        for _ in range(2):
            slot.give_back()
            assert compiler.count() == 2
        slot.take()
        assert compiler.count() == 1
    assert compiler.count() == 2


def test_who_is_cancelled_while_it_takes_its_slot_again_puts_none_back(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    server, compiler, cancellation = make(1), client(), Cancellation()
    with server.slot(cancellation) as slot:
        slot.give_back()
        cancellation.request()
        with pytest.raises(Cancelled):
            slot.take()
    assert compiler.count() == 1
    assert server._queue == []


def test_no_more_slots_than_are_allowed_although_there_are_tokens(tmp_path: Path, client: Callable[[], Client]) -> None:
    with closing(Jobserver(tmp_path / "jobserver", 3, most=1)) as server:
        queue, compiler = Queue(server), client()
        with server.slot(Cancellation()):
            queue.join("new", server.reserve(Rank.NEW))
            wait_until_somebody_waits(server)
            queue.join("begun", server.reserve(Rank.BEGUN))
            until(lambda: len(server._queue) == 2)
            assert queue.served == []
            assert compiler.count() == 2
        queue.wait_for_end()
    assert queue.served == ["begun", "new"]


def test_no_more_builds_than_tokens(make: Callable[[int], Jobserver]) -> None:
    server, running, most = make(2), [], []

    def work() -> None:
        with server.slot(Cancellation()):
            running.append(1)
            most.append(len(running))
            time.sleep(0.002)
            running.pop()

    threads = [in_thread(work) for _ in range(8)]
    for thread in threads:
        thread.join(SOON)
    assert len(most) == 8
    assert max(most) <= 2


def test_a_cancelled_target_stops_waiting(make: Callable[[int], Jobserver], client: Callable[[], Client]) -> None:
    server, compiler, cancellation, stopped = make(1), client(), Cancellation(), threading.Event()

    def work() -> None:
        with pytest.raises(Cancelled), server.slot(cancellation):
            pytest.fail("it works on without a token")
        stopped.set()

    with server.slot(Cancellation()):
        thread = in_thread(work)
        until(lambda: len(server._queue) == 1)
        cancellation.request()
        assert stopped.wait(SOON)
        thread.join(SOON)
        assert compiler.count() == 0  # it drew no token, and put none back
    assert compiler.count() == 1


def test_a_cancelled_target_in_the_queue_stops_waiting(make: Callable[[int], Jobserver]) -> None:
    """It is not the first in the queue, and the first one goes on waiting."""
    server, cancellation, left = make(1), Cancellation(), threading.Event()

    def first() -> None:
        with server.slot(Cancellation()):
            pass

    def second() -> None:
        with suppress(Cancelled), server.slot(cancellation):
            pass
        left.set()

    with server.slot(Cancellation()):
        threads = [in_thread(first)]
        until(lambda: len(server._queue) == 1)
        threads.append(in_thread(second))
        until(lambda: len(server._queue) == 2)
        cancellation.request()
        went = left.wait(SOON)  # meanwhile the first one goes on waiting
    for thread in threads:
        thread.join(SOON)
    assert went


def test_the_next_in_the_queue_gets_the_token_of_a_cancelled_target(make: Callable[[int], Jobserver]) -> None:
    server, cancellation, done = make(1), Cancellation(), threading.Event()

    def cancelled() -> None:
        with suppress(Cancelled), server.slot(cancellation):
            pass

    def next_one() -> None:
        with server.slot(Cancellation()):
            done.set()

    with server.slot(Cancellation()):
        threads = [in_thread(cancelled)]
        until(lambda: len(server._queue) == 1)
        threads.append(in_thread(next_one))
        cancellation.request()
        assert not done.wait(0.01)
    assert done.wait(SOON)
    for thread in threads:
        thread.join(SOON)


# --- shared by several programs ---------------------------------------------------------------------------------------


def test_who_joins_lays_out_no_further_tokens(make: Callable[[int], Jobserver], client: Callable[[], Client]) -> None:
    first = make(3)
    with first.slot(Cancellation()):
        second, compiler = make(3), client()
        assert compiler.count() == 2
        with second.slot(Cancellation()):
            assert compiler.count() == 1
    assert compiler.count() == 3
    assert first.environment == second.environment


def test_who_joins_while_no_target_works_finds_the_full_number(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    first, compiler = make(3), client()
    with first.slot(Cancellation()):
        pass
    compiler.draw(2)  # a compiler that has been killed meanwhile
    second = make(3)
    assert compiler.count() == 3
    with first.slot(Cancellation()), second.slot(Cancellation()):
        assert compiler.count() == 1


def test_tokens_in_use_by_another_program_are_not_restored(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    first, second, compiler = make(4), make(4), client()
    with first.slot(Cancellation()):
        assert compiler.draw(2) == 2  # the first program's compilers work
        with second.slot(Cancellation()):
            assert compiler.count() == 0
        assert compiler.count() == 1
    assert compiler.count() == 4  # they never put back what they had


def test_the_last_program_restores_the_tokens_whichever_it_is(
    make: Callable[[int], Jobserver], client: Callable[[], Client]
) -> None:
    first, second, compiler = make(4), make(4), client()
    with second.slot(Cancellation()):
        with first.slot(Cancellation()):
            compiler.draw(2)
        assert compiler.count() == 1
    assert compiler.count() == 4


def end_like_a_killed_program(server: Jobserver) -> None:
    """Close its files with its tokens still held, which is all that the kernel does for it."""
    server.close()


def test_tokens_of_a_killed_program_are_restored_when_another_has_done_its_work(
    make: Callable[[int], Jobserver], client: Callable[[], Client], tmp_path: Path
) -> None:
    server, killed, compiler = make(3), Jobserver(tmp_path / "jobserver", 3), client()
    assert killed.draw(killed.reserve(Rank.NEW), Cancellation())
    end_like_a_killed_program(killed)
    assert compiler.count() == 2
    with server.slot(Cancellation()):
        assert compiler.count() == 1
    assert compiler.count() == 3


def test_who_waits_for_tokens_of_a_killed_program_gets_them(
    make: Callable[[int], Jobserver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobserver, "_PATIENCE", 1)
    server, killed, done = make(1), Jobserver(tmp_path / "jobserver", 1), threading.Event()
    assert killed.draw(killed.reserve(Rank.NEW), Cancellation())

    def work() -> None:
        with server.slot(Cancellation()):
            done.set()

    thread = in_thread(work)
    until(lambda: len(server._queue) == 1)
    end_like_a_killed_program(killed)
    thread.join(SOON)
    assert done.is_set()


def test_two_programs_that_wait_for_lost_tokens_both_get_their_turn(
    make: Callable[[int], Jobserver], client: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobserver, "_PATIENCE", 1)
    servers, compiler, running, most = [make(1), make(1)], client(), [], []
    assert compiler.draw(1) == 1  # and never put back

    def build(server: Jobserver) -> Callable[[], None]:
        def work() -> None:
            for _ in range(20):
                with server.slot(Cancellation()):
                    running.append(1)
                    most.append(len(running))
                    running.pop()

        return work

    threads = [in_thread(build(server)) for server in servers]
    for thread in threads:
        thread.join(SOON)
    assert len(most) == 40
    assert max(most) == 1
    assert compiler.count() == 1


def test_closing_leaves_the_fifo_to_the_others(make: Callable[[int], Jobserver], tmp_path: Path) -> None:
    Jobserver(tmp_path / "jobserver", 1).close()
    server = make(1)
    Jobserver(tmp_path / "jobserver", 1).close()
    with server.slot(Cancellation()):
        pass


# --- cores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quota", "affinity", "expected"),
    [
        ("max 100000", 8, 8),
        ("200000 100000", 8, 2),
        ("150000 100000", 8, 2),
        ("10000 100000", 8, 1),
        ("800000 100000", 4, 4),
        ("nonsense", 4, 4),
        (None, 4, 4),
    ],
)
def test_available_cores(monkeypatch: pytest.MonkeyPatch, quota: str | None, affinity: int, expected: int) -> None:
    def read_text(path: Path, *_: object) -> str:
        if quota is None:
            raise FileNotFoundError(path)
        return f"{quota}\n"

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    assert available_cores() == expected
