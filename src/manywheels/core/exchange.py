"""One deadline for a whole HTTP exchange, from name lookup to the last byte.

A socket's timeout restarts with each byte, so a slow server could hold a client for ever. A watchdog thread shuts the
sockets down at the deadline or on cancellation, which ends any operation.
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

from manywheels.core.certificates import tls_context
from manywheels.core.interruptible import begin
from manywheels.core.retry import RetryPolicy, TransientError, transient_status

_POLL: Final = 0.1  # seconds between checks
_STALL: Final = 120.0  # seconds
_PIECE: Final = 1 << 16  # bytes
_LARGEST: Final = 1 << 20  # bytes of a body by default
_MOST_INTERIM: Final = 20  # `100 Continue` before a response; http.client bounds headers itself


class TimeOver(Timeout):
    """An exchange was ended at its deadline or by a cancellation."""


class TooLarge(RequestException):
    """A response's body is larger than allowed."""


class Exchange:
    """A block for requests and reading their responses, within `seconds` for all of it.

    `stall` limits one socket operation, in seconds; `stopped` returns whether the run was cancelled. Once ended, the
    block raises TimeOver even on success: a body without a length seems complete after the shutdown.
    """

    def __init__(self, seconds: float, *, stall: float = _STALL, stopped: Callable[[], bool] = lambda: False) -> None:
        self._seconds, self._stall, self._stopped = seconds, stall, stopped
        self._end = time.monotonic() + seconds
        self._over, self._exited = threading.Event(), threading.Event()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._reason = ""

    def __enter__(self) -> Self:
        self._outer = _current.set(self)
        threading.Thread(target=self._watch, name="exchange deadline", daemon=True).start()
        return self

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        _current.reset(self._outer)
        with self._lock:
            self._exited.set()
            for sock in self._sockets:
                sock.close()
        if self.over and (error is None or isinstance(error, Exception)):
            raise TimeOver(self._reason) from None

    @property
    def over(self) -> bool:
        """Whether the watchdog ended it."""
        return self._over.is_set()

    @property
    def connected(self) -> bool:
        """Whether there was a connection; without one, nothing can have arrived."""
        return bool(self._sockets)

    @property
    def operation_timeout(self) -> float:
        """Seconds for the next socket operation."""
        return max(min(self._stall, self._end - time.monotonic()), _POLL)

    def extend(self, seconds: float) -> None:
        """Extend the deadline for bytes received, to at most the block's `seconds` from now."""
        self._end = max(self._end, min(self._end + seconds, time.monotonic() + self._seconds))

    def add(self, sock: Any) -> None:  # noqa: ANN401 - a socket, or what wraps it in TLS
        """Put a connection under the watchdog. Raises TimeOver if the exchange has ended."""
        with self._lock:
            # A duplicate: the connection may close its descriptor, and the number be reused.
            self._sockets.append(socket.socket(fileno=os.dup(sock.fileno())))
            if not self.over:
                return
        self._shut_down()
        raise TimeOver(self._reason)

    def _watch(self) -> None:
        while not self._exited.wait(min(_POLL, max(self._end - time.monotonic(), 0.0))):
            if self._stopped():
                self._reason = "the run was cancelled"
            elif time.monotonic() >= self._end:
                self._reason = f"it did not end within {self._seconds:.0f} s"
            if self._reason:
                self._shut_down()
                return

    def _shut_down(self) -> None:
        with self._lock:
            if self._exited.is_set():
                return
            self._over.set()
            for sock in self._sockets:
                with suppress(OSError):  # the server has closed it
                    sock.shutdown(socket.SHUT_RDWR)


_current: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


def current() -> Exchange:
    """Raises RuntimeError if this thread has no exchange."""
    exchange = _current.get()
    if exchange is None:
        raise RuntimeError("a request needs an exchange that bounds its time")
    return exchange


def read_body(response: Response, most: int = _LARGEST) -> bytes:
    """Return the decompressed body of a response to a request with `stream`. Raises RequestException."""
    pieces, size = [], 0
    try:
        while piece := response.raw.read1(_PIECE, decode_content=True):
            size += len(piece)
            if size > most:
                raise TooLarge(f"the response is larger than {most} bytes")
            pieces.append(piece)
    except ReadTimeoutError as error:
        raise Timeout(error) from None
    except HTTPError as error:
        raise ConnectionError(error) from None
    return b"".join(pieces)


class Adapter(HTTPAdapter):
    """An adapter for sessions of `requests` that puts connections under an exchange's deadline.

    A request outside of one gets its own, of `limit(request)` seconds with all `retries`, and its body (up to 1 MiB) is
    read. Lost connections and transient statuses are retried, whatever the method. `wait`: default seconds to connect
    and between bytes.
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
        super().init_poolmanager(*arguments, ssl_context=tls_context(), **options)
        _set_pool_classes(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:  # noqa: ANN401 - passed on
        own = {} if proxy.lower().startswith("socks") else {"proxy_ssl_context": tls_context()}
        manager: ProxyManager = super().proxy_manager_for(proxy, ssl_context=tls_context(), **own, **options)
        _set_pool_classes(manager)
        return manager

    def cert_verify(self, *_: Any) -> None:  # noqa: ANN401 - not used
        """Do nothing: `requests` would add its own authorities to the context's."""

    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override]  # noqa: ANN401
        """Raises TimeOver, TooLarge and what `requests` raises."""
        options["verify"] = True  # not the path that `requests` found: the context has it
        options["timeout"] = options.get("timeout") or self._wait
        if _current.get() is not None:
            return super().send(request, **options)
        if options.get("stream"):
            raise RuntimeError("a response that is read later needs an exchange around all of it")
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
            whole = read_body(response)
        response.raw = _Whole(whole)
        return response


class _Whole(io.BytesIO):
    """A body that was read; Azure's client sets an attribute, which BytesIO does not allow."""


class _Response(http.client.HTTPResponse):
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
        """Connect in a thread: a name lookup cannot be interrupted."""
        exchange, connecting = current(), begin(super()._new_conn)
        while not futures.wait([connecting], timeout=_POLL).done:
            if exchange.over:
                connecting.add_done_callback(_close)
                raise ConnectTimeoutError(self, "there was no time left")
        sock = connecting.result()
        try:
            exchange.add(sock)
        except TimeOver:
            sock.close()
            raise
        return sock

    def _tunnel(self) -> None:
        super()._tunnel()
        if current().over:  # the shutdown looks like the end of the proxy's headers
            raise ConnectTimeoutError(self, "there was no time left")

    def request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as the base class has it
        if self.sock is not None:  # kept alive after another exchange
            current().add(self.sock)
        super().request(*arguments, **options)

    def send(self, data: Any) -> None:  # noqa: ANN401 - as the base class has it
        """Send under the timeout of a single operation; urllib3 would keep the one for connecting."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(current().operation_timeout)
        super().send(data)


class _ConnectionTLS(_Connection, HTTPSConnection):
    """A connection over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _ConnectionTLS


def _set_pool_classes(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _PoolTLS}


def _close(connecting: futures.Future[socket.socket]) -> None:
    if connecting.exception() is None:
        connecting.result().close()
