"""One deadline for each exchange, against servers that never end a response, for every client."""

from __future__ import annotations

import gc
import hashlib
import json
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from id import AmbientCredentialError

from index import LocalIndex
from index.tls import make_certificates
from manywheels.core import exchange
from manywheels.core.cancellation import Cancellation
from manywheels.core.exchange import Exchange
from manywheels.core.interruptible import until_stopped
from manywheels.core.retry import RetryPolicy
from manywheels.data import table
from manywheels.deliver import results_service
from manywheels.deliver.artifacts.client import Artifacts
from manywheels.deliver.artifacts.packing import ArtifactMember
from manywheels.deliver.index import attestations
from manywheels.deliver.index.http import NoResponse, Requests, index_retries
from manywheels.deliver.index.identity import Identity, Secrets
from manywheels.deliver.index.simple_api import Index, addresses
from manywheels.deliver.index.upload import form_of
from manywheels.errors import ArtifactServiceDown, Cancelled, SigningFailed
from manywheels.verify.distributions import Distribution
from unit.artifactservice import FakeService
from unit.hostile import ENDLESS, FLOODS, SOON, Hostile, Manner, compressed, drips, hostile, mute, reluctant
from unit.resultsservice import answer, serving


def each(check: Callable[[Manner], None], manners: Mapping[str, Manner] = ENDLESS) -> None:
    """Check every manner, side by side: each takes its time in waiting."""
    with ThreadPoolExecutor(len(manners)) as pool:
        checked = {name: pool.submit(check, manner) for name, manner in manners.items()}
    failed = {name: future.exception() for name, future in checked.items() if future.exception()}
    assert not failed


@contextmanager
def soon() -> Iterator[None]:
    """The block ends long before the server does."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began < SOON


def get(way: Requests, url: str, timeout: float = 0.4) -> bytes:
    return way.get(url, accept="*/*", auth=None, timeout=timeout).body


def cancelled_once(server: Hostile) -> Cancellation:
    """Return a cancellation that is requested when the client's request has begun to arrive."""
    cancellation = Cancellation()

    def throw() -> None:
        server.begun.wait(SOON)
        cancellation.request()

    threading.Thread(target=throw, daemon=True).start()
    return cancellation


@pytest.fixture
def upload(tmp_path: Path) -> Distribution:
    """A file that no buffer of a socket holds."""
    (tmp_path / "demo-1.0-py3-none-any.whl").write_bytes(content := bytes(40 << 20))
    return Distribution(
        path=tmp_path / "demo-1.0-py3-none-any.whl", project="demo", version="1.0", size=len(content),
        sha256=hashlib.sha256(content).hexdigest(), fields=(),
    )  # fmt: skip


def send(way: Requests, url: str, file: Distribution, timeout: float = 0.4) -> None:
    way.post_form(url, form_of(file), auth=("a", "b"), timeout=timeout, watch=lambda _: None)


# --- the index --------------------------------------------------------------------------------------------------------


def test_an_answer_that_does_not_end_is_given_up() -> None:
    def check(manner: Manner) -> None:
        with hostile(manner) as server, Requests() as way, soon(), pytest.raises(NoResponse):
            get(way, server.url)

    each(check)


def test_an_answer_that_does_not_end_does_not_hold_a_cancelled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table("publish"), "grace", 0.2)

    def check(manner: Manner) -> None:
        with hostile(manner) as server, Requests(cancelled_once(server)) as way, soon(), pytest.raises(NoResponse):
            get(way, server.url, timeout=600.0)

    each(check)


@pytest.mark.parametrize("manner", FLOODS.values(), ids=FLOODS.keys())
def test_an_answer_as_large_as_can_be_takes_little_memory(manner: Manner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table("publish"), "largest-page", 1 << 20)
    tracemalloc.start()
    try:
        with hostile(manner) as server, Requests() as way, soon(), pytest.raises(NoResponse):
            get(way, server.url, timeout=1.0)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("times", [1, 3])
def test_a_small_answer_that_becomes_large_is_refused(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table("publish"), "largest-page", 1 << 20)
    with (
        hostile(compressed(times)) as server,
        Requests() as way,
        soon(),
        pytest.raises(NoResponse, match="larger than"),
    ):
        get(way, server.url, timeout=SOON)


def test_an_answer_to_a_post_is_small() -> None:
    with (
        hostile(FLOODS["a body with a length"]) as server,
        Requests() as way,
        pytest.raises(NoResponse, match="larger"),
    ):
        way.post_json(server.url, {}, timeout=SOON)


def test_an_index_that_reads_slowly_does_not_hold_an_upload(upload: Distribution) -> None:
    with hostile(reluctant) as server, Requests() as way, soon(), pytest.raises(NoResponse) as caught:
        send(way, server.url, upload)
    assert not caught.value.arrived


def test_an_index_that_reads_slowly_does_not_hold_a_cancelled_run(
    upload: Distribution, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(table("publish"), "grace", 0.2)
    with hostile(reluctant) as server, Requests(cancelled_once(server)) as way, soon(), pytest.raises(NoResponse):
        send(way, server.url, upload, timeout=600.0)


def test_the_deadline_of_publishing_ends_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table("publish"), "last-questions", 0.5)
    cancellation = Cancellation()
    with hostile(ENDLESS["a header byte by byte"]) as server, Requests() as way, soon():
        retries = replace(index_retries(cancellation), budget=1.0)
        index = Index(addresses(f"{server.url}/legacy/"), way, retries)
        with pytest.raises(NoResponse):
            index.listing("demo")


# --- the way there ----------------------------------------------------------------------------------------------------


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's TLS, which this process trusts."""
    authority, context = make_certificates(tmp_path, ["127.0.0.1", "index.example"])
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    return context


@pytest.mark.parametrize("name", ["a header byte by byte", "a body up to the connection's end"])
def test_the_clock_runs_behind_tls(context: ssl.SSLContext, name: str) -> None:
    """Under TLS, a connection that is shut down looks like the end of a body."""
    with hostile(ENDLESS[name], context) as server, Requests() as way, soon(), pytest.raises(NoResponse, match="1 s"):
        get(way, server.url.replace("http:", "https:"), timeout=1.0)


def test_a_handshake_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that goes on byte by byte: the first record is announced as longer than what comes."""

    def slow(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(b"\x16\x03\x03\x40\x00")
        drips(b"", [b"\x02"] * 200)(connection)

    monkeypatch.setitem(table("publish"), "connect-timeout", 600.0)
    for manner in (mute, slow):
        with hostile(manner) as server, Requests() as way, soon(), pytest.raises(NoResponse):
            get(way, server.url.replace("http:", "https:"))


@pytest.mark.parametrize("name", ["silence", "a status line byte by byte", "headers without end"])
def test_a_proxy_that_does_not_end(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setitem(table("publish"), "connect-timeout", 600.0)
    with hostile(ENDLESS[name]) as server, Requests() as way, soon():
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        monkeypatch.setenv("NO_PROXY", "")
        with pytest.raises(NoResponse):
            get(way, "https://index.example/simple/")
    assert server.connections


def test_a_connection_that_does_not_come_about() -> None:
    """The server accepts no connection, and its queue is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        callers = [socket.socket() for _ in range(3)]
        for caller in callers:
            caller.settimeout(0.0)
            caller.connect_ex(listener.getsockname())
        with Requests() as way, soon(), pytest.raises(NoResponse) as caught:
            get(way, f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert not caught.value.arrived
        for caller in callers:
            caller.close()


def test_a_name_that_nobody_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: over.wait(120))
    with Requests() as way, soon(), pytest.raises(NoResponse) as caught:
        get(way, "http://index.example")
    over.set()
    assert not caught.value.arrived


# --- exchanges among themselves ---------------------------------------------------------------------------------------


def keeps_open(connection: socket.socket) -> None:
    """Answer one request after another."""
    while connection.recv(65_536):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


def test_a_connection_is_used_again_under_the_next_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = 0.0
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + ahead))
    with hostile(keeps_open) as server, Requests() as way:
        assert get(way, server.url, timeout=SOON) == b"ok"
        ahead = 2 * SOON  # the first clock has run out
        time.sleep(3 * exchange._POLL)  # which who still looks at it sees by now
        assert get(way, server.url, timeout=SOON) == b"ok"
        assert server.connections == 1


def test_time_is_earned_by_what_comes_and_not_saved_up() -> None:
    with Exchange(1.0) as clock:
        clock.extend(1000.0)
        assert clock.operation_timeout <= 1.1


def test_a_request_that_no_clock_bounds_is_not_made() -> None:
    session = requests.Session()
    session.mount("http://", exchange.Adapter())
    with hostile(keeps_open) as server:
        with pytest.raises(RuntimeError, match="exchange"):
            session.get(server.url, stream=True)
        assert session.get(server.url).text == "ok"
        assert server.connections == 1


def busy(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def busy_for_long(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 429 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


def lost(connection: socket.socket) -> None:
    """Close the connection in place of a response."""
    connection.recv(65_536)


def with_retries(cancellation: Cancellation | None = None) -> requests.Session:
    """Return a session that tries three times, within an hour."""
    retries = RetryPolicy(attempts=3, first_pause=0.01, cancellation=cancellation or Cancellation())
    session = requests.Session()
    adapter = exchange.Adapter(limit=lambda _: 3000.0, stopped=lambda: retries.cancelled, retries=retries)
    session.mount("http://", adapter)
    return session


def test_a_status_that_may_pass_is_the_answer_after_all_attempts() -> None:
    with hostile(busy) as server, soon():
        assert with_retries().post(server.url).status_code == 503
        assert server.connections == 3


def test_a_lost_connection_is_the_error_after_all_attempts() -> None:
    with hostile(lost) as server, soon():
        with pytest.raises(requests.ConnectionError):
            with_retries().post(server.url)
        assert server.connections == 3


def test_a_pause_beyond_the_deadline_is_not_begun() -> None:
    with hostile(busy_for_long) as server, soon():
        assert with_retries().post(server.url).status_code == 429
        assert server.connections == 1


def test_a_cancelled_run_is_not_tried_again() -> None:
    with hostile(ENDLESS["silence"]) as server, soon():
        with pytest.raises(exchange.TimeOver, match="cancelled"):
            with_retries(cancelled_once(server)).post(server.url)
        assert server.connections == 1


# --- the artifact service ---------------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchanges with the artifact service have 0.4 s, whatever is sent."""
    monkeypatch.setattr(results_service, "CALL_LIMIT", 0.4)
    monkeypatch.setattr(results_service, "SLOWEST", 1e12)


def client(fake: FakeService, url: str = "", cancellation: Cancellation | None = None) -> Artifacts:
    fake.url = url or fake.url
    retries = RetryPolicy(attempts=1, cancellation=cancellation or Cancellation())
    return Artifacts(service=fake.service, say=lambda _: None, retries=retries)


@pytest.mark.usefixtures("short")
def test_an_artifact_service_that_does_not_end() -> None:
    def check(manner: Manner) -> None:
        with hostile(manner) as server, soon(), pytest.raises(ArtifactServiceDown):
            client(FakeService(), server.url).find(name="wheels")

    each(check)


@pytest.mark.usefixtures("short")
def test_a_store_of_blobs_that_does_not_end(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(bytes(8 << 20))
    members = [ArtifactMember(name="a.whl", path=tmp_path / "a.whl")]

    def check(manner: Manner) -> None:
        with hostile(manner) as server, serving(FakeService()) as fake, soon():
            signed = answer(200, {"ok": True, "signed_upload_url": f"{server.url}/container/blob?sig=x"})
            fake.scripts["CreateArtifact"] = lambda _service, _request: signed
            with pytest.raises(ArtifactServiceDown):
                client(fake).upload("wheels", members, overwrite=False)

    each(check, {**ENDLESS, "reading slowly": reluctant})


def test_a_download_that_does_not_end(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with serving(FakeService()) as fake:
        fake.finished["wheels"] = (b"", "sha256:0")
        (found,) = client(fake).find(name="wheels")
    request.getfixturevalue("short")

    def check(manner: Manner) -> None:
        with hostile(manner) as server, serving(FakeService()) as fake, soon():
            signed = answer(200, {"ok": True, "signed_url": f"{server.url}/?sig=x"})
            fake.scripts["GetSignedArtifactURL"] = lambda _service, _request: signed
            with pytest.raises(ArtifactServiceDown):
                client(fake).download(found, tmp_path)

    each(check)


def test_a_cancelled_run_leaves_no_call_behind() -> None:
    """The wait ends at once, and the call itself soon after."""
    ended = threading.Event()
    with hostile(ENDLESS["a header byte by byte"]) as server, soon():
        cancellation = cancelled_once(server)
        artifacts = client(FakeService(), server.url, cancellation)

        def find() -> None:
            try:
                artifacts.find(name="wheels")
            finally:
                ended.set()

        with pytest.raises(Cancelled):
            until_stopped(find, cancellation)
        assert ended.wait(SOON)


def test_an_artifact_service_that_answers_with_gigabytes() -> None:
    for name in ("a body with a length", "a body without one", "chunks"):
        with hostile(FLOODS[name]) as server, soon(), pytest.raises(ArtifactServiceDown, match="larger than"):
            client(FakeService(), server.url).find(name="wheels")


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Finalizers of other tests' objects, called at the deepest place, would fail and be reported as this test's."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("body", [b"[" * 900 + b"]" * 900, b"[" * 90_000, b"[" * 400_000, b'{"a":1,"a":2}', b"NaN"])
def test_an_artifact_service_whose_json_is_none(body: bytes, without_collector: None) -> None:
    with serving(FakeService()) as fake:
        fake.scripts["ListArtifacts"] = lambda _service, _request: (200, {}, body)
        with pytest.raises(ArtifactServiceDown, match="not in JSON"):
            client(fake).find(name="wheels")


# --- identities, and Sigstore -----------------------------------------------------------------------------------------


def identity(environment: dict[str, str], cancellation: Cancellation | None = None) -> Identity:
    switch = cancellation or Cancellation()
    retries = index_retries(switch)
    return Identity(retries=retries, secrets=Secrets(environment={}), environment=environment)


def github(monkeypatch: pytest.MonkeyPatch, url: str) -> dict[str, str]:
    """Make this process a GitHub job whose issuer is at an address."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer-of-the-job")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{url}/token?api-version=2.0")
    return {"GITHUB_ACTIONS": "true"}  # without the bearer: it is not asked again


@pytest.mark.parametrize("manner", ENDLESS.values(), ids=ENDLESS.keys())  # one by one: its address is the process's
def test_an_issuer_that_does_not_end(monkeypatch: pytest.MonkeyPatch, manner: Manner) -> None:
    monkeypatch.setitem(table("publish"), "ask-timeout", 0.4)
    with hostile(manner) as server, soon(), pytest.raises(AmbientCredentialError):
        identity(github(monkeypatch, server.url)).token("pypi")


def test_an_issuer_that_does_not_end_does_not_hold_a_cancelled_run(monkeypatch: pytest.MonkeyPatch) -> None:
    with hostile(ENDLESS["a header byte by byte"]) as server, soon(), pytest.raises(AmbientCredentialError):
        identity(github(monkeypatch, server.url), cancelled_once(server)).token("pypi")


@pytest.fixture(scope="module")
def index() -> Iterator[LocalIndex]:
    with LocalIndex() as found:
        yield found


def trusting(index: LocalIndex, folder: Path, kind: str, url: str) -> dict[str, str]:
    """Write a trust configuration whose authority or log is at another address; return the environment of the job."""
    config: dict[str, Any] = json.loads(index.trust_config.read_text("utf-8"))
    for service in config["signingConfig"][f"{kind}Urls"]:
        service["url"] = url
    (folder / "trust.json").write_text(json.dumps(config), "utf-8")
    return {"MANYWHEELS_TRUST_CONFIG": str(folder / "trust.json")}


def sign(index: LocalIndex, who: Identity, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv("SIGSTORE_ID_TOKEN", index.identity_token("gitlab", audience="sigstore"))
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    attestations.attest({folder / "demo-1.0-py3-none-any.whl": "0" * 64}, who)


@pytest.mark.parametrize("kind", ["ca", "rekorTlog"])
@pytest.mark.parametrize("name", ["silence", "a header byte by byte", "a body byte by byte", "trailers one by one"])
def test_a_sigstore_that_does_not_end(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    monkeypatch.setattr(attestations, "_LIMIT", 1.0)
    with hostile(ENDLESS[name]) as server, soon(), pytest.raises(SigningFailed, match="did not end within 1 s"):
        sign(index, identity(trusting(index, tmp_path, kind, server.url)), tmp_path, monkeypatch)


@pytest.mark.parametrize("kind", ["ca", "rekorTlog"])
def test_a_sigstore_that_does_not_end_does_not_hold_a_cancelled_run(
    index: LocalIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither does it delay the end of the program, which waits for the signing threads."""
    with hostile(ENDLESS["a header byte by byte"]) as server, soon():
        who = identity(trusting(index, tmp_path, kind, server.url), cancelled_once(server))
        with pytest.raises(SigningFailed, match="cancelled"):
            sign(index, who, tmp_path, monkeypatch)


def test_roots_of_trust_that_do_not_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: LocalIndex) -> None:
    over = threading.Event()
    monkeypatch.setattr(attestations, "_LIMIT", 1.0)
    monkeypatch.setattr("manywheels.verify.signatures.load_trust", lambda *_, **__: over.wait(120))
    with soon(), pytest.raises(SigningFailed, match="roots of trust did not come within 1 s"):
        sign(index, identity({}), tmp_path, monkeypatch)
    over.set()
