"""The parts of publishing: addresses, pages, responses, claims, retries, tokens, limits."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NoReturn

import pytest
from id import AmbientCredentialError
from twine.utils import DEFAULT_REPOSITORY, TEST_REPOSITORY

from manywheels.core.cancellation import Cancellation
from manywheels.core.files import digest_file
from manywheels.core.retry import RealClock, retry_after, transient_status
from manywheels.data import table
from manywheels.deliver.index import attestations, claims, preflight
from manywheels.deliver.index.attestations import Signed
from manywheels.deliver.index.confirm import confirm
from manywheels.deliver.index.http import (
    Auth,
    NoResponse,
    Requests,
    Response,
    index_retries,
    is_name_taken,
    reason_text,
    require_safe,
)
from manywheels.deliver.index.identity import Identity, Secrets
from manywheels.deliver.index.ledger import Ledger, LedgerEntry, UploadState, as_markdown
from manywheels.deliver.index.preflight import Wanted
from manywheels.deliver.index.progress import progress
from manywheels.deliver.index.publish import _api_token, _require_none, _require_time, publish
from manywheels.deliver.index.simple_api import Index, Listed, Listing, Presence, addresses, compare, oldest_upload
from manywheels.deliver.index.trusted import ApiToken, redirected
from manywheels.deliver.index.upload import form_of
from manywheels.errors import (
    Cancelled,
    ContentConflict,
    FileChanged,
    InputError,
    LedgerError,
    NotConfirmed,
    PreflightFailed,
    TooLittleTime,
    UnsafeAddress,
    WheelFileError,
)
from manywheels.plan.delivery_options import resolve_publishing
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.settings import Settings, read_settings
from manywheels.verify.distributions import Distribution, Unreadable, find_files, read_distribution
from manywheels.verify.model import Problem
from manywheels.verify.rules import Ignored, Rules
from publish.program import write_sdist, write_set
from unit.fakeindex import FakeIndex, FastClock
from unit.helpers import write_wheel
from unit.serving import served

JSON = "application/vnd.pypi.simple.v1+json"


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "simple"),
    [
        (
            "https://upload.h/legacy/",
            ["https://h/simple/", "https://upload.h/simple/", "https://upload.h/legacy/+simple/",
             "https://upload.h/legacy/simple/"],
        ),
        (
            "https://h/pypi/team/legacy/",  # Pulp
            ["https://h/pypi/team/simple/", "https://h/pypi/team/legacy/+simple/", "https://h/pypi/team/legacy/simple/"],
        ),
        (
            "https://h/o/_packaging/feed/pypi/upload",  # Azure Artifacts
            ["https://h/o/_packaging/feed/pypi/simple/", "https://h/o/_packaging/feed/pypi/upload/+simple/",
             "https://h/o/_packaging/feed/pypi/upload/simple/"],
        ),
        ("https://index.example", ["https://index.example/+simple/", "https://index.example/simple/"]),
        ("https://h:8/a/b/", ["https://h:8/a/b/+simple/", "https://h:8/a/b/simple/"]),
    ],
)  # fmt: skip
def test_where_an_index_can_be_asked(given: str, simple: list[str]) -> None:
    found = addresses(given)
    assert (found.upload, list(found.simple)) == (given, simple)
    assert found.release_page("demo", "1.0") is None
    assert (found.has_rules, found.has_simple) == (False, False)


@pytest.mark.parametrize(("name", "upload"), [("pypi", DEFAULT_REPOSITORY), ("testpypi", TEST_REPOSITORY)])
def test_the_known_indexes_come_from_twines_table(name: str, upload: str) -> None:
    found = addresses(name)
    assert found.upload == upload
    assert found == addresses(upload) == addresses(upload.rstrip("/"))
    assert found.has_rules
    assert not addresses(name, rules="none").has_rules
    assert found.web == "https://" + upload.split("/")[2].removeprefix("upload.")
    assert found.release_page("demo", "1.0") == f"{found.web}/project/demo/1.0/"


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://[::1]:80/", "http://localhost:8080/", "https://a.b/"])
def test_addresses_that_are_safe(url: str) -> None:
    require_safe(url)


@pytest.mark.parametrize("url", ["http://10.0.0.1/", "http://a.b/", "http://127.0.0.1.a.b/", "http://localhost.a/"])
def test_addresses_that_are_not(url: str) -> None:
    with pytest.raises(UnsafeAddress):
        require_safe(url)


@pytest.mark.parametrize(
    "given",
    ["https://[h/legacy/", "https:///legacy/", "https://h/?x", "index", "https://ada:secret@[h/", "ada:secret@h",
     "https://ada:secret@h/?x", "https://ada:secret@h/legacy/"],
)  # fmt: skip
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(InputError, match="repository-url") as caught:
        addresses(given)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://other.example/a?token=1", "`https://other.example`"), ("/a?token=1", "another path"),
        ("https://[h/", "an invalid address"),
    ],
)  # fmt: skip
def test_where_a_redirect_leads_is_told_by_its_host(location: str, told: str) -> None:
    refusal = redirected(Response(status=307, headers={"location": location})).message
    assert f"(`307`, to {told});" in refusal


# --- what the index has -----------------------------------------------------------------------------------------------


class Pages(FakeIndex):
    """An index that has these pages, by address."""

    def __init__(self, pages: Mapping[str, Response]) -> None:
        super().__init__()
        self.pages, self.auths = pages, []  # type: ignore[var-annotated]

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        self.auths.append(auth)
        return self.pages.get(url, Response(status=404))


def ask(pages: Mapping[str, Response], url: str = "https://h/legacy/", auth: Auth | None = None) -> Listing | None:
    return Index(addresses(url), Pages(pages), index_retries(Cancellation(), FastClock()), auth).listing("demo")


def page(text: str, kind: str) -> Response:
    return Response(status=200, headers={"content-type": kind}, body=text.encode())


def test_a_page_in_json() -> None:
    file = {"filename": "a.whl", "hashes": {"sha256": "AB"}, "size": 7, "upload-time": "2026-01-01T00:00:00.5Z"}
    text = json.dumps({"files": [file]})
    found = ask({"https://h/simple/demo/": page(text, f"{JSON}; charset=utf-8")})
    uploaded = datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert found == {"a.whl": Listed(sha256="ab", size=7, uploaded=uploaded)}


def test_a_page_in_html() -> None:
    text = (
        '<a href="../../f/demo-1.0%2B1.tar.gz#sha256=AB&x=1">a</a><a href="b.whl">b</a><a>none</a>'
        '<a href="Demo-1.0-py3-none-any.whl">c</a>'
    )
    found = ask({"https://h/simple/demo/": page(text, "text/html; charset=utf-8")})
    names = ("demo-1.0+1.tar.gz", "b.whl", "Demo-1.0-py3-none-any.whl")
    assert found == dict(zip(names, (Listed(sha256="ab"), Listed(sha256=None), Listed(sha256=None)), strict=True))


@pytest.mark.parametrize(
    ("text", "is_page"),
    [
        ("<title>Links for demo</title><h1>Links for demo</h1>", True),  # pypiserver
        ("<html><head><title>ada/dev: links for demo</title></head><body></body></html>", True),  # devpi-server
        ('<meta name="pypi:repository-version" content="1.0"><title>demo</title>', True),
        ('<title>Sign in</title><a href="/password/forgotten">Forgot it?</a>', False),
        ('<a href="../other-1.0.tar.gz">other</a>', False),
        ("", False),
    ],
)
def test_a_page_that_comes_with_status_200_is_not_a_projects_for_that(text: str, is_page: bool) -> None:  # noqa: FBT001
    assert ask({"https://h/simple/demo/": page(text, "text/html")}) == ({} if is_page else None)


def test_a_moment_without_a_zone_is_in_utc() -> None:
    file = {"filename": "demo-1.0.tar.gz", "hashes": {}, "upload-time": "2026-01-01T00:00:00"}
    found = ask({"https://h/simple/demo/": page(json.dumps({"files": [file]}), JSON)})
    assert found
    assert oldest_upload(found, "1.0") == datetime(2026, 1, 1, tzinfo=UTC)


def test_the_known_indexes_are_not_uploaded_to_blindly(tmp_path: Path) -> None:
    """Others may have no simple API at all."""
    write_wheel(tmp_path, tags="py3-none-any")
    (simple,) = addresses("testpypi").simple
    login = {f"{simple}demo/": page("<title>Sign in</title>", "text/html")}
    (problem,) = look(tmp_path, login, url="testpypi")
    assert f"does not list its files: the answer of `{simple}` is not a project's page" in problem
    assert look(tmp_path, {"https://h/simple/demo/": page("<title>Sign in</title>", "text/html")}) == []


@pytest.mark.parametrize("text", ["{", "[]", '{"files": [{}]}', '{"files": 3}', '{"files": [{"filename": 1}]}'])
def test_a_page_that_is_none_is_no_listing(text: str) -> None:
    assert ask({"https://h/simple/demo/": page(text, JSON)}) is None


def test_a_project_that_is_not_there_and_an_index_that_cannot_be_asked() -> None:
    """A 404 counts only at a simple API."""
    assert ask({"https://h/simple/": Response(status=200)}) == {}
    assert ask({}) is None
    for status in (401, 403):
        pages = Pages({"https://h/a/simple/demo/": Response(status=status)})
        index = Index(addresses("https://h/a/"), pages, index_retries(Cancellation(), FastClock()))
        assert index.listing("demo") is None
        assert index.why_unlisted == f"the answer of `https://h/a/simple/` is {status}"
    elsewhere = Response(status=302, headers={"location": "https://other/simple/demo/"})
    assert ask({"https://h/simple/demo/": elsewhere, "https://h/simple/": Response(status=200)}) == {}
    assert ask({"https://h/a/simple/": Response(status=200)}, "https://h/a/") == {}


def test_credentials_are_for_the_host_of_the_upload_only() -> None:
    for url, expected in (("https://h/legacy/", ("ada", "secret")), ("https://upload.h/legacy/", None)):
        pages = Pages({"https://h/simple/demo/": page('{"files": []}', JSON)})
        Index(addresses(url), pages, index_retries(Cancellation(), FastClock()), ("ada", "secret")).listing("demo")
        assert pages.auths == [expected]


@pytest.mark.parametrize(
    ("listing", "presence"),
    [
        (None, Presence.UNAVAILABLE),
        ({}, Presence.ABSENT),
        ({"a": Listed(sha256="ab")}, Presence.SAME),
        ({"a": Listed(sha256="cd")}, Presence.OTHER),
        ({"a": Listed(sha256=None)}, Presence.NO_DIGEST),
    ],
)
def test_what_a_listing_says_of_a_file(listing: Listing | None, presence: Presence) -> None:
    assert compare(listing, distribution(Path("a"), sha256="AB")) is presence


def test_a_file_that_has_changed_has_no_other_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    file = distribution(tmp_path / "a", sha256=hashlib.sha256(b"content").hexdigest())
    assert file.digest("md5") == hashlib.md5(b"content").hexdigest()
    assert file.digest("of tomorrow") is None
    (tmp_path / "a").write_bytes(b"changed")
    assert file.digest("sha512") is None
    listed = Listed(sha256=None, digest=("sha512", hashlib.sha512(b"changed").hexdigest()))
    assert compare({"a": listed}, file) is Presence.NO_DIGEST
    assert compare({"a": Listed(sha256=None, size=file.size + 1)}, file) is Presence.OTHER


def test_the_oldest_file_of_a_release() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    listing = {
        "demo-1.0.tar.gz": Listed(sha256=None, uploaded=late),
        "demo-1.0-py3-none-any.whl": Listed(sha256=None, uploaded=early),
        "demo-0.9.tar.gz": Listed(sha256=None, uploaded=early - timedelta(days=100)),
        "demo-1.0.exe": Listed(sha256=None, uploaded=early - timedelta(days=200)),
    }
    assert oldest_upload(listing, "1.0") == early
    assert oldest_upload(listing, "2.0") is None


@pytest.mark.parametrize(
    ("answer", "text", "exists"),
    [
        (Response(status=400, reason="File already exists ('a')"), "400 File already exists ('a')", True),
        (Response(status=400, reason="400 File already exists"), "400 File already exists", True),
        (Response(status=400, reason="Bad Request", body=b"<title>x</title><p>Was&nbsp;<b>previously used</b>"),
         "400 Was previously used", True),
        (Response(status=403, body=b"exists already? It Already Exists"), "403 exists already? It Already Exists",
         True),
        (Response(status=409, reason="Conflict"), "409", True),
        (Response(status=503, body=b"it already exists"), "503 it already exists", False),
        (Response(status=400, body=b"x" * 1000), f"400 {'x' * 1000}", False),
        (Response(status=400, body=b"\xff\xfe"), "400 \ufffd\ufffd", False),
    ],
)  # fmt: skip
def test_what_an_index_says(answer: Response, text: str, exists: bool) -> None:  # noqa: FBT001 - a case
    assert (reason_text(answer), is_name_taken(answer)) == (text, exists)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "Repository does not allow updating assets: pypi-hosted"),  # Nexus
        (400, "pypi-hosted/packages/demo/1.0/demo-1.0.tar.gz cannot be updated"),  # Nexus, by another database
        (400, "demo-1.0.tar.gz -  cannot be updated as asset already exists and redeploy is not allowed"),  # newer
        (403, "Not enough permissions to delete/overwrite artifact 'pypi-local:demo-1.0.tar.gz'"),  # Artifactory
        (403, "Not enough permissions to delete/overwrite all artifacts under 'pypi-local/demo/1.0'"),  # newer
        (409, "The feed already contains file 'demo-1.0.tar.gz' in package 'demo 1.0'."),  # Azure
        (409, "Conflict"),  # Gitea, Forgejo, CodeArtifact, pypiserver
        (400, "Requested entity already exists"),  # Google
        (400, "Validation failed: File name has already been taken"),  # GitLab
        (400, '{"filename": ["Distribution file with the filename demo-1.0.tar.gz already exists"]}'),  # Pulp
        (422, "A package with filename demo-1.0.tar.gz already exists"),
        (403, "demo-1.0.tar.gz already exists in non-volatile index"),  # devpi
        (400, "This filename has already been used, use a different version."),  # older PyPI
    ],
)
def test_how_indexes_say_that_a_name_is_taken(status: int, said: str) -> None:
    assert is_name_taken(Response(status=status, body=said.encode()))
    assert is_name_taken(Response(status=status, reason=said))


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "Not enough permissions to deploy"), (400, "Invalid version: cannot be parsed"),
        (400, "Only one sdist may be uploaded per release."), (403, "Package protected."), (503, "it already exists"),
        (401, "already exists"), (400, "The name 'demo' is too similar to an existing project"),
        (413, "artifact is too large"),
    ],
)  # fmt: skip
def test_what_is_about_something_else(status: int, said: str) -> None:
    assert not is_name_taken(Response(status=status, body=said.encode()))


def test_the_messages_of_an_error_in_json() -> None:
    body = (
        b'{"errors": [{"status": 403, "message": "No."}, {"message": "No."}], "detail": {"error": "Why?"}, "code": 7}'
    )
    assert reason_text(Response(status=403, body=body)) == "403 No. Why?"
    for other in (b'{"filename": ["is wrong"]}', b'{"message": ' + b"[" * 9000, b'{"a": ["no message"]}'):
        assert reason_text(Response(status=400, body=other)) == f"400 {other.decode()}"


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "soon"}, 0.0),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "²"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:30 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 30.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:00:30 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 0.0),
        ({"retry-after": "Thu, 01 Jan 99999999999999999999 00:00:00 GMT"}, 0.0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(headers) == seconds
    passing = transient_status(429, headers)
    assert passing
    assert passing.pause == seconds


def test_a_cancellation_ends_a_pause() -> None:
    cancellation = Cancellation()
    clock = RealClock(cancellation)
    retries = index_retries(cancellation, clock)
    cancellation.request()
    began = clock.monotonic()
    clock.sleep(60)
    assert clock.monotonic() - began < 30
    assert not retries.wait(0.0)


def test_a_cancellation_ends_the_wait_for_what_was_sent(tmp_path: Path) -> None:
    """The deadline is hours away, and the index is not polled meanwhile."""
    cancellation, index = Cancellation(), Counted()
    retries = index_retries(cancellation)
    cancellation.request()
    with pytest.raises(NotConfirmed, match=r"does not list `a\.whl` so far, and the run was cancelled"):
        confirm(
            [distribution(tmp_path / "a.whl")],
            Index(addresses("https://h/legacy/"), index, retries),
            index,
            retries,
            7200.0,
        )
    assert index.asked <= 2


@pytest.fixture
def slow_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace pip with a program that writes its process id and never ends; return the file."""
    program, noted = tmp_path / "python", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ >{noted}\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr("manywheels.runtime.own_python.sys.executable", str(program))
    return noted


def confirm_one(folder: Path, cancellation: Cancellation, limit: float) -> str:
    """Confirm a wheel that the index lists."""
    (folder / "dist").mkdir()
    wheel = read_distribution(write_wheel(folder / "dist", tags="py3-none-any"))
    index, retries = FakeIndex(stored={wheel.name: wheel.sha256}), index_retries(cancellation)
    return confirm([wheel], Index(addresses("https://h/legacy/"), index, retries), index, retries, limit)


def pid_in(noted: Path) -> str:
    """Return the process id that `slow_pip` has written, if it has come so far."""
    return noted.read_text().strip() if noted.exists() else ""


def is_gone(noted: Path) -> bool:
    number = pid_in(noted)
    return not number or not Path("/proc", number).exists()


def test_a_pip_that_does_not_answer_ends_with_the_time_for_confirming(tmp_path: Path, slow_pip: Path) -> None:
    began = time.monotonic()
    with pytest.raises(NotConfirmed, match="within 2 s: it did not end in time"):
        confirm_one(tmp_path, Cancellation(), 2.0)
    assert time.monotonic() - began < 30
    assert is_gone(slow_pip)


def test_a_cancellation_ends_pip(tmp_path: Path, slow_pip: Path) -> None:
    cancellation, began = Cancellation(), time.monotonic()

    def cancel() -> None:
        while not pid_in(slow_pip) and time.monotonic() - began < 60:
            time.sleep(0.01)
        cancellation.request()

    threading.Thread(target=cancel).start()
    with pytest.raises(NotConfirmed, match="so far, and the run was cancelled"):
        confirm_one(tmp_path, cancellation, 3600.0)
    assert time.monotonic() - began < 120
    assert pid_in(slow_pip)
    assert is_gone(slow_pip)


def test_what_was_uploaded_late_is_still_confirmed(tmp_path: Path) -> None:
    """The deadline of uploads does not apply."""
    clock, cancellation = FastClock(), Cancellation()
    index, retries = Counted(), index_retries(cancellation, clock)
    clock.sleep(7200.0)
    with pytest.raises(NotConfirmed, match="within 60 s"):
        confirm(
            [distribution(tmp_path / "a.whl")],
            Index(addresses("https://h/legacy/"), index, retries),
            index,
            retries,
            60.0,
        )
    assert index.asked > 5


class Counted(FakeIndex):
    """An index without files that counts requests."""

    asked = 0

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        self.asked += 1
        return super().get(url, accept=accept, auth=auth, timeout=timeout, with_body=with_body)


# --- claims and tokens ------------------------------------------------------------------------------------------------


def test_claims_of_other_ciss_make_no_table() -> None:
    assert claims.form_rows({"sub": "x"}) == ()
    assert list(claims.claims_table({"sub": "x", "iss": "https://ci.example"})) == [
        "also sent: sub `x`, iss `https://ci.example`"
    ]


@pytest.mark.parametrize("token", ["", "a.b.c", "a.bnVsbA.c", "no token"])
def test_a_token_that_cannot_be_read_claims_nothing(token: str) -> None:
    assert claims.read_claims(token) == {}


def test_every_code_of_the_mint_has_an_explanation() -> None:
    known = {"invalid-payload", "not-enabled", "invalid-token", "invalid-pending-publisher", "invalid-publisher",
             "invalid-reuse-token"}  # fmt: skip
    assert set(table("publish")["mint"]) == known
    for entry in table("publish")["mint"].values():
        for cause in (entry, *entry.get("told", ())):
            assert cause["cure"].endswith(".")
            assert cause["means"]


@pytest.mark.parametrize(
    ("code", "description", "means", "cure"),
    [
        ("invalid-payload", "malformed JWT", "could not read the request", "Update manywheels"),
        ("invalid-payload", "unknown trusted publishing issuer", "does not know who issued", "must be registered"),
        ("invalid-payload", "The name 'x' isn't allowed. See …", "no new project may have its name", "another name"),
        ("invalid-payload", "The name 'x' isn't allowed (conflict with Python Standard Library module name).",
         "no new project may have its name", "another name"),
        ("invalid-payload", "The name 'x' is too similar to an existing project.", "no new project", "another name"),
        ("invalid-payload", "New project registration temporarily disabled.", "takes no new projects", "Wait until"),
        ("invalid-pending-publisher", "valid token, but project already exists", "this name exists", "in its settings"),
        ("invalid-publisher", "… (Publisher with matching claims was not found)",
         "no trusted publisher of any project", "deleted and made again"),
        ("invalid-publisher", "… (The job_workflow_ref claim does not match, expecting one of ['a'], got 'b')",
         "not the place of the workflow's file", "the workflow that is registered"),
        ("invalid-publisher", "… (Missing claim 'ref_path')", "lacks a claim", "Update the CI"),
        ("invalid-publisher", "… (Publishing from a workflow invoked via 'pull_request_target' is not supported.)",
         "`pull_request_target` started", "Publish on a tag"),
        ("new-code", "its words", "new-code: its words", ""),
    ],
)  # fmt: skip
def test_a_refusal_is_told_by_its_description(code: str, description: str, means: str, cure: str) -> None:
    found = claims.cause(code, description, table("publish")["mint"])
    assert means in found.line
    assert description in found.line
    assert cure in found.cure
    assert bool(found.cure) == bool(cure)


def test_tokens_are_masked_on_github_and_nowhere_else_and_cleaned_everywhere() -> None:
    for environment, masks in (({"GITHUB_ACTIONS": "true"}, "::add-mask::pypi-1%25\n"), ({}, "")):
        stream = io.StringIO()
        secrets = Secrets(environment=environment, stream=stream)
        assert secrets.keep("pypi-1%") == secrets.keep("pypi-1%") == "pypi-1%"
        secrets.keep("")
        assert stream.getvalue() == masks
        assert secrets.redact("it is pypi-1%!") == "it is ***!"


def test_a_token_at_the_cut_of_a_long_answer_is_not_half_shown() -> None:
    secrets = Secrets(environment={})
    secrets.keep("pypi-secret")
    for start in ("x" * 295, "x" * 65_530, f"<!--{'x' * 65_522}-->"):
        for answer in (
            Response(status=400, reason=f"{start}pypi-secret"),
            Response(status=400, body=f"{start}pypi-secret".encode()),
        ):
            assert "pypi" not in reason_text(answer, secrets.redact)


class Pieces(io.StringIO):
    """A stream that records each write."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str, /) -> int:
        self.pieces.append(text)
        return len(text)


def test_what_threads_say_and_masks_go_out_in_whole_lines(tmp_path: Path) -> None:
    """The runner reads a command only at the beginning of a line."""
    stream = Pieces()
    Secrets(environment={"GITHUB_ACTIONS": "true"}, stream=stream).keep("one\ntwo")
    with progress([distribution(tmp_path / "a.whl")], verbose=True, stream=stream) as shown:
        shown.waits(distribution(tmp_path / "a.whl"), "503")
        shown.ended(distribution(tmp_path / "a.whl"), UploadState.UPLOADED, "")
    assert stream.pieces == [
        "::add-mask::one%0Atwo\n::add-mask::one\n::add-mask::two\n", "  a.whl: 503\n", "✓ [1/1] a.whl: uploaded\n",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "asked"),
    [
        ({"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x"}, 4),
        ({"GITHUB_ACTIONS": "true"}, 1),
        ({"GITLAB_CI": "true"}, 1),
    ],
)
def test_a_ci_that_issues_tokens_is_asked_again_and_no_other(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], asked: int
) -> None:
    answers: list[str] = []

    def detect(audience: str) -> str:
        answers.append(audience)
        if len(answers) < 4:
            raise AmbientCredentialError("GitHub: OIDC token request failed (code=503)")
        return "a.b.c"

    monkeypatch.setattr("id.detect_credential", detect)
    secrets = Secrets(environment={})
    identity = Identity(retries=index_retries(Cancellation(), FastClock()), secrets=secrets, environment=environment)
    if asked == 1:
        with pytest.raises(AmbientCredentialError):
            identity.token("pypi")
    else:
        assert identity.token("pypi") == "a.b.c"
        assert secrets.redact("a.b.c") == "***"
    assert answers == ["pypi"] * asked


def settings(**values: str) -> Settings:
    given = {
        name.replace("_", "-"): Value(value=value, origin=Origin(OriginKind.COMMAND_LINE, "--x"))
        for name, value in values.items()
    }
    return read_settings(given)


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, None),
        ({}, {"PYPI_TOKEN": "  "}, None),
        ({"password": "a"}, {"PYPI_TOKEN": "b"}, ("__token__", "a")),
        ({"password": "a\n"}, {"PYPI_TOKEN": "b"}, ("__token__", "a")),
        ({"user": "ada"}, {"PYPI_TOKEN": "b"}, ("ada", "b")),
        ({"repository_url": DEFAULT_REPOSITORY}, {"PYPI_TOKEN": "b"}, ("__token__", "b")),
        ({"repository_url": "testpypi"}, {"PYPI_TOKEN": "b"}, None),
        ({"repository_url": "https://h/legacy/"}, {"PYPI_TOKEN": "b"}, None),
        ({"repository_url": "https://h/legacy/"}, {"PYPI_TOKEN": "b", "TWINE_PASSWORD": "c"}, ("__token__", "c")),
        ({}, {"TWINE_PASSWORD": "c", "TWINE_USERNAME": "ada"}, ("ada", "c")),
        ({}, {"TWINE_PASSWORD": "c"}, ("__token__", "c")),
        ({"user": "bob"}, {"TWINE_PASSWORD": "c", "TWINE_USERNAME": "ada"}, ("bob", "c")),
    ],
)
def test_where_a_password_comes_from(given: dict[str, str], environment: dict[str, str], expected: Auth | None) -> None:
    found = _api_token(resolve_publishing(settings(**given)), settings(**given), environment)
    assert (found.current() if found else None) == expected


def test_metadata_is_verified_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def look(wanted: Wanted, _: Index, **_more: object) -> NoReturn:
        asked.append(wanted.verify)
        raise WheelFileError("That is all.", remedy="")

    monkeypatch.setattr("manywheels.deliver.index.publish.run_preflight", look)
    for given in ({}, {"verify_metadata": "false"}):
        with pytest.raises(WheelFileError, match="That is all"):
            publish(settings(packages_dir=str(tmp_path), **given), Cancellation(), {"MANYWHEELS_PASSWORD": "secret"})
    assert asked == [True, False]


def test_a_password_is_not_in_what_is_printed_of_its_value() -> None:
    assert "secret" not in repr(ApiToken(user="ada", password="secret"))
    assert "secret" not in repr(resolve_publishing(settings(password="secret")))


# --- limits -----------------------------------------------------------------------------------------------------------


def distribution(path: Path, size: int = 1000, **changes: Any) -> Distribution:
    usual = Distribution(path=path, project="demo", version="1.0", size=size, sha256="0" * 64, fields=())
    return replace(usual, **changes)


def test_what_one_upload_token_cannot_carry_is_refused_before() -> None:
    few = [distribution(Path(f"demo-1.0-{n}-py3-none-any.whl"), 50_000_000) for n in range(10)]
    _require_time(few)
    with pytest.raises(TooLittleTime) as caught:
        _require_time(few * 2)
    assert "20 files with 1000.0 MB need about 16 min 55 s" in caught.value.message
    assert "several jobs" in caught.value.remedy


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setitem(table("index"), "max_file_size", 500)
    return 500


def look(
    folder: Path, pages: Mapping[str, Response], rules: Rules | None = None, url: str = "https://h/legacy/"
) -> list[str]:
    index = Index(
        addresses(url, rules="pypi" if "/legacy/" in url else "auto"),
        Pages(pages),
        index_retries(Cancellation(), FastClock()),
    )
    wanted = Wanted(folder=folder, verify=False, rules=rules or Rules())
    return [problem.message for problem in preflight.run_preflight(wanted, index).problems]


def test_files_above_the_indexs_limit(tmp_path: Path, small_limit: int) -> None:
    """A project with a larger file has a higher limit; other indexes have their own rules."""
    size = write_wheel(tmp_path, tags="py3-none-any").stat().st_size
    root = {"https://h/simple/": Response(status=200)}
    assert look(tmp_path, root) == [f"has {size:,} bytes, the index accepts 500"]
    assert look(tmp_path, root, Rules(ignored=(Ignored(code="MW263"),))) == []
    larger = page('{"files": [{"filename": "demo-0.9.tar.gz", "hashes": {}, "size": 5000}]}', JSON)
    assert look(tmp_path, {"https://h/simple/demo/": larger}) == []
    assert look(tmp_path, {"https://h/a/simple/": Response(status=200)}, url="https://h/a/") == []


def test_a_second_sdist_of_a_release(tmp_path: Path) -> None:
    """The index accepts one; other indexes may accept more."""
    write_sdist(tmp_path)
    other = json.dumps({"files": [{"filename": "demo-1.0.zip", "hashes": {"sha256": "ab"}}]})
    found = look(tmp_path, {"https://h/simple/demo/": page(other, JSON)})
    assert found == ["the index has `demo-1.0.zip` already; it accepts no second sdist of 1.0: `demo-1.0.tar.gz`"]
    assert look(tmp_path, {"https://h/a/simple/demo/": page(other, JSON)}, url="https://h/a/") == []
    own = {"filename": "demo-1.0.tar.gz", "hashes": {"sha256": digest_file(tmp_path / "demo-1.0.tar.gz")}}
    both = json.dumps({"files": [*json.loads(other)["files"], own]})
    assert look(tmp_path, {"https://h/simple/demo/": page(both, JSON)}) == []


def test_an_sdist_is_outside_the_seal_and_that_is_said(tmp_path: Path) -> None:
    write_set(tmp_path, "cp312")
    write_sdist(tmp_path)
    index = Index(addresses("https://h/legacy/", rules="pypi"), Pages({}), index_retries(Cancellation(), FastClock()))
    warnings = preflight.run_preflight(Wanted(folder=tmp_path, verify=False), index).warnings
    assert warnings[0] == (
        "`demo-1.0.tar.gz` is not in the manifest: it is not verified that the wheels were built from it"
    )


def test_problems_are_told_together_and_conflicts_have_a_code_of_their_own() -> None:
    with pytest.raises(PreflightFailed, match="2 problems found before the first byte was sent") as caught:
        _require_none(
            [Problem(member="a", message=preflight.CONFLICT, remedy="A."), Problem(message="is bad", remedy="B.")]
        )
    assert caught.value.message.endswith(f"\na {preflight.CONFLICT}\n    A.\nis bad\n    B.")


def test_a_remedy_that_several_have_is_given_once() -> None:
    taken = [Problem(member=name, message=preflight.CONFLICT, remedy="Raise it.") for name in "ab"]
    with pytest.raises(ContentConflict) as conflict:
        _require_none(taken)
    assert conflict.value.message.splitlines()[1:] == [f"a {preflight.CONFLICT}", f"b {preflight.CONFLICT}"]
    assert conflict.value.remedy == "Raise it."
    with pytest.raises(PreflightFailed) as caught:
        _require_none([*taken, Problem(message="is bad", remedy="B.")])
    assert caught.value.message.count("Raise it.") == 1
    assert caught.value.remedy == "Fix all of them, then publish again."
    with pytest.raises(PreflightFailed) as caught:
        _require_none([Problem(message="is bad", remedy="B.")])
    assert caught.value.remedy == "Fix it, then publish again."


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_are_found_sdists_first(tmp_path: Path) -> None:
    for name in ("b.whl", "a.whl", "z.tar.gz", ".hidden.whl", "manywheels.json", "a.whl.publish.attestation"):
        (tmp_path / name).touch()
    assert [path.name for path in find_files(tmp_path)] == ["z.tar.gz", "a.whl", "b.whl"]


def test_nothing_to_publish(tmp_path: Path) -> None:
    with pytest.raises(WheelFileError, match="no distributions to publish"):
        find_files(tmp_path)
    with pytest.raises(WheelFileError, match="does not exist"):
        find_files(tmp_path / "dist")


@pytest.mark.parametrize("name", ["a.whl", "a-1-py3-none-any.whl", "a-1.tar.gz", "a-1.zip", "a.zip"])
def test_what_is_no_distribution_is_said_not_raised(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x1f\x8b nonsense")
    with pytest.raises(Unreadable) as caught:
        read_distribution(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)


def test_metadata_of_another_project(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, tags="py3-none-any", metadata="Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    with pytest.raises(Unreadable, match=r"its name says demo 1\.0, its metadata other 1\.0"):
        read_distribution(wheel)


@pytest.mark.parametrize("spelled", ["1.0rc1", "1.0-rc.1", "v1.0.0RC1"])
def test_a_version_may_be_spelled_in_several_ways(tmp_path: Path, spelled: str) -> None:
    """The index compares versions, not their texts."""
    metadata = f"Metadata-Version: 2.1\nName: demo\nVersion: {spelled}\n"
    wheel = write_wheel(tmp_path, tags="py3-none-any", start="demo-1.0rc1", metadata=metadata)
    assert read_distribution(wheel).version == "1.0rc1"


@pytest.mark.parametrize("platform", ["win_amd64", "macosx_11_0_arm64", "pyemscripten_2026_0_wasm32"])
def test_wheels_of_other_platforms_are_left_to_the_index(tmp_path: Path, platform: str) -> None:
    """`verify` does not know their tags."""
    write_wheel(tmp_path, tags=f"cp314-cp314-{platform}")
    index = Index(addresses("https://h/legacy/", rules="pypi"), Pages({}), index_retries(Cancellation(), FastClock()))
    assert preflight.run_preflight(Wanted(folder=tmp_path), index).problems == ()


_PRIVATE = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nClassifier: Private :: Do Not Upload\n"


@pytest.mark.parametrize("platform", ["any", "win_amd64"])
def test_what_shall_not_be_published_stays_here(tmp_path: Path, platform: str) -> None:
    """`verify` only warns, for private indexes accept it; nothing is sent to a public one."""
    write_wheel(tmp_path, tags=f"py3-none-{platform}", metadata=_PRIVATE)

    def told(url: str, rules: Rules | None = None, *, verify: bool = True) -> list[str]:
        index = Index(
            addresses(url, rules="pypi" if "/legacy/" in url else "auto"),
            Pages({}),
            index_retries(Cancellation(), FastClock()),
        )
        wanted = Wanted(folder=tmp_path, rules=rules or Rules(), verify=verify)
        return [
            problem.message
            for problem in preflight.run_preflight(wanted, index).problems
            if "Private" in problem.message
        ]

    why = "`Private :: Do Not Upload` forbids publishing"
    member = "MW248 demo-1.0.dist-info/METADATA " if platform == "any" else ""
    assert told("https://h/legacy/") == [f"{member}has a `Classifier` that the index refuses: {why}"]
    assert told("https://h/a/") == []
    assert told("https://h/legacy/", Rules(ignored=(Ignored(code="MW248"),))) == []
    assert told("https://h/legacy/", verify=False) == []


def test_the_metadata_of_sdists_are_looked_at(tmp_path: Path) -> None:
    """`verify` does not check them."""
    write_sdist(tmp_path, metadata="Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nHome-page: nowhere\n")
    index = Index(addresses("https://h/legacy/", rules="pypi"), Pages({}), index_retries(Cancellation(), FastClock()))
    told = [problem.message for problem in preflight.run_preflight(Wanted(folder=tmp_path), index).problems]
    assert "has a `Home-page` that the index refuses: `nowhere` is not an http or https URL" in told


def test_the_ledger_says_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "manywheels-ledger.json").mkdir()
    with pytest.raises(LedgerError, match="cannot be written"):
        Ledger(tmp_path, "https://h/legacy/", [])


def test_a_file_that_is_gone_before_it_is_sent(tmp_path: Path) -> None:
    gone = distribution(tmp_path / "gone.whl")
    with Requests() as way, pytest.raises(FileChanged, match=r"gone\.whl` can no longer be read: No such file"):
        way.post_form("https://h/", form_of(gone), auth=("a", "b"), timeout=1.0, watch=lambda _count: None)


class Slow(BaseHTTPRequestHandler):
    """Reads an upload after some time; its response comes byte by byte, without end."""

    def do_POST(self) -> None:
        time.sleep(0.6)
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 1 << 20)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(600):
                self.wfile.write(b".")
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing."""


def test_an_index_that_reads_slowly_gets_the_upload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout of connecting does not apply to sending, also on a reused connection."""
    monkeypatch.setitem(table("publish"), "connect-timeout", 0.3)
    (tmp_path / "a.whl").write_bytes(content := bytes(40 << 20))
    large = distribution(tmp_path / "a.whl", len(content), sha256=hashlib.sha256(content).hexdigest())
    with served(Slow) as url, Requests() as way:
        for _ in range(2):
            answer = way.post_form(url, form_of(large), auth=("a", "b"), timeout=60.0, watch=lambda _count: None)
            assert answer.status == 200


def test_an_answer_that_never_ends_is_given_up() -> None:
    began = time.monotonic()
    with served(Slow) as url, Requests() as way, pytest.raises(NoResponse, match="did not end within 1 s"):
        way.get(url, accept="*/*", auth=None, timeout=1.0)
    assert time.monotonic() - began < 50


def test_a_refused_address_is_told_before_anything_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="repository-url"):
        publish(settings(repository_url="nowhere", packages_dir=str(tmp_path)), Cancellation(), environment={})
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_in_a_summary() -> None:
    entry = LedgerEntry(name="a|b.whl", size=1, sha256="0", state=UploadState.UNKNOWN, reason="a | <b>\nc")
    row = "| <code>a&#124;b&#46;whl</code> | unknown | a &#124; &#60;b&#62; c |"
    assert as_markdown([entry], 1_000).splitlines()[-1] == row


def test_a_long_ledger_takes_what_room_there_is() -> None:
    entries = [
        LedgerEntry(name=f"{number}.whl", size=1, sha256="0", state=UploadState.UPLOADED) for number in range(100)
    ]
    shown = as_markdown(entries, 1_000)
    assert len(shown.encode()) < 1_100
    assert "more files: see the ledger." in shown
    assert "*100 more files" in as_markdown(entries, -5)


@pytest.mark.parametrize(("ci", "repository", "refused"), [
    ("true", "https://index.example/legacy/", True),
    ("true", "testpypi", False),
    ("true", DEFAULT_REPOSITORY, False),
    ("", "https://index.example/legacy/", False),
])  # fmt: skip
def test_in_ci_the_projects_files_do_not_say_who_gets_its_tokens(
    tmp_path: Path, ci: str, repository: str, *, refused: bool
) -> None:
    """A pull request can change them. On a user's machine they are the user's own."""
    own = Value(value=repository, origin=Origin(OriginKind.PROJECT, "a table"))
    asked = settings(packages_dir=str(tmp_path)).with_values({"repository-url": own})
    with pytest.raises(UnsafeAddress if refused else WheelFileError) as caught:
        publish(asked, Cancellation(), environment={"CI": ci, "TWINE_PASSWORD": "pypi-x"})
    assert ("only the workflow may name" in caught.value.message) is refused


class Silent(BaseHTTPRequestHandler):
    """Accepts every request, and never responds."""

    begun, over = threading.Event(), threading.Event()

    def do_GET(self) -> None:
        self.begun.set()
        self.over.wait(120)


def test_an_index_that_is_silent_does_not_hold_up_a_cancellation(tmp_path: Path) -> None:
    write_set(tmp_path, "cp312")
    cancellation = Cancellation()

    def cancel() -> None:
        Silent.begun.wait(60)
        cancellation.request()

    threading.Thread(target=cancel).start()
    began = time.monotonic()
    with served(Silent) as url, pytest.raises(Cancelled):
        publish(
            settings(repository_url=url, packages_dir=str(tmp_path)), cancellation, environment={"TWINE_PASSWORD": "x"}
        )
    assert time.monotonic() - began < 90
    Silent.over.set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_attestations_that_are_kept_belong_to_the_owner_of_the_wheels(tmp_path: Path) -> None:
    (tmp_path / "demo.whl").touch()
    os.chown(tmp_path / "demo.whl", 1234, 1234)
    (kept,) = attestations.keep(Signed(attestations={tmp_path / "demo.whl": "{}"}))
    assert kept.stat().st_uid == 1234
