"""A proxy before an artifact server, which loses, refuses and changes what it is told to, and remembers what it saw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler
from typing import Any

import requests

from unit.serving import served


class Fault(StrEnum):
    """What happens to one request."""

    REFUSE = "503, and the server never sees it"
    DROP = "the connection is lost before the server sees it"
    LOSE = "the server does it, and its answer is lost"
    CHANGE = "one byte of the answer is changed"


@dataclass
class Proxy:
    """`faults` are for requests whose path has this text, one after another.

    `adapt_request` and `adapt_answer` may rewrite what is said, given the method's name.
    """

    upstream: str
    url: str = ""
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    adapt_request: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None
    adapt_answer: Callable[[str, dict[str, Any]], dict[str, Any]] | None = None
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    suffered: list[Fault] = field(default_factory=list)

    def fault_of(self, path: str) -> Fault | None:
        for text, faults in self.faults.items():
            if text in path and faults:
                self.suffered.append(faults[0])
                return faults.pop(0)
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def do_POST(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def do_GET(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        method = self.path.partition("?")[0].rpartition("/")[2]
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        body = self._adapted(self.proxy.adapt_request, method, body)
        if self.command == "POST":
            self.proxy.seen.append((method, json.loads(body)))
        fault = self.proxy.fault_of(self.path)
        if fault is Fault.REFUSE:
            self._answer(503, b"")
            return
        if fault is Fault.DROP:
            self.close_connection = True
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() != "content-length"}
        # The server makes its signed addresses from the Host that it is asked by: they lead here, too.
        found = requests.request(self.command, self.proxy.upstream + self.path, data=body, headers=headers, timeout=60)
        if fault is Fault.LOSE:
            self.close_connection = True
            return
        content = self._adapted(self.proxy.adapt_answer, method, found.content)
        if fault is Fault.CHANGE:
            content = content[:-30] + bytes([content[-30] ^ 1]) + content[-29:]
        self._answer(found.status_code, content)

    def _adapted(
        self, adapt: Callable[[str, dict[str, Any]], dict[str, Any]] | None, method: str, body: bytes
    ) -> bytes:
        if adapt is None or self.command != "POST":
            return body
        return json.dumps(adapt(method, json.loads(body))).encode()

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if self.command == "POST" else "application/zip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def proxying(proxy: Proxy) -> Iterator[Proxy]:
    """Serve on a free port of 127.0.0.1 while the block runs."""
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with served(handler) as proxy.url:
        yield proxy
