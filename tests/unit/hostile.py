"""Hostile servers, each on its own port.

They end after some time, so that a client without a deadline fails its test instead of blocking it.
"""

from __future__ import annotations

import gzip
import itertools
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

LASTS: Final = 90.0  # seconds that a server goes on
SOON: Final = 60.0  # seconds within which a client is to have ended: far from both its limit of a second and LASTS
_DRIP: Final = 0.2  # seconds between two bytes
OK: Final = b"HTTP/1.1 200 OK\r\n"
JSON: Final = b"Content-Type: application/vnd.pypi.simple.v1+json\r\n"
_BIG: Final = b"x" * 65_000

Manner = Callable[[socket.socket], None]


@dataclass
class Hostile:
    """A running server; `begun` is set when a part of a request has arrived."""

    port: int
    begun: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def hostile(manner: Manner, context: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Serve each connection by `manner`, with TLS if there is a context."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Hostile(listener.getsockname()[1])

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                wrapped = context.wrap_socket(connection, server_side=True) if context else connection
                with wrapped:
                    wrapped.settimeout(LASTS)
                    manner(_Watched(wrapped, server.begun))  # type: ignore[arg-type]

        def accept() -> None:
            while not over.is_set():
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                server.connections += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield server
        finally:
            over.set()
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


class _Watched:
    """A connection that sets an event at the client's first bytes."""

    def __init__(self, connection: socket.socket, begun: threading.Event) -> None:
        self._connection, self._begun = connection, begun

    def recv(self, size: int) -> bytes:
        data = self._connection.recv(size)
        self._begun.set()
        return data

    def sendall(self, data: bytes) -> None:
        self._connection.sendall(data)


def _head(connection: socket.socket) -> None:
    """Read a request up to its body."""
    seen = b""
    while b"\r\n\r\n" not in seen and (piece := connection.recv(65_536)):
        seen = seen[-3:] + piece


def drips(start: bytes, rest: Iterable[bytes]) -> Manner:
    """Return a server that sends the start at once, and the rest piece by piece."""

    def serve(connection: socket.socket) -> None:
        _head(connection)
        connection.sendall(start)
        end = time.monotonic() + LASTS
        for piece in rest:
            time.sleep(_DRIP)
            connection.sendall(piece)
            if time.monotonic() > end:
                return

    return serve


def floods(start: bytes, rest: bytes) -> Manner:
    """Return a server that repeats something as fast as it can."""

    def serve(connection: socket.socket) -> None:
        _head(connection)
        connection.sendall(start)
        end = time.monotonic() + LASTS
        while time.monotonic() < end:
            connection.sendall(rest)

    return serve


def _silent(connection: socket.socket) -> None:
    _head(connection)
    time.sleep(LASTS)


def reluctant(connection: socket.socket) -> None:
    """Read a request in small pieces: fast enough for each wait, far too slow for all of it."""
    end = time.monotonic() + LASTS
    while time.monotonic() < end and connection.recv(65_536):
        time.sleep(_DRIP)


def mute(connection: socket.socket) -> None:
    """Accept the connection, and read nothing: no TLS, no request."""
    time.sleep(LASTS)


_CHUNKED: Final = OK + JSON + b"Transfer-Encoding: chunked\r\n\r\n"

# What holds a client for longer than it wants; and what wants more memory than it has.
ENDLESS: Final[dict[str, Manner]] = {
    "silence": _silent,
    "a status line byte by byte": drips(b"HT", itertools.repeat(b"T")),
    "a header byte by byte": drips(OK + b"X: ", itertools.repeat(b"x")),
    "headers without end": drips(OK, (b"X-%d: 1\r\n" % number for number in itertools.count())),
    "interim responses one by one": drips(b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n")),
    "an interim response whose headers do not end": drips(b"HTTP/1.1 100 Continue\r\nX: ", itertools.repeat(b"x")),
    "a body byte by byte": drips(OK + JSON + b"Content-Length: 100000\r\n\r\n", itertools.repeat(b" ")),
    "a body up to the connection's end": drips(OK + JSON + b"Connection: close\r\n\r\n", itertools.repeat(b" ")),
    "a chunk's size byte by byte": drips(_CHUNKED, itertools.repeat(b"0")),
    "chunk extensions without end": drips(_CHUNKED + b"1;", itertools.repeat(b"x")),
    "trailers one by one": drips(_CHUNKED + b"0\r\n", (b"X-%d: 1\r\n" % number for number in itertools.count())),
}  # fmt: skip
FLOODS: Final[dict[str, Manner]] = {
    "a status line": floods(b"HTTP/1.1 200 ", _BIG),
    "a header line": floods(OK + b"X: ", _BIG),
    "header lines": floods(OK, b"X: " + _BIG + b"\r\n"),
    "small header lines": floods(OK, b"X: 1\r\n" * 1000),
    "interim responses": floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "a body with a length": floods(OK + JSON + b"Content-Length: 9000000000\r\n\r\n", _BIG),
    "a body without one": floods(OK + JSON + b"\r\n", _BIG),
    "chunks": floods(_CHUNKED, b"fde8\r\n" + _BIG + b"\r\n"),
    "a chunk extension": floods(_CHUNKED + b"1;", _BIG),
    "trailers": floods(_CHUNKED + b"0\r\n", b"X: " + _BIG + b"\r\n"),
}


def compressed(times: int) -> Manner:
    """Return a server whose small response inflates to 128 MiB, compressed that many times."""
    body = bytes(1 << 27)
    for _ in range(times):
        body = gzip.compress(body, 9)
    encoding = ", ".join(["gzip"] * times).encode()
    answer = OK + JSON + b"Content-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    return drips(answer + body, ())
