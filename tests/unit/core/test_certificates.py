"""Whom exchanges trust: variables, the system's authorities, and what is said of certificates that are not trusted."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import requests

from index.tls import make_certificates
from manywheels.core import certificates
from manywheels.core.cancellation import Cancellation
from manywheels.core.exchange import Adapter
from manywheels.deliver.index.http import NoResponse, Requests, index_retries, persist
from manywheels.errors import NoCertificates
from unit.fakeindex import FastClock
from unit.serving import served

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE", "SSL_CERT_DIR")


class Fine(BaseHTTPRequestHandler):
    """Has a page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing."""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """The certificate of a private authority, and a server's context that has one of it."""
    return make_certificates(tmp_path, ["127.0.0.1"])


def status(url: str) -> int:
    with Requests() as way:
        return way.get(url, accept="*/*", auth=None, timeout=20.0).status


def failure(url: str) -> NoResponse:
    """Return why there is no response; it is not asked for again."""
    clock = FastClock()
    retries = index_retries(Cancellation(), clock)
    with Requests() as way, pytest.raises(NoResponse) as caught:
        persist(lambda: way.get(url, accept="*/*", auth=None, timeout=20.0), retries)
    assert clock.slept == []
    return caught.value


@pytest.mark.parametrize("name", VARIABLES)
def test_a_variable_names_a_private_authority(
    server: tuple[Path, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    authority, context = server
    with served(Fine, context) as url:
        assert "unable to get local issuer" in str(failure(url))
        folder = tmp_path / "folder"
        folder.mkdir()
        link = folder / f"{_subject_hash(authority)}.0"
        link.symlink_to(authority)
        monkeypatch.setenv(name, str(folder if name == "SSL_CERT_DIR" else authority))
        assert status(url) == 200


def _subject_hash(authority: Path) -> str:
    """Return the name under which OpenSSL looks for an authority in a folder."""
    argv = ["openssl", "x509", "-subject_hash", "-noout", "-in", str(authority)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def test_the_systems_authorities_are_trusted(
    server: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever OpenSSL looks for them itself."""
    authority, context = server
    monkeypatch.setattr(certificates, "_SYSTEM", (str(authority),))
    certificates._context.cache_clear()
    with served(Fine, context) as url:
        assert status(url) == 200
    certificates._context.cache_clear()


@pytest.mark.parametrize("name", VARIABLES[:3])
@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: path.write_text("no certificate\n")], ids=["missing", "not one"]
)
def test_a_variable_that_names_no_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Callable[[Path], object]
) -> None:
    make(path := tmp_path / "ca.pem")
    monkeypatch.setenv(name, str(path))
    with pytest.raises(NoCertificates, match=f"{name} names `{path}`"):
        Requests()


def test_the_first_variable_is_the_only_one(
    server: tuple[Path, ssl.SSLContext], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (other := tmp_path / "other").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(make_certificates(other, ["a"])[0]))
    monkeypatch.setenv("SSL_CERT_FILE", str(server[0]))
    with served(Fine, server[1]) as url:
        cure = failure(url).cure
    assert "named by REQUESTS_CA_BUNDLE, lacks the server's authority" in cure


def test_a_file_that_is_not_there_is_told(server: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL ignores it; in a container, the caller's path is such a file."""
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/of/the/host.pem")
    with served(Fine, server[1]) as url:
        cure = failure(url).cure
    assert "`/etc/of/the/host.pem`, named by SSL_CERT_FILE, does not exist here. The GitHub action" in cure


MISMATCH = "IP address mismatch, certificate is not valid for '127.0.0.1'"


def test_no_library_switches_it_off(server: tuple[Path, ssl.SSLContext]) -> None:
    """The context is shared by all sessions."""
    with served(Fine, server[1]) as url, requests.Session() as session:
        session.mount("https://", Adapter())
        with pytest.raises(requests.exceptions.SSLError, match="unable to get local issuer"):
            session.get(url, verify=False, timeout=20)


def test_gitlabs_runner_names_the_authority_of_its_server() -> None:
    assert "set SSL_CERT_FILE to the path in CI_SERVER_TLS_CA_FILE" in certificates.untrusted_cure(
        {"CI_SERVER_TLS_CA_FILE": "/builds/ca.pem"}
    )


@pytest.mark.parametrize(
    ("host", "days", "told"),
    [
        ("127.0.0.1", -9, ("certificate has expired", "renewed")),
        ("127.0.0.1", 9, ("certificate is not yet valid", "this machine's clock")),
        ("index.example", 0, (MISMATCH, "name that the server's")),
    ],
)
def test_what_is_wrong_with_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, days: int, told: tuple[str, str]
) -> None:
    authority, context = make_certificates(tmp_path, [host], days=days)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with served(Fine, context) as url:
        fault = failure(url)
    assert str(fault) == f"the server's certificate is not trusted: {told[0]}"
    assert told[1] in fault.cure


def test_a_server_without_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    with served(Fine) as url:
        fault = failure(url.replace("http:", "https:"))
    assert str(fault) == "the server does not speak TLS at this address"
    assert "Correct the address" in fault.cure
