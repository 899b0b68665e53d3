"""A target lends its token while all that it asks for is compiled for others, and not before."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from manywheels.build.compiler_cache.lending import Requests

_LONG = 30.0  # seconds, for what must not happen


class Tokens:
    """Notes when the token is lent, and when it is back."""

    def __init__(self) -> None:
        self.lent, self.back = threading.Semaphore(0), threading.Semaphore(0)
        self.out = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        self.out += 1
        self.lent.release()
        yield
        self.out -= 1
        self.back.release()


class Watched(Future[str]):
    """Tells when the one who waits has looked whether the result is there."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_at = threading.Semaphore(0)

    def done(self) -> bool:
        self.looked_at.release()
        return super().done()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


def waiter(requests: Requests, awaited: Future[str]) -> Future[str]:
    """Wait in a thread of its own."""
    got: Future[str] = Future()
    threading.Thread(target=lambda: got.set_result(requests.result_of(awaited, "cp312")), daemon=True).start()
    return got


def lending(tokens: Tokens) -> tuple[Requests, Future[str], Future[str]]:
    """Have a target with one request lend its token; return also what the request waits for, and what it gets."""
    requests, awaited = Requests(tokens), Future[str]()
    requests.begin("cp312")
    got = waiter(requests, awaited)
    assert tokens.lent.acquire(timeout=_LONG)
    return requests, awaited, got


def test_the_token_is_lent_while_the_only_request_waits(tokens: Tokens) -> None:
    _, awaited, got = lending(tokens)
    awaited.set_result("object")
    assert got.result(_LONG) == "object"
    assert tokens.out == 0


def test_a_target_that_compiles_meanwhile_keeps_its_token(tokens: Tokens) -> None:
    requests, awaited = Requests(tokens), Watched()
    requests.begin("cp312")
    requests.begin("cp312")  # compiles
    got = waiter(requests, awaited)
    assert awaited.looked_at.acquire(timeout=_LONG)
    with requests._changed:  # free once the waiter has decided
        assert not requests._lenders
    awaited.set_result("object")
    assert got.result(_LONG) == "object"
    assert not tokens.lent.acquire(blocking=False)


def test_it_is_lent_when_what_compiled_has_ended(tokens: Tokens) -> None:
    requests, awaited = Requests(tokens), Future[str]()
    requests.begin("cp312")
    requests.begin("cp312")
    got = waiter(requests, awaited)
    requests.end("cp312")
    assert tokens.lent.acquire(timeout=_LONG)
    awaited.set_result("object")
    assert got.result(_LONG) == "object"


def test_a_new_request_takes_the_token_back(tokens: Tokens) -> None:
    requests, awaited, got = lending(tokens)
    requests.begin("cp312")
    assert tokens.back.acquire(timeout=_LONG)
    awaited.set_result("object")
    assert got.result(_LONG) == "object"


def test_several_that_wait_lend_one_token(tokens: Tokens) -> None:
    requests = Requests(tokens)
    futures = [Future[str]() for _ in range(3)]
    for _ in futures:
        requests.begin("cp312")
    waiters = [waiter(requests, awaited) for awaited in futures]
    assert tokens.lent.acquire(timeout=_LONG)
    assert tokens.out == 1
    for number, awaited in enumerate(futures):
        awaited.set_result(str(number))
    assert [got.result(_LONG) for got in waiters] == ["0", "1", "2"]
    assert tokens.out == 0


def test_other_targets_do_not_count(tokens: Tokens) -> None:
    requests, awaited = Requests(tokens), Future[str]()
    requests.begin("cp311")
    requests.begin("cp312")
    assert requests.number_of("cp312") == 1
    got = waiter(requests, awaited)
    assert tokens.lent.acquire(timeout=_LONG)
    awaited.set_result("object")
    assert got.result(_LONG) == "object"
