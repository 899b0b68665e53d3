"""One clock over an HTTP exchange: name lookup, connection, TLS, request, status line, headers and body.

A socket's own timeout starts again with each byte: a server that sends one now and then holds a client for ever. So a
watchdog shuts down the sockets of an exchange when its time is over or the run is cancelled. Every operation on them
ends then, in whatever layer it waits: a proxy's tunnel, TLS, interim responses, headers, chunks, trailers.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent import futures
from contextlib import suppress
from contextvars import ContextVar
from http import HTTPStatus
from itertools import count
from types import TracebackType
from typing import Any, Final, Self

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError, RequestException, Timeout  # noqa: A004
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, ReadTimeoutError

from manywheels.core.interruptible import begin
from manywheels.core.retry import RetryPolicy, TransientError, transient_status

_LOOK: Final = 0.1  # seconds between two looks at the clock and the cancellation
_STALL: Final = 120.0  # seconds
_PIECE: Final = 1 << 16  # bytes
_LARGEST: Final = 1 << 20  # bytes of an answer that nobody asked to be larger
_MOST_INTERIM: Final = 20  # `100 Continue` before an answer; http.client bounds all else in a head, 100 lines of 64 KiB


class TimeOver(Timeout):
    """An exchange was broken off: its time was over, or the run was cancelled."""


class TooLarge(RequestException):
    """The body of an answer is larger than it may be; the text says how large that is."""


class Exchange:
    """The block in which requests are made and their answers are read, within `seconds` for all of it.

    `stall` is how long a single operation on a socket may take; `stopped` tells whether the run was cancelled.
    The block raises TimeOver instead of whatever the end of its sockets looked like, also where it looked like success:
    a body that only the connection's end delimits seems whole when it is broken off.
    """

    def __init__(self, seconds: float, *, stall: float = _STALL, stopped: Callable[[], bool] = lambda: False) -> None:
        self._seconds, self._stall, self._stopped = seconds, stall, stopped
        self._end = time.monotonic() + seconds
        self._over, self._left = threading.Event(), threading.Event()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._reason = ""

    def __enter__(self) -> Self:
        self._outer = _current.set(self)
        threading.Thread(target=self._watch, name="clock of an exchange", daemon=True).start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        _current.reset(self._outer)
        with self._lock:
            self._left.set()
            for sock in self._sockets:
                sock.close()
        if self.over and (error is None or isinstance(error, Exception)):
            raise TimeOver(self._reason) from None

    @property
    def over(self) -> bool:
        """Whether it was broken off."""
        return self._over.is_set()

    @property
    def connected(self) -> bool:
        """Whether there was a connection: without one, nothing can have arrived."""
        return bool(self._sockets)

    @property
    def operation_timeout(self) -> float:
        """Seconds that the next operation on a socket may take."""
        return max(min(self._stall, self._end - time.monotonic()), _LOOK)

    def earn(self, seconds: float) -> None:
        """Let it last longer, for what has come so far; never more than `seconds` of the block from now."""
        self._end = max(self._end, min(self._end + seconds, time.monotonic() + self._seconds))

    def claim(self, sock: Any) -> None:  # noqa: ANN401 - a socket, or what wraps it in TLS
        """Break this connection off, too, when the time is over; at once if it is over already. Raises TimeOver."""
        with self._lock:
            # A descriptor of its own: the connection may close its own, and the number may be another socket's by then.
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
            if not self.over:
                return
        self._break_off()
        raise TimeOver(self._reason)

    def _watch(self) -> None:
        while not self._left.wait(min(_LOOK, max(self._end - time.monotonic(), 0.0))):
            if self._stopped():
                self._reason = "the run was cancelled"
            elif time.monotonic() >= self._end:
                self._reason = f"it did not end within {self._seconds:.0f} s"
            if self._reason:
                self._break_off()
                return

    def _break_off(self) -> None:
        with self._lock:
            if self._left.is_set():
                return
            self._over.set()
            for sock in self._sockets:
                with suppress(OSError):  # the server was quicker
                    sock.shutdown(socket.SHUT_RDWR)


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def current() -> Exchange:
    """Return the exchange of this thread. Raises RuntimeError where a request is made outside of one."""
    exchange = _current.get()
    if exchange is None:
        raise RuntimeError("a request needs an exchange around it that bounds its time")
    return exchange


def read(response: Response, most: int = _LARGEST) -> bytes:
    """Return the body of an answer that was asked for with `stream`, decompressed. Raises RequestException."""
    pieces, size = [], 0
    try:
        while piece := response.raw.read1(_PIECE, decode_content=True):
            size += len(piece)
            if size > most:
                raise TooLarge(f"the answer is larger than {most} bytes")
            pieces.append(piece)
    except ReadTimeoutError as error:
        raise Timeout(error) from None
    except HTTPError as error:
        raise ConnectionError(error) from None
    return b"".join(pieces)


class Adapter(HTTPAdapter):
    """What a session of `requests` mounts: all its connections are under the clock of the exchange they are used in.

    A request that is made in none has one of its own, of `limit(request)` seconds with all retries; the body of the
    answer is read in it, up to a mebibyte. `wait` are seconds to connect and between two bytes, where none are given.
    With `retries`, lost connections and statuses that may pass are tried again, whatever the method.
    """

    def __init__(
        self,
        *,
        limit: Callable[[PreparedRequest], float] = lambda _: _STALL,
        stopped: Callable[[], bool] = lambda: False,
        wait: tuple[float, float] | None = None,
        retries: RetryPolicy | None = None,
        **options: Any,  # noqa: ANN401 - passed on
    ) -> None:
        self._limit, self._stopped, self._wait, self._retries = limit, stopped, wait, retries
        super().__init__(**options)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - passed on
        """Set up the pools of direct connections."""
        super().init_poolmanager(*arguments, **options)
        _equip(self.poolmanager)

    def proxy_manager_for(self, *arguments: Any, **options: Any) -> ProxyManager:  # noqa: ANN401 - passed on
        """Set up the pools of connections through a proxy."""
        manager: ProxyManager = super().proxy_manager_for(*arguments, **options)
        _equip(manager)
        return manager

    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override]  # noqa: ANN401
        """Make a request. Raises TimeOver, TooLarge, and what `requests` raises."""
        options["timeout"] = options.get("timeout") or self._wait
        if _current.get() is not None:
            return super().send(request, **options)
        if options.get("stream"):
            raise RuntimeError("an answer that is read later needs an exchange around all of it")
        limit = self._limit(request)
        retries = self._retries and self._retries.within(limit)
        with Exchange(limit, stopped=self._stopped):
            for attempt in count(1):
                try:
                    response = self._send_once(request, **options)
                except (ConnectionError, Timeout) as error:
                    if retries is None or not retries.again(attempt, TransientError(str(error))):
                        raise
                else:
                    failure = transient_status(response.status_code, response.headers)
                    if failure is None or retries is None or not retries.again(attempt, failure):
                        return response
        raise AssertionError("unreachable")  # pragma: no cover

    def _send_once(self, request: PreparedRequest, **options: Any) -> Response:  # noqa: ANN401 - passed on
        with super().send(request, **(options | {"stream": True})) as response:
            whole = read(response)
        response.raw = _Whole(whole)
        return response


class _Whole(io.BytesIO):
    """A body that was read; Azure's client sets an attribute on it."""


class _Response(http.client.HTTPResponse):
    """An answer that is not put off for ever by interim ones."""

    _interim = 0

    def _read_status(self) -> tuple[str, int, str]:
        found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]
        self._interim += found[1] == HTTPStatus.CONTINUE
        if self._interim > _MOST_INTERIM:
            raise http.client.HTTPException("too many interim responses")
        return found


class _Connection(HTTPConnection):
    response_class = _Response

    def _new_conn(self) -> socket.socket:
        """Look the name up and connect, in a thread: a lookup cannot be called back, and addresses may be many."""
        exchange, connecting = current(), begin(super()._new_conn)
        while not futures.wait([connecting], timeout=_LOOK).done:
            if exchange.over:
                connecting.add_done_callback(_close)
                raise ConnectTimeoutError(self, "there was no time left")
        sock = connecting.result()
        try:
            exchange.claim(sock)
        except TimeOver:
            sock.close()
            raise
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        if current().over:  # the end of what a proxy says looks like the end of its headers
            raise ConnectTimeoutError(self, "there was no time left")

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as the base class has it
        if self.sock is not None:  # it was kept open after another exchange
            current().claim(self.sock)
        super().request(*arguments, **options)

    def send(self, data: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Send under the time for a single operation: urllib3 would leave that for connecting in force."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(current().operation_timeout)
        super().send(data)


class _ConnectionTLS(_Connection, HTTPSConnection):
    """The same through TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _ConnectionTLS


def _equip(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}


def _close(connecting: futures.Future[socket.socket]) -> None:
    """Close a connection that nobody waits for any more."""
    if connecting.exception() is None:
        connecting.result().close()
