"""An index that is not PyPI: other pages, other digests, other words, its simple API elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from requests_toolbelt import MultipartDecoder

Answer = tuple[int, str, bytes]  # status, reason of the status line, body
TAKEN: Answer = (409, "Conflict", b"")


def digest_of(content: bytes, algorithm: str) -> str:
    if algorithm == "blake2b_256":
        return hashlib.blake2b(content, digest_size=32).hexdigest()
    return hashlib.new(algorithm, content).hexdigest()


@dataclass(kw_only=True)
class OtherIndex:
    """Its page of the project demo is at `simple`, with digests of `algorithm` (none if empty), in JSON or HTML.

    `taken` is its answer to a name that it has, `refusal` to every upload; the first `late` pages show no file.
    `moved` redirects pages to this address first; `reader` are the user and password that pages demand.
    """

    upload: str = "/up/"
    simple: str = "/up/simple/"
    algorithm: str = "sha256"
    as_json: bool = False
    taken: Answer = TAKEN
    refusal: Answer | None = None
    late: int = 0
    moved: str = ""
    reader: tuple[str, str] | None = None
    context: ssl.SSLContext | None = None
    files: dict[str, bytes] = field(default_factory=dict)
    posts: list[str] = field(default_factory=list)
    authorizations: list[tuple[str, str]] = field(default_factory=list)  # of each request: its path, and the header

    def __enter__(self) -> Self:
        index = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                self.answer(*index.page(self.path, self.headers["Authorization"] or ""))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(*index.receive(self.path, body, self.headers["Content-Type"]))

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if self.context:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def host(self) -> str:
        return f"http{'s' * bool(self.context)}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return self.host + self.upload

    @property
    def check_url(self) -> str:
        return self.host + self.simple

    def page(self, path: str, authorization: str) -> tuple[int, str, bytes, str]:
        self.authorizations.append((path, authorization))
        if self.moved and path == f"{self.simple}demo/":
            return 301, "Moved", b"", self.moved
        if self.reader and authorization != _basic(*self.reader):
            return 401, "Unauthorized", b"", "text/html"
        if path == self.simple:
            return 200, "OK", b"<title>Simple index</title>", "text/html"
        self.late -= 1
        if path not in {f"{self.simple}demo/", self.moved} or not self.files or self.late >= 0:
            return 404, "Not Found", b"<h1>404</h1>", "text/html"
        return (200, "OK", self._json(), "application/json") if self.as_json else (200, "OK", self._html(), "text/html")

    def _json(self) -> bytes:
        hashes = {name: self._digests(content) for name, content in self.files.items()}
        return json.dumps({"files": [{"filename": name, "hashes": found} for name, found in hashes.items()]}).encode()

    def _digests(self, content: bytes) -> dict[str, str]:
        return {self.algorithm: digest_of(content, self.algorithm)} if self.algorithm else {}

    def _html(self) -> bytes:
        links = [
            f'<a href="../../f/{name}?token=a&b=c#{self.algorithm}={digest_of(content, self.algorithm)}" '
            f'data-yanked="no more" data-dist-info-metadata="sha256={"0" * 64}">Demo</a>'
            if self.algorithm
            else f'<a href="http://[">x</a><a href="/f/{name}">{name}</a>'
            for name, content in self.files.items()
        ]
        return f"<!DOCTYPE html><title>Demo</title>{''.join(links)}".encode()

    def receive(self, path: str, body: bytes, kind: str) -> tuple[int, str, bytes, str]:
        part: Any = next(part for part in MultipartDecoder(body, kind).parts if b"filename=" in _disposition(part))
        name = _disposition(part).partition(b'filename="')[2].rstrip(b'"').decode()
        self.posts.append(name)
        if self.refusal:
            return (*self.refusal, "text/plain")
        if path != self.upload:
            return 404, "Not Found", b"<h1>404</h1>", "text/html"
        if name in self.files:
            return (*self.taken, "text/plain")
        self.files[name] = part.content
        return 200, "OK", b"", "text/plain"


def _disposition(part: Any) -> bytes:
    found: bytes = part.headers[b"Content-Disposition"]
    return found


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, reason: str, body: bytes, kind: str) -> None:
        self.send_response(status, reason)
        if 300 <= status < 400:
            self.send_header("Location", kind)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing."""
