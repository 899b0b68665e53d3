"""The program's side of shared compilations: one socket for each target, and a few workers for all.

A target's user can only ask. What is stored was compiled by a worker, from the text and the arguments that the key is
the digest of. Whatever fails here, the target compiles by itself, and shows its own compiler's messages.
"""

from __future__ import annotations

import hashlib
import os
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from manywheels.build.compiler_cache import wire
from manywheels.build.compiler_cache.client import address
from manywheels.build.compiler_cache.commands import Compilation, is_self_contained, read_command, without_places
from manywheels.build.compiler_cache.lending import Requests
from manywheels.build.compiler_cache.pool import WorkerPool
from manywheels.build.compiler_cache.store import CompiledObject, Store
from manywheels.build.compilers.compiler import Compiler
from manywheels.build.trace import NO_TRACE, Trace
from manywheels.plan.targets import Target
from manywheels.wheels.manifest import Compilations

_PATIENCE: Final = 60  # seconds for a target to send what it began
_MOST_REQUESTS: Final = 64  # of one target at once
_ROOM: Final = 1 << 27  # bytes of texts in memory, half of it for one target
_ROOM_PATIENCE: Final = 5.0  # seconds until a target compiles by itself
_FORMAT: Final = b"manywheels 1"
_PREPROCESSED: Final = {".c": ".i", ".cpp": ".ii", ".S": ".s"}


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A text, and the command that compiles it. `key` (hex) is the digest of all that decides the object."""

    compilation: Compilation
    folder: str
    text: bytes
    identity: bytes

    @property
    def options(self) -> tuple[str, ...]:
        """The compiler's options that decide the object."""
        compiler, code = self.compilation.compiler, self.compilation.code
        if not compiler.is_clang:
            return code
        # zig does not know a preprocessed source: it is compiled as one, without any macro that could change it.
        own: tuple[str, ...] = ("-undef", "-Wno-gnu-line-marker", "-Wno-unused-command-line-argument")
        if self.compilation.has_debug_information:
            own += (f"-fdebug-compilation-dir={self.folder}",)
        return (*own, *code)

    @property
    def title(self) -> str:
        """The name of its source, without a folder."""
        return self.compilation.source.rpartition("/")[2]

    @cached_property
    def name(self) -> str:
        """The name of the text's file: LLVM's linker tells the internal functions of two objects apart by it."""
        compilation = self.compilation
        if not compilation.compiler.is_clang:
            return f"unit{_PREPROCESSED[compilation.suffix]}"
        own = f"-{hashlib.sha256(self.text).hexdigest()[:16]}" if compilation.is_for_lto else ""
        return f"unit{own}{compilation.suffix}"

    @property
    def key(self) -> str:
        digest = hashlib.sha256()
        words = (*self.compilation.compiler.command, *self.options, self.name)
        for part in (_FORMAT, self.identity, b"%d" % len(words), *map(os.fsencode, words), self.text):
            digest.update(b"%d:" % len(part) + part)
        return digest.hexdigest()

    @property
    def command(self) -> tuple[str, ...]:
        compilation = self.compilation
        return (
            *compilation.compiler.command, *self.options, *compilation.warnings, "-c", self.name, "-o", wire.OBJECT,
        )  # fmt: skip


class CompilerCache:
    """Serves targets until it is closed. `compilers` are those that workers may run.

    `folder` is the program's own, and all can pass through it. `identify` returns what tells compilers apart that have
    the same command. Within `lent`, a target does without its token: all that it asks for, others compile.
    """

    def __init__(
        self,
        folder: Path,
        compilers: Sequence[Compiler],
        *,
        store: Store,
        pool: WorkerPool,
        identify: Callable[[Compiler], bytes],
        lent: Callable[[], AbstractContextManager[None]] = nullcontext,
        trace: Trace = NO_TRACE,
    ) -> None:
        self._trace = trace
        self._folder, self._store, self._pool = folder, store, pool
        self._identify, self._requests = identify, Requests(lent)
        self._compilers = sorted(compilers, key=lambda compiler: len(compiler.command), reverse=True)
        self._lock = threading.Lock()
        self._running: dict[str, Future[CompiledObject | None]] = {}
        self._held: Counter[str] = Counter()  # bytes of texts
        self._freed = threading.Condition()
        self._open: set[socket.socket] = set()
        self._accepting: list[threading.Thread] = []
        self._closed = False
        self._counts: Counter[str] = Counter()

    def start(self, users: Mapping[Target, int | None]) -> None:
        """Serve each target by a socket that only its user can open. Raises OSError."""
        for target, user in users.items():
            self._start(target.identifier, user)

    def socket_of(self, target: Target) -> Path:
        """Return where a target's compilers ask."""
        return self._folder / target.identifier

    def is_busy_for(self, target: Target) -> bool:
        """Whether a request of the target is under way."""
        return self._requests.number_of(target.identifier) > 0

    def _start(self, name: str, user: int | None) -> None:
        place = self._folder / name
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(address(str(place)))
        if user is not None:
            os.chown(place, user, user)
        place.chmod(0o600)
        listener.listen()
        with self._lock:
            self._open.add(listener)
        self._accepting.append(threading.Thread(target=self._accept, args=(listener, name), daemon=True))
        self._accepting[-1].start()

    @property
    def compilations(self) -> Compilations:
        with self._lock:
            return Compilations(
                compiled=self._counts["compiled"], shared=self._counts["shared"], alone=self._counts["alone"]
            )  # fmt: skip

    def close(self) -> None:
        """End all that is under way."""
        with self._lock:
            self._closed = True
            sockets = list(self._open)
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self._pool.close()
        for thread in self._accepting:
            thread.join()
        self._store.close()

    # --- one request ---

    def _accept(self, listener: socket.socket, name: str) -> None:
        with listener:
            while not self._closed:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                if self._admits(connection, name):
                    threading.Thread(target=self._serve, args=(connection, name), daemon=True).start()
                else:
                    connection.close()

    def _admits(self, connection: socket.socket, name: str) -> bool:
        with self._lock:
            if self._closed or self._requests.number_of(name) >= _MOST_REQUESTS:
                return False
            self._requests.begin(name)
            self._open.add(connection)
            return True

    def _serve(self, connection: socket.socket, name: str) -> None:
        try:
            with connection:
                _limit_waiting(connection)
                self._answer(connection.fileno(), name)
        except (wire.Ended, UnicodeError, ValueError, OSError):
            pass
        finally:
            self._requests.end(name)
            with self._lock:
                self._open.discard(connection)

    def _answer(self, connection: int, name: str) -> None:
        folder, words = wire.receive(connection, wire.LARGEST_COMMAND)
        compilation = self._understood([os.fsdecode(word) for word in words.split(b"\0")])
        if compilation is None:
            self._count("alone")
            wire.send(connection)
            return
        command = (*compilation.compiler.command, *compilation.preprocessing)
        wire.send(connection, os.fsencode(compilation.output), b"\0".join(map(os.fsencode, command)))
        lengths = wire.receive_lengths(connection, wire.LARGEST_TEXT)
        with self._room_for(sum(lengths), name) as there_is_room:
            made = self._made(connection, lengths, compilation, os.fsdecode(folder), name) if there_is_room else None
            if made is None:
                self._count("alone")
                wire.send(connection)
            else:
                wire.send(connection, made.diagnostics, made.content)

    def _made(
        self, connection: int, lengths: list[int], compilation: Compilation, folder: str, name: str
    ) -> CompiledObject | None:
        (text,) = wire.receive_fields(connection, lengths)
        if not is_self_contained(text):
            return None
        unit = Unit(
            compilation=compilation, folder=compilation.mapped(folder), text=without_places(text, compilation),
            identity=self._identify(compilation.compiler),
        )  # fmt: skip
        return self._object_of(unit, name)

    @contextmanager
    def _room_for(self, size: int, name: str) -> Iterator[bool]:
        """Yield whether a text of `size` bytes can be held; one of a target that has none always can."""

        def is_there() -> bool:
            own = self._held[name]
            return not own or (own + size <= _ROOM // 2 and self._held.total() + size <= _ROOM)

        with self._freed:
            admitted = self._freed.wait_for(is_there, _ROOM_PATIENCE)
            self._held[name] += size if admitted else 0
        try:
            yield admitted
        finally:
            with self._freed:
                self._held[name] -= size if admitted else 0
                self._freed.notify_all()

    def _understood(self, argv: Sequence[str]) -> Compilation | None:
        for compiler in self._compilers:
            length = len(compiler.command)
            if tuple(argv[:length]) == compiler.command:
                return read_command(compiler, argv[length:])
        return None

    def _object_of(self, unit: Unit, name: str) -> CompiledObject | None:
        key = unit.key
        with self._lock:
            running = self._running.get(key)
            mine = running is None
            if running is None:
                running = self._running[key] = Future()
        if not mine:
            made = self._requests.result_of(running, name)
            if made:
                self._count_shared(unit, name)
            return made
        made = None
        try:
            if made := self._store.get(key):
                self._count_shared(unit, name)
            elif made := self._pool.compile(unit.command, unit.name, unit.text, name, unit.title):
                self._count("compiled")
                self._store.put(key, made)
            return made
        finally:
            with self._lock:
                del self._running[key]
            running.set_result(made)

    def _count_shared(self, unit: Unit, name: str) -> None:
        self._count("shared")
        self._trace.shared(name, unit.title)

    def _count(self, what: str) -> None:
        with self._lock:
            self._counts[what] += 1


def _limit_waiting(connection: socket.socket) -> None:
    """Bound each read and write of a connection, which stays one that blocks."""
    limit = struct.pack("ll", _PATIENCE, 0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)
