"""The index as a server: connections, the log of requests, faults; what each address does is in `pages`."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from index.faults import Answer, Delay, Drop
from index.form import BadForm, Body, Cut, Form

if TYPE_CHECKING:
    from index.local import LocalIndex


@dataclass(kw_only=True)
class Logged:
    """A request as it came, secrets and all. `status` is what was answered, 0 for nothing.

    `began` is in monotonic seconds, `host` the name that the client asked for; `body` is kept of small bodies only.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    host: str
    began: float
    status: int = 0
    file: str = ""
    body: bytes = b""
    received: int = 0
    fields: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def authorization(self) -> str:
        """The header's value, whatever it is; nothing where there was none."""
        return self.headers.get("authorization", "")

    @property
    def user(self) -> str:
        """The user of basic authentication."""
        return self._basic()[0]

    @property
    def password(self) -> str:
        """What came as the password of basic authentication: the token."""
        return self._basic()[2]

    def _basic(self) -> tuple[str, str, str]:
        kind, _, value = self.authorization.partition(" ")
        return base64.b64decode(value).decode().partition(":") if kind.lower() == "basic" else ("", "", "")

    def as_json(self) -> dict[str, Any]:
        """Return what a test in another process may want to know."""
        return {
            "method": self.method, "path": self.path, "query": dict(self.query), "headers": dict(self.headers),
            "host": self.host, "status": self.status, "file": self.file, "body": self.body.decode("utf-8", "replace"),
            "received": self.received,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer; `reason` stands in the status line, as the index's own messages do."""

    status: int = 200
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    reason: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Call:
    """A request on its way: what is logged of it, its body, the form that was in it, and where its file lies.

    `new_release` is the upload's release, if the index did not have it when the upload had arrived.
    """

    logged: Logged
    body: Body
    form: Form = field(default_factory=Form)
    spool: Path | None = None
    new_release: tuple[str, str] | None = None


class Server(ThreadingHTTPServer):
    """One thread for each connection; all of them end with the server."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], index: LocalIndex, context: ssl.SSLContext | None) -> None:
        self.index, self.context = index, context
        self.connections: set[socket.socket] = set()
        super().__init__(address, Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away."""


class Handler(BaseHTTPRequestHandler):
    """One connection. CONNECT makes it one to ourselves under another name, through TLS."""

    protocol_version = "HTTP/1.1"
    server: Server
    timeout: ClassVar[float] = 60.0

    def setup(self) -> None:
        if self.server.context:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()
        self.connection.close()  # the server closes the socket below TLS only

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print nothing: the log is `LocalIndex.requests`."""

    def do_CONNECT(self) -> None:
        """Be a proxy whose every host is this index, with a certificate of the test's own authority."""
        self.send_response(200, "Connection established")
        self.end_headers()
        context = self.server.index.tls_context
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except (OSError, ssl.SSLError):
            self.close_connection = True
            return
        self.server.connections.add(self.connection)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_HEAD = do_PUT = do_DELETE = do_GET  # noqa: N815

    def _serve(self) -> None:
        call = self._call()
        self.server.index.log(call.logged)
        try:
            reply = self._carry_out(call)
            if reply:
                self._reply(call, reply)
            else:
                self._drop()
        except (ConnectionError, ssl.SSLError, TimeoutError):
            self.close_connection = True

    def _carry_out(self, call: Call) -> Reply | None:
        """Return what to answer; None is not to answer. By then nothing is left of the request but what is stored."""
        index, logged = self.server.index, call.logged
        try:
            action = index.faults.take(logged.method, logged.path, early=True)
            if isinstance(action, Drop):
                call.body.limit = action.received
            if not isinstance(action, Answer):
                index.receive(call)
                action = index.faults.take(logged.method, logged.path, logged.file)
            return _with_fault(index, call, action)
        except Cut:
            return None
        except BadForm as problem:
            return Reply(status=400, body=str(problem).encode())
        finally:
            logged.received = call.body.received
            if call.spool:
                call.spool.unlink(missing_ok=True)

    def _call(self) -> Call:
        parts = urlsplit(self.path)
        logged = Logged(
            method=self.command,
            path=parts.path,
            query={name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            host=self.headers.get("Host", ""),
            began=time.monotonic(),
        )
        return Call(logged=logged, body=Body(self.rfile, self.headers))

    def _reply(self, call: Call, reply: Reply) -> None:
        call.logged.status = reply.status
        self.send_response(reply.status, reply.reason)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not call.body.finished:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)

    def _drop(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


def _with_fault(index: LocalIndex, call: Call, action: Answer | Drop | Delay | None) -> Reply | None:
    match action:
        case Drop(after=after):
            if after:
                index.answer(call)
            return None
        case Answer(after=after):
            if after:
                index.answer(call)
            return Reply(status=action.status, headers=action.headers, body=action.body, content_type="text/plain")
        case Delay():
            time.sleep(action.seconds)
    return index.answer(call)


def start(server: Server) -> None:
    """Serve in a thread of its own."""
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
