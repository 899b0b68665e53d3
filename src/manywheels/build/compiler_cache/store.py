"""The objects that were compiled, by the digest of what they were compiled from.

One file, an SQLite database, that only the program writes. It is a cache: whatever is wrong with it, the build goes on.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PATIENCE: Final = 5.0  # seconds for another run's lock
_SPARE: Final = 0.8  # of the limit is left when the oldest entries are removed
_TABLE: Final = (
    "CREATE TABLE objects (key TEXT PRIMARY KEY, digest BLOB, content BLOB, diagnostics BLOB, "
    "size INTEGER, used INTEGER) WITHOUT ROWID"
)


@dataclass(frozen=True)
class CompiledObject:
    """An object file, and what the compiler said."""

    content: bytes
    diagnostics: bytes

    @property
    def digest(self) -> bytes:
        digest = hashlib.sha256(len(self.content).to_bytes(8, "big"))
        digest.update(self.content)
        digest.update(self.diagnostics)
        return digest.digest()


class Store:
    """The objects in the file `path`, of together at most `limit` bytes as they are stored.

    The least recently used ones make room.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._size = 0
        try:
            self._open()
        except sqlite3.Error:
            self._begin_anew()

    def get(self, key: str) -> CompiledObject | None:
        """Return None for what is not there, or was damaged."""
        with self._lock:
            try:
                return self._get(key)
            except (sqlite3.Error, zlib.error):
                self._begin_anew()
                return None

    def put(self, key: str, made: CompiledObject) -> None:
        """Without room on the disk, nothing is stored."""
        with self._lock:
            try:
                self._put(key, made)
            except sqlite3.DatabaseError as error:
                if not isinstance(error, sqlite3.OperationalError):  # which are full disks and other runs' locks
                    self._begin_anew()

    def close(self) -> None:
        with self._lock, suppress(sqlite3.Error):
            if self._connection:
                self._connection.close()
            self._connection = None

    def _open(self) -> None:
        self._connection = sqlite3.connect(
            self._path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )  # fmt: skip
        self._path.chmod(0o600)
        run = self._connection.execute
        # A killed program leaves the file whole. After a power cut it may not be, which the digests show.
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=OFF")
        run("PRAGMA trusted_schema=OFF")
        found = [row[0] for row in run("SELECT sql FROM sqlite_master")]
        if not found:
            run(_TABLE)
        elif found != [_TABLE]:  # another version's, or with views and triggers, which would run at each look
            raise sqlite3.DatabaseError("It has another schema")
        self._size = run("SELECT coalesce(sum(size), 0) FROM objects").fetchone()[0]

    def _begin_anew(self) -> None:
        with suppress(sqlite3.Error):
            if self._connection:
                self._connection.close()
        self._connection, self._size = None, 0
        with suppress(sqlite3.Error, OSError):
            for suffix in ("", "-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            self._open()

    def _get(self, key: str) -> CompiledObject | None:
        if self._connection is None:
            return None
        row = self._connection.execute(
            "SELECT digest, content, diagnostics FROM objects WHERE key = ?", (key,)
        ).fetchone()  # fmt: skip
        if row is None:
            return None
        made = CompiledObject(zlib.decompress(row[1]), row[2])
        if made.digest != row[0]:
            self._connection.execute("DELETE FROM objects WHERE key = ?", (key,))
            return None
        with suppress(sqlite3.OperationalError):
            self._connection.execute("UPDATE objects SET used = ? WHERE key = ?", (int(time.time()), key))
        return made

    def _put(self, key: str, made: CompiledObject) -> None:
        if self._connection is None:
            return
        content = zlib.compress(made.content, 1)
        size = len(content) + len(made.diagnostics)
        if size > self._limit // 4:
            return
        self._connection.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
            (key, made.digest, content, made.diagnostics, size, int(time.time())),
        )
        self._size += size
        if self._size > self._limit:
            self._make_room(self._connection)

    def _make_room(self, connection: sqlite3.Connection) -> None:
        for key, size in connection.execute("SELECT key, size FROM objects ORDER BY used").fetchall():
            if self._size <= self._limit * _SPARE:
                break
            connection.execute("DELETE FROM objects WHERE key = ?", (key,))
            self._size -= size
