"""The cache of GitHub's workflows: saving, restoring, and what must never fail a run."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from manywheels.core.cancellation import Cancellation
from manywheels.core.retry import RetryPolicy
from manywheels.deliver import actions_cache
from manywheels.deliver.actions_cache import ActionsCache, Kept, Skipped, Why, cache_version, open_cache
from manywheels.deliver.results_service import find_server
from manywheels.errors import Cancelled
from unit.cacheservice import DENIED, FakeCache
from unit.hostile import SOON, Hostile, Manner, drips, floods, hostile, reluctant
from unit.resultsservice import LOST, SECRET, Answer, Script, always, answer, once, serving, token

CONTENT = os.urandom(1000)
VERSION = cache_version(["objects"])


@pytest.fixture
def fake() -> Iterator[FakeCache]:
    with serving(FakeCache()) as service:
        yield service


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The file that is kept; `tmp_path` has nothing else."""
    (tmp_path / "objects").write_bytes(CONTENT)
    return tmp_path / "objects"


class Client:
    """A client with short pauses, and the lines that it printed."""

    def __init__(self, fake: FakeCache, *, cancellation: Cancellation | None = None, **options: Any) -> None:
        self.said: list[str] = []
        server = find_server(fake.environment)
        assert server
        retries = RetryPolicy(attempts=3, first_pause=0.001, cancellation=cancellation or Cancellation())
        self.cache = ActionsCache(server=server, say=self.said.append, retries=retries, **options)

    def restore(self, into: Path, *prefixes: str, key: str = "key", **options: float) -> Kept | Skipped:
        return self.cache.restore(key, prefixes, VERSION, into, **options)

    def save(self, path: Path, key: str = "key", **options: float) -> Kept | Skipped:
        return self.cache.save(key, VERSION, path, **options)


def skipped(outcome: Kept | Skipped, why: Why) -> str:
    """Check why nothing was done; return the reason."""
    assert isinstance(outcome, Skipped)
    assert outcome.why is why
    return outcome.reason


def unchanged(store: Path) -> bool:
    """Whether the file is as it was, with nothing beside it."""
    return store.read_bytes() == CONTENT and list(store.parent.iterdir()) == [store]


# --- where the service is ---------------------------------------------------------------------------------------------


def opened(**environment: str) -> ActionsCache | Skipped:
    job = {"ACTIONS_RESULTS_URL": "https://results.example/x/", "ACTIONS_RUNTIME_TOKEN": token()}
    return open_cache({**job, **environment}, Cancellation(), print)


@pytest.mark.parametrize("server", ["", "https://github.com", "https://GitHub.com/", "https://company.ghe.com"])
def test_a_job_of_githubs_has_a_cache(server: str) -> None:
    found = opened(GITHUB_SERVER_URL=server)
    assert isinstance(found, ActionsCache)
    assert found.server.url == "https://results.example"


@pytest.mark.parametrize(
    "environment",
    [
        {"ACTIONS_RESULTS_URL": ""},
        {"ACTIONS_RUNTIME_TOKEN": ""},
        {"GITHUB_SERVER_URL": "https://git.company.example"},
        {"GITHUB_SERVER_URL": "https://evil-github.com", "ACTIONS_CACHE_SERVICE_V2": "true"},
    ],
)
def test_elsewhere_there_is_none(environment: Mapping[str, str]) -> None:
    found = opened(**environment)
    assert isinstance(found, Skipped)
    assert (found.why, found.is_usual) == (Why.NO_SERVICE, True)


@pytest.mark.parametrize(
    ("mode", "reads", "writes"),
    [
        ("none", False, False),
        ("read", True, False),
        ("write-only", False, True),
        ("write", True, True),
        ("new", True, True),
    ],
)
def test_the_workflows_cache_mode_holds(fake: FakeCache, store: Path, mode: str, *, reads: bool, writes: bool) -> None:
    cache = open_cache({**fake.environment, "ACTIONS_CACHE_MODE": mode.upper()}, Cancellation(), print)
    assert isinstance(cache, ActionsCache)
    saved, restored = cache.save("key", VERSION, store), cache.restore("other", [], VERSION, store)
    assert isinstance(saved, Kept) if writes else skipped(saved, Why.DENIED)
    assert skipped(restored, Why.MISSING if reads else Why.DENIED)
    assert bool(fake.calls("CreateCacheEntry")) == writes
    assert bool(fake.calls("GetCacheEntryDownloadURL")) == reads


# --- saving and restoring ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("snake", [True, False])
def test_what_is_saved_is_restored(fake: FakeCache, store: Path, *, snake: bool) -> None:
    fake.snake = snake
    assert Client(fake).save(store) == Kept(key="key", size=len(CONTENT))
    store.write_bytes(b"another")
    assert Client(fake).restore(store) == Kept(key="key", size=len(CONTENT))
    assert unchanged(store)
    assert set(fake.authorizations) == {f"Bearer {token()}"}


def test_requests_have_the_protocols_fields(fake: FakeCache, store: Path) -> None:
    Client(fake).save(store)
    Client(fake).restore(store, "k")
    entry = {"key": "key", "version": VERSION}
    assert fake.calls("CreateCacheEntry") == [entry]
    assert fake.calls("FinalizeCacheEntryUpload") == [{**entry, "size_bytes": "1000"}]
    assert fake.calls("GetCacheEntryDownloadURL") == [{**entry, "restore_keys": ["k"]}]


def test_without_the_key_the_newest_entry_of_a_prefix_is_restored(fake: FakeCache, store: Path) -> None:
    for key, version in [("a-1", VERSION), ("a-2", VERSION), ("a-3", cache_version(["other"])), ("b-9", VERSION)]:
        fake.keep(key, version, key.encode())
    assert Client(fake).restore(store, "c-", "a-", "b-") == Kept(key="a-2", size=3)
    assert store.read_bytes() == b"a-2"


def test_a_large_file_goes_in_blocks_and_comes_in_ranges(
    fake: FakeCache, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom((8 << 20) + 7)
    store.write_bytes(content)
    Client(fake).save(store)
    assert [request.get("comp") for request in fake.calls("PUT")] == ["block", "block", "blocklist"]
    monkeypatch.setattr(actions_cache, "_RANGE", 3 << 20)
    store.unlink()
    assert Client(fake).restore(store) == Kept(key="key", size=len(content))
    assert store.read_bytes() == content
    assert [request["range"] for request in fake.calls("GET")] == [
        f"bytes={number << 20}-{(number + 3 << 20) - 1}" for number in (0, 3, 6)
    ]


def test_a_store_without_ranges_gives_all_of_it(fake: FakeCache, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions_cache, "_RANGE", 10)
    fake.keep("key", VERSION, CONTENT)
    fake.scripts["GET"] = lambda service, _: (200, {}, service.entries[0].content)
    assert Client(fake).restore(store) == Kept(key="key", size=len(CONTENT))
    assert unchanged(store)


def test_the_version_is_the_official_clients() -> None:
    # printf 'a|b|zstd-without-long|1.0' | sha256sum
    expected = "1b71f7dd5eeab9e1c7ea53d128ae5adc"
    assert cache_version(["a", "b"], "zstd-without-long").startswith(expected)
    assert len({cache_version(["a", "b"]), cache_version(["a"], "b"), cache_version(["a"])}) == 2


# --- what is usual ----------------------------------------------------------------------------------------------------


def test_nothing_saved_yet(fake: FakeCache, store: Path) -> None:
    assert skipped(Client(fake).restore(store, "k"), Why.MISSING)
    assert unchanged(store)


def test_an_existing_entry_stays(fake: FakeCache, store: Path) -> None:
    Client(fake).save(store)
    store.write_bytes(b"another")
    assert "already exists" in skipped(Client(fake).save(store), Why.EXISTS)
    assert [entry.content for entry in fake.entries] == [CONTENT]


@pytest.mark.parametrize(
    ("method", "response", "why"),
    [
        ("CreateCacheEntry", DENIED, Why.DENIED),
        ("CreateCacheEntry", answer(200, {"ok": False, "message": "cache write denied: no scope"}), Why.DENIED),
        ("CreateCacheEntry", answer(401, {"msg": "token expired"}), Why.DENIED),
        ("CreateCacheEntry", answer(200, {"ok": False}), Why.EXISTS),
        ("CreateCacheEntry", answer(200, {}), Why.EXISTS),
        ("CreateCacheEntry", answer(200, {"ok": False, "message": "storage quota has been hit"}), Why.QUOTA),
        ("CreateCacheEntry", answer(429, {"msg": "insufficient usage to create entry"}), Why.QUOTA),
        ("CreateCacheEntry", answer(200, {"ok": False, "message": "the moon is full"}), Why.FAILED),
        ("CreateCacheEntry", answer(404, {"code": "bad_route"}), Why.MISSING),
        ("CreateCacheEntry", answer(307, Location="http://evil.example/"), Why.FAILED),
        ("CreateCacheEntry", answer(200, {"ok": True}), Why.FAILED),
        ("CreateCacheEntry", answer(200, {"ok": True, "signed_upload_url": "http://[x/?sig=1"}), Why.FAILED),
        ("CreateCacheEntry", answer(200, {"ok": True, "signed_upload_url": "http://x?sig=1"}), Why.FAILED),
        ("PUT", answer(403), Why.DENIED),
        ("PUT", answer(400), Why.FAILED),
        ("FinalizeCacheEntryUpload", answer(200, {"ok": False, "message": "another job finalizes it"}), Why.EXISTS),
        ("FinalizeCacheEntryUpload", answer(400, {"msg": "size differs"}), Why.FAILED),
    ],
)
def test_a_refused_save_has_a_reason(fake: FakeCache, store: Path, method: str, response: Answer, why: Why) -> None:
    fake.scripts[method] = always(response)
    assert skipped(Client(fake).save(store), why)
    assert len(fake.calls(method)) <= 1
    assert fake.entries == []


@pytest.mark.parametrize(
    ("method", "response", "why"),
    [
        ("GetCacheEntryDownloadURL", answer(403, {"msg": "cache read denied: no readable scopes"}), Why.DENIED),
        ("GetCacheEntryDownloadURL", answer(404), Why.MISSING),
        ("GetCacheEntryDownloadURL", answer(200, {}), Why.MISSING),
        ("GetCacheEntryDownloadURL", answer(200, {"ok": True, "matched_key": "key"}), Why.FAILED),
        ("GetCacheEntryDownloadURL", (200, {}, b"<html>"), Why.FAILED),
        ("GET", answer(404), Why.MISSING),
        ("GET", answer(416), Why.FAILED),
    ],
)
def test_a_refused_restore_has_a_reason(fake: FakeCache, store: Path, method: str, response: Answer, why: Why) -> None:
    fake.keep("key", VERSION, b"another")
    fake.scripts[method] = always(response)
    assert skipped(Client(fake).restore(store), why)
    assert unchanged(store)


@pytest.mark.parametrize("key", ["", "a,b", "x" * 513])
def test_a_key_that_the_service_cannot_have_is_not_sent(fake: FakeCache, store: Path, key: str) -> None:
    client = Client(fake)
    assert skipped(client.save(store, key), Why.BAD_KEY)
    assert skipped(client.restore(store, key=key), Why.BAD_KEY)
    assert skipped(client.restore(store, *"abcdefghij"), Why.BAD_KEY)
    assert fake.asked == []


# --- the local file ---------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_sent_reserves_nothing(fake: FakeCache, store: Path, tmp_path: Path) -> None:
    client = Client(fake, largest=999)
    assert skipped(client.save(store), Why.TOO_LARGE)
    (tmp_path / "link").symlink_to(store)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    for name in ("link", "fifo", "empty", "absent", "."):
        assert skipped(Client(fake).save(tmp_path / name), Why.FILE)
    assert fake.asked == []


def test_a_file_that_changes_meanwhile_is_not_finished(fake: FakeCache, store: Path) -> None:
    def grow(_service: FakeCache, _request: object) -> None:
        with store.open("ab") as file:
            file.write(b"more")

    fake.scripts["CreateCacheEntry"] = grow
    assert "changed" in skipped(Client(fake).save(store), Why.FILE)
    assert fake.entries == []


def test_a_place_that_cannot_be_written(fake: FakeCache, store: Path, tmp_path: Path) -> None:
    fake.keep("key", VERSION, b"another")
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "absent/file", tmp_path / "folder", store / "file"):
        assert skipped(Client(fake).restore(place), Why.FILE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "objects"]


def test_an_entry_that_is_too_large_is_not_read(fake: FakeCache, store: Path) -> None:
    fake.keep("key", VERSION, b"x" * 101)
    assert skipped(Client(fake, largest=100).restore(store), Why.TOO_LARGE)
    assert len(fake.calls("GET")) == 1
    assert unchanged(store)


# --- faults -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "what", ["CreateCacheEntry", "PUT", "FinalizeCacheEntryUpload", "GetCacheEntryDownloadURL", "GET"]
)
@pytest.mark.parametrize("fault", [answer(503), answer(500), answer(429, Retry_After="0"), LOST], ids=str)
def test_what_passes_is_tried_again(fake: FakeCache, store: Path, what: str, fault: Answer) -> None:
    fake.scripts[what] = once(fault, fault)
    client = Client(fake)
    assert client.save(store) == client.restore(store) == Kept(key="key", size=len(CONTENT))
    assert unchanged(store)
    assert sum("trying again" in line for line in client.said) == 2


@pytest.mark.parametrize("what", ["CreateCacheEntry", "PUT", "FinalizeCacheEntryUpload"])
def test_a_save_that_never_passes_is_given_up(fake: FakeCache, store: Path, what: str) -> None:
    fake.scripts[what] = always(answer(503))
    assert "tried 3 times" in skipped(Client(fake).save(store), Why.FAILED)


def part(first: int, last: int, total: int, body: bytes) -> Answer:
    return 206, {"Content-Range": f"bytes {first}-{last}/{total}"}, body


WRONG: dict[str, Answer] = {
    "cut short": part(0, 999, 1000, CONTENT[:500]),
    "longer than its range": part(0, 9, 10, CONTENT[:11]),
    "another part": part(5, 9, 10, CONTENT[5:10]),
    "no part": part(0, 10, 10, CONTENT[:10]),
    "nothing": part(0, -1, 10, b""),
    "a range without a header": (206, {}, CONTENT),
    "an endless number": (206, {"Content-Range": f"bytes 0-{'9' * 5000}/{'9' * 5000}"}, CONTENT),
    "an empty entry": (200, {}, b""),
    "compressed": (206, {"Content-Range": "bytes 0-999/1000", "Content-Encoding": "gzip"}, CONTENT),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_download_that_is_not_what_it_announces(fake: FakeCache, store: Path, wrong: str) -> None:
    fake.keep("key", VERSION, CONTENT)
    fake.scripts["GET"] = always(WRONG[wrong])
    assert "tried 3 times" in skipped(Client(fake).restore(store), Why.FAILED)
    assert unchanged(store)
    fake.scripts["GET"] = once(WRONG[wrong])
    assert Client(fake).restore(store) == Kept(key="key", size=len(CONTENT))


def test_nothing_of_a_failed_attempt_is_left(fake: FakeCache, store: Path) -> None:
    fake.keep("key", VERSION, b"0123456789")
    fake.scripts["GET"] = once(WRONG["cut short"])
    assert Client(fake).restore(store) == Kept(key="key", size=10)
    assert store.read_bytes() == b"0123456789"


def test_an_entry_that_changes_between_its_parts(fake: FakeCache, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions_cache, "_RANGE", 400)
    fake.keep("key", VERSION, CONTENT)

    def change(service: FakeCache, request: Mapping[str, Any]) -> None:
        if not request["range"].startswith("bytes=0-"):
            service.entries = [replace(service.entries[0], content=CONTENT[:400] + bytes(500))]

    fake.scripts["GET"] = change
    assert skipped(Client(fake).restore(store), Why.FAILED)
    assert unchanged(store)


def leading_to(server: Hostile) -> Script:
    """Return a lookup that finds an entry on another server."""
    return always(answer(200, {"ok": True, "matched_key": "key", "signed_download_url": f"{server.url}/?sig={SECRET}"}))


HEAD = b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-99999/100000\r\n"
LENGTH = b"Content-Length: 100000\r\n\r\n"


def test_a_connection_that_ends_early(fake: FakeCache, store: Path) -> None:
    with hostile(drips(HEAD + LENGTH + b"x" * 50_000, ())) as server:
        fake.scripts["GetCacheEntryDownloadURL"] = leading_to(server)
        assert skipped(Client(fake).restore(store), Why.FAILED)
    assert unchanged(store)


def test_a_body_without_end_is_cut_at_what_was_announced(fake: FakeCache, store: Path) -> None:
    with hostile(floods(HEAD + b"Connection: close\r\n\r\n", b"x" * 65_000)) as server:
        fake.scripts["GetCacheEntryDownloadURL"] = leading_to(server)
        assert "longer" in skipped(Client(fake).restore(store), Why.FAILED)
    assert unchanged(store)


SLOW: dict[str, Manner] = {
    "silence": drips(b"", itertools.repeat(b"")),
    "byte by byte": drips(HEAD + LENGTH, itertools.repeat(b"x")),
    "headers without end": drips(b"", itertools.repeat(HEAD)),
}


@pytest.mark.parametrize("manner", SLOW)
def test_a_slow_download_ends_at_the_limit(fake: FakeCache, store: Path, manner: str) -> None:
    with hostile(SLOW[manner]) as server:
        fake.scripts["GetCacheEntryDownloadURL"] = leading_to(server)
        assert skipped(Client(fake).restore(store, limit=0.5), Why.TIME)
    assert unchanged(store)


@pytest.mark.timeout(120)
def test_a_download_of_too_many_parts_ends_at_the_limit(fake: FakeCache, store: Path) -> None:
    def one_byte(_service: FakeCache, request: Mapping[str, Any]) -> Answer:
        first = int(request["range"].removeprefix("bytes=").partition("-")[0])
        return part(first, first, 10**9, b"x")

    fake.keep("key", VERSION, CONTENT)
    fake.scripts["GET"] = one_byte
    assert skipped(Client(fake).restore(store, limit=0.5), Why.TIME)
    assert unchanged(store)


def test_a_slow_upload_ends_at_the_limit(fake: FakeCache, store: Path) -> None:
    store.write_bytes(bytes(8 << 20))
    with hostile(reluctant) as server:
        address = f"{server.url}/container/blob?sig={SECRET}"
        fake.scripts["CreateCacheEntry"] = always(answer(200, {"ok": True, "signed_upload_url": address}))
        assert skipped(Client(fake).save(store, limit=0.5), Why.TIME)


def test_a_slow_lookup_ends_at_the_limit(fake: FakeCache, store: Path) -> None:
    with hostile(SLOW["byte by byte"]) as server:
        fake.url = server.url
        assert skipped(Client(fake).restore(store, limit=0.5), Why.TIME)
        assert skipped(Client(fake).save(store, limit=0.5), Why.TIME)
    assert unchanged(store)


def test_a_cancelled_run_ends_a_download(fake: FakeCache, store: Path) -> None:
    cancellation = Cancellation()
    with hostile(SLOW["byte by byte"]) as server:
        fake.scripts["GetCacheEntryDownloadURL"] = leading_to(server)

        def cancel() -> None:
            server.begun.wait(SOON)
            cancellation.request()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(Cancelled):
            Client(fake, cancellation=cancellation).restore(store)
        thread.join()
    assert unchanged(store)


def test_a_cancelled_run_asks_for_nothing(fake: FakeCache, store: Path) -> None:
    cancellation = Cancellation()
    cancellation.request()
    client = Client(fake, cancellation=cancellation)
    for act in (client.save, client.restore):
        with pytest.raises(Cancelled):
            act(store)
    assert fake.asked == []


@pytest.mark.parametrize(
    "what", ["CreateCacheEntry", "PUT", "FinalizeCacheEntryUpload", "GetCacheEntryDownloadURL", "GET"]
)
@pytest.mark.parametrize("status", [403, 503])
def test_neither_token_nor_signature_is_told(fake: FakeCache, store: Path, what: str, status: int) -> None:
    fake.scripts[what] = always(answer(status, {"msg": f"bad {token()} for https://blob.example/x?sig={SECRET}"}))
    client = Client(fake)
    outcomes = [client.save(store)]
    fake.keep("key", VERSION, CONTENT)
    outcomes.append(client.restore(store))
    told = "\n".join([repr(outcomes), repr(client.cache), *client.said])
    assert any(isinstance(outcome, Skipped) for outcome in outcomes)
    assert token() not in told
    assert SECRET.rstrip("=") not in told
