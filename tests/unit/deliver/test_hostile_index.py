"""A hostile index: echoed secrets, audiences of other services, invalid JSON."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pytest
from twine.utils import DEFAULT_REPOSITORY

from manywheels.core.cancellation import Cancellation
from manywheels.core.documents import parse_json
from manywheels.core.redaction import redacted
from manywheels.data import table
from manywheels.deliver.index.audiences import require_own
from manywheels.deliver.index.http import Auth, Requests, Response, index_retries
from manywheels.deliver.index.identity import Identity, Secrets
from manywheels.deliver.index.publish import publish
from manywheels.deliver.index.simple_api import Index, Listing, Presence, addresses, listed_sdists, oldest_upload
from manywheels.deliver.index.trusted import TrustedPublisher
from manywheels.errors import IndexUnreachable, ManywheelsError, MintRefused, UnsafeAddress
from manywheels.plan.inputs import Origin, OriginKind, Value
from manywheels.plan.settings import read_settings
from manywheels.verify.distributions import read_distribution
from publish.program import write_sdist, write_set
from unit.fakeindex import FakeIndex, FastClock
from unit.serving import served

SECRET: Final = "pypi-AgEIcHlwaS5vcmcCJDU3~Zq/8Ha+2Lw=&<0f>" + "Kd9" * 20
FORMS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": str,
    "its first part": lambda text: text[:30],
    "its last part": lambda text: text[-40:],
    "percent-encoded": lambda text: quote(text, safe=""),
    "escaped for HTML": html.escape,
    "in numbers for HTML": lambda text: "".join(f"&#{ord(letter)};" for letter in text),
    "in capitals": str.upper,
    "in base64": lambda text: base64.b64encode(text.encode()).decode(),
    "as basic authentication": lambda text: base64.b64encode(b"__token__:" + text.encode()).decode(),
    "in base64 for addresses": lambda text: base64.urlsafe_b64encode(b"x" + text.encode()).decode(),
    "in hexadecimal": lambda text: text.encode().hex(),
}


@cache
def pieces() -> dict[str, set[str]]:
    """Return all twelve characters in a row of each form of the secret, in small letters."""
    found = {}
    for name, form in FORMS.items():
        text = form(SECRET).lower()
        found[name] = {text[at : at + 12] for at in range(len(text) - 11)}
    # Of what is basic authentication, the part before the password is everybody's.
    found["as basic authentication"] -= {"X190b2tlbl9fOnB5"[at : at + 12].lower() for at in range(4)}
    return found


def traces(shown: str) -> list[str]:
    """Return the forms of the secret of which twelve characters in a row are shown."""
    text = shown.lower()
    return [name for name, its in pieces().items() if any(piece in text for piece in its)]


def echoing(form: Callable[[str], str], place: str) -> type[BaseHTTPRequestHandler]:
    """Return a server whose responses have the password everywhere."""
    said = form(SECRET)

    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            names = [f"{said.replace('/', '')}-1.0.tar.gz"] if place == "the list of files" else []
            page = {"files": [{"filename": name, "hashes": {"sha256": "0" * 64}} for name in names]}
            self._answer(200, "OK", json.dumps(page).encode(), "application/vnd.pypi.simple.v1+json")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            reason = f"Refused {said}" if place == "the status line" else "Bad Request"
            body = f"<p>Who sends <b>{said}</b>?</p>" if place == "the page" else ""
            self._answer(307 if place == "a redirect" else 400, reason, body.encode(), "text/html")

        def _answer(self, status: int, reason: str, body: bytes, kind: str) -> None:
            self.send_response(status, reason)
            self.send_header("Content-Type", kind)
            self.send_header("Location", f"https://{said}/?{said}" if place == "a redirect" else "/")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Print nothing."""

    return Echo


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("place", ["the status line", "the page", "a redirect", "the list of files"])
def test_what_an_index_echoes_is_shown_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: Callable[[str], str], place: str
) -> None:
    """Not in errors, the log, the ledger or the summary, even without GitHub's masks."""
    write_set(tmp_path / "dist", "cp312")
    write_sdist(tmp_path / "dist")
    summary = tmp_path / "summary.md"
    summary.touch()
    environment = {"TWINE_PASSWORD": SECRET, "GITHUB_STEP_SUMMARY": str(summary)}
    with served(echoing(form, place)) as url:
        given = {"repository-url": f"{url}/legacy/", "packages-dir": str(tmp_path / "dist")}
        settings = read_settings(
            {name: Value(value=value, origin=Origin(OriginKind.COMMAND_LINE, "--x")) for name, value in given.items()}
        )
        with pytest.raises(ManywheelsError) as caught:
            publish(settings, Cancellation(), environment)
    ledger = (tmp_path / "dist/manywheels-ledger.json").read_text("utf-8")
    told = {"the error": str(caught.value), "the log": "".join(capfd.readouterr()), "the ledger": ledger,
            "the summary": summary.read_text("utf-8")}  # fmt: skip
    assert {where: found for where, shown in told.items() if (found := traces(shown))} == {}


def test_what_is_taken_out_of_a_text() -> None:
    assert redacted(f"a {SECRET} b {SECRET[:20]} c", [SECRET]) == "a *** b *** c"
    assert redacted("a secret!, pypi-AgEI", ["secret!", "", "abc"]) == "a ***, pypi-AgEI"
    assert redacted("abc", ["abc"]) == "abc"
    for before in ("", "a", "ab"):
        text = base64.b64encode(f"{before}s3cr3t, and more".encode()).decode()
        assert "***" in redacted(text, ["s3cr3t"])
    assert redacted("İ" * 50 + SECRET, [SECRET]) == "İ" * 50 + "***"


# --- audiences --------------------------------------------------------------------------------------------------------


UPLOAD_HOST: Final = f"{urlsplit(DEFAULT_REPOSITORY).hostname}"


@pytest.mark.parametrize(
    ("audience", "index", "own"),
    [
        ("pypi", "pypi", True), ("testpypi", "testpypi", True),
        ("testpypi", "pypi", False), ("pypi", "testpypi", False), ("PyPI", "pypi", False), ("pypi ", "pypi", False),
        ("sigstore", "pypi", False), ("sigstore", "testpypi", False), (UPLOAD_HOST, "pypi", False),
        ("warehouse", "https://index.example/legacy/", True), ("index-1", "https://index.example/legacy/", True),
        ("index.example", "https://index.example:8443/legacy/", True),
        ("https://index.example/oidc", "https://index.example/legacy/", True),
        ("pypi", "https://index.example/legacy/", False), ("TestPyPI", "https://index.example/legacy/", False),
        ("sigstore", "https://index.example/legacy/", False), ("SigStore", "https://index.example/legacy/", False),
        ("vault", "https://index.example/legacy/", False), ("sts", "https://index.example/legacy/", False),
        ("sts.amazonaws.com", "https://index.example/legacy/", False),
        ("api://AzureADTokenExchange", "https://index.example/legacy/", False),
        ("//iam.googleapis.com/projects/1/x", "https://index.example/legacy/", False),
        ("https://iam.googleapis.com/projects/1/x", "https://index.example/legacy/", False),
        ("https://github.com/octo", "https://index.example/legacy/", False),
        ("npm:registry.example", "https://index.example/legacy/", False),
        ("crates.io", "https://index.example/legacy/", False), ("rubygems.org", "https://index.example/legacy/", False),
        ("https://index.example@vault.corp", "https://index.example/legacy/", False),
        ("https://vault.corp/index.example", "https://index.example/legacy/", False),
        ("index.example\n", "https://index.example/legacy/", False), ("sigstore\u200b", "https://h/legacy/", False),
        ("\uff53igstore", "https://index.example/legacy/", False), ("x" * 300, "https://h/legacy/", False),
        ("https://[", "https://index.example/legacy/", False), ("", "https://index.example/legacy/", False),
    ],
)  # fmt: skip
def test_an_index_gets_identities_for_itself_only(audience: str, index: str, *, own: bool) -> None:
    upload = addresses(index).upload
    if own:
        assert require_own(audience, upload) == audience
        return
    with pytest.raises(UnsafeAddress, match="It was not sent"):
        require_own(audience, upload)


class Oidc(FakeIndex):
    """An index with the given responses to trusted publishing."""

    def __init__(self, audience: object, mint: Response) -> None:
        super().__init__()
        self._audience, self._mint = audience, mint
        self.identities: list[str] = []

    def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
        return Response(status=200, body=json.dumps({"audience": self._audience}).encode())

    def post_json(self, url: str, content: Any, *, timeout: float) -> Response:
        self.identities.append(content["token"])
        return self._mint


def jwt(audience: str) -> str:
    parts = ({"alg": "RS256"}, {"aud": audience, "sub": "project_path:octo/demo"})
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "c2lnbmF0dXJlIG9mIHRoZSBpc3N1ZXI"])


def publisher(monkeypatch: pytest.MonkeyPatch, index: Oidc, audience: str) -> TrustedPublisher:
    """Return the publisher of a GitLab job that has identity tokens for this audience."""
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("GITLAB_CI", "true")
    monkeypatch.setenv(f"{audience.upper()}_ID_TOKEN", jwt(audience))
    retries = index_retries(Cancellation(), FastClock())
    identity = Identity(retries=retries, secrets=Secrets(environment={}), environment={"GITLAB_CI": "true"})
    return TrustedPublisher("https://index.example/legacy/", index, identity)


def test_an_index_that_asks_for_a_signers_identity_gets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    index = Oidc("sigstore", Response(status=200))
    with pytest.raises(UnsafeAddress, match="an identity token for `sigstore`"):
        publisher(monkeypatch, index, "sigstore").current()
    assert index.identities == []


@pytest.mark.parametrize("form", [FORMS["as it is"], FORMS["its last part"], FORMS["in base64"]])
def test_a_mint_that_echoes_the_identity(monkeypatch: pytest.MonkeyPatch, form: Callable[[str], str]) -> None:
    errors = [{"code": "invalid-token", "description": f"This is none: {form(jwt('index'))}."}]
    index = Oidc("index", Response(status=422, body=json.dumps({"errors": errors}).encode()))
    with pytest.raises(MintRefused, match=r"This is none: \*\*\*") as caught:
        publisher(monkeypatch, index, "index").current()
    assert jwt("index")[-20:] not in str(caught.value)


@pytest.mark.parametrize(
    ("expires", "is_json"),
    [("1" + "0" * 400, True), ("-1" + "0" * 400, True), ("1" * 5000, False), ("NaN", False), ("Infinity", False),
     ("1e999", False), ('"x"', True), ("true", True), ("null", True)],
)  # fmt: skip
def test_a_mint_whose_token_ends_at_no_moment(monkeypatch: pytest.MonkeyPatch, expires: str, *, is_json: bool) -> None:
    body = f'{{"token": "pypi-x", "expires": {expires}}}'.encode()
    date = {"date": "Thu, 01 Jan 2026 00:00:00 GMT"}
    credentials = publisher(monkeypatch, Oidc("index", Response(status=200, body=body, headers=date)), "index")
    if is_json:
        assert credentials.current() == ("__token__", "pypi-x")
        assert 0 <= (credentials.valid_until or 0) - 1000.0 <= table("publish")["token"]["lifetime"]
        return
    with pytest.raises(IndexUnreachable, match="did not return a token"):
        credentials.current()


# --- JSON -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 90_000, b"[" * 5000 + b"]" * 5000, b"1" * 10_000, b"NaN", b"-Infinity", b"1e999",
     b'{"a": 1, "a": 2}', b'{"a": "\\ud800"}', b'{"\\udfff": 1}', b'"\xff"', b"\xff\xfe[\x00]\x00", b"", b"{} {}",
     b"[" + b"1," * 200_000 + b"1]"],
)  # fmt: skip
def test_json_that_is_none(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(body)


def test_json_that_is_some() -> None:
    assert parse_json('{"a": [1, 2.5, null, "ü\\ud83d\\ude00"]}'.encode()) == {"a": [1, 2.5, None, "ü😀"]}


def listing(body: bytes, kind: str = "application/vnd.pypi.simple.v1+json") -> Listing | None:
    class Page(FakeIndex):
        def get(self, url: str, *, accept: str, auth: Auth | None, timeout: float, with_body: bool = True) -> Response:
            return Response(status=200, headers={"content-type": kind}, body=body)

    return Index(addresses("https://h/legacy/"), Page(), index_retries(Cancellation(), FastClock())).listing("demo")


def files(**changed: object) -> bytes:
    usual: dict[str, object] = {"filename": "demo-1.0.tar.gz", "hashes": {"sha256": "ab"}, "size": 7}
    return json.dumps({"files": [usual | changed]}).encode()


@pytest.mark.parametrize(
    "body",
    [files(filename=7), files(filename=None), files(filename=["a"]), files(filename="\ud800.whl"), files(hashes=[]),
     files(hashes={"sha256": 7}), files(hashes={"sha256": ["a"]}), files(**{"upload-time": 7}),
     files(**{"upload-time": "0001-01-01T00:00:00+14:00"}), files(size=float("nan")), b'{"files": {"a": 1}}',
     b'{"files": ' + b"[" * 100_000],
)  # fmt: skip
def test_a_page_that_is_none_is_refused_as_a_whole(body: bytes) -> None:
    assert listing(body) is None


@pytest.mark.parametrize("size", ["7", -7, 7.5, True, None, [7], {}])
def test_a_size_that_is_none_is_not_known(size: object) -> None:
    found = listing(files(size=size))
    assert found
    assert found["demo-1.0.tar.gz"].size is None


def test_moments_far_away_can_be_compared() -> None:
    for moment in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"):
        found = listing(files(**{"upload-time": moment}))
        assert found
        begun = oldest_upload(found, "1.0")
        assert begun
        assert abs(datetime.now(UTC) - begun) > timedelta(days=1)
        assert listed_sdists(found, "1.0") == ("demo-1.0.tar.gz",)


def test_a_page_of_too_many_values_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(table("publish"), "most-values", 1000)
    assert listing(b'{"files": [' + b"[]," * 1000 + b"[]]}") is None
    assert listing(b"<title>Links for demo</title>" + b"<a href=a>" * 1000, "text/html") is None


def test_an_index_whose_pages_are_none_is_silent(tmp_path: Path) -> None:
    """Invalid pages count as no listing, and cause no traceback."""

    class Nested(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"files":' + b"[" * 200_000
            self.send_response(200)
            self.send_header("Content-Type", "application/vnd.pypi.simple.v1+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Print nothing."""

    with served(Nested) as url, Requests() as way:
        cancellation = Cancellation()
        index = Index(addresses(f"{url}/legacy/"), way, index_retries(cancellation))
        assert index.presence(read_distribution(write_sdist(tmp_path))) is Presence.UNAVAILABLE
