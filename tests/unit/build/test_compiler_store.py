"""The store of compiled objects: bounded, and never believed without its digests."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from manywheels.build.compiler_cache.store import CompiledObject, Store

LIMIT = 1 << 20
MADE = CompiledObject(b"\x7fELF" + bytes(range(256)) * 20, b"a warning\n")


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_what_was_put_is_got_also_by_a_later_run(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "objects", LIMIT)) as store:
        assert store.get("a") is None
        store.put("a", MADE)
        assert store.get("a") == MADE
    with closing(Store(tmp_path / "objects", LIMIT)) as store:
        assert store.get("a") == MADE
        assert store.get("b") is None


def test_only_its_owner_can_open_it(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "objects", LIMIT)) as store:
        store.put("a", MADE)
        assert {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == dict.fromkeys(
            ("objects", "objects-wal", "objects-shm"), 0
        )


def test_two_runs_at_once(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "objects", LIMIT)) as one, closing(Store(tmp_path / "objects", LIMIT)) as other:
        one.put("a", MADE)
        assert other.get("a") == MADE
        other.put("b", MADE)
        assert one.get("b") == MADE


def test_the_least_recently_used_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10_000))
    monkeypatch.setattr("manywheels.build.compiler_cache.store.time.time", lambda: next(now))
    path = tmp_path / "objects"
    with closing(Store(path, LIMIT)) as store:
        for number in range(60):
            store.put(str(number), CompiledObject(os.urandom(50_000), b""))
            assert store.get("0"), "it is used all the time"
        kept = [number for number in range(60) if store.get(str(number))]
    assert kept[0] == 0
    assert kept[1:] == list(range(kept[1], 60))
    assert len(kept) * 50_000 <= LIMIT
    assert path.stat().st_size < LIMIT * 1.5


def test_one_object_does_not_push_out_all_others(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "objects", LIMIT)) as store:
        store.put("a", MADE)
        store.put("large", CompiledObject(os.urandom(LIMIT // 2), b""))
        assert store.get("a") == MADE
        assert store.get("large") is None


def test_a_full_disk_stores_nothing_and_keeps_what_is_there(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "objects", LIMIT)) as store:
        store.put("a", MADE)
        assert store._connection is not None
        store._connection.execute("PRAGMA max_page_count=1")  # SQLite's own word for a full disk
        store.put("b", CompiledObject(os.urandom(100_000), b""))
        assert store.get("b") is None
        assert store.get("a") == MADE


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: change(path, "UPDATE objects SET content = x'00'"),
        lambda path: change(path, "UPDATE objects SET diagnostics = x'00'"),
        lambda path: change(path, "UPDATE objects SET content = (SELECT content FROM objects WHERE key = 'b')"),
        lambda path: path.write_bytes(b"\0" * 5000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b""),
        lambda path: change(path, "DROP TABLE objects", "CREATE VIEW objects AS SELECT 'a' AS key, x'' AS content"),
        lambda path: change(path, "CREATE TRIGGER t AFTER UPDATE ON objects BEGIN DELETE FROM objects; END"),
        lambda path: change(path, "ALTER TABLE objects ADD COLUMN other"),
    ],
    ids=["content", "messages", "another's content", "zeros", "cut off", "empty", "view", "trigger", "other table"],
)
def test_what_was_damaged_is_not_there(damage: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "objects"
    with closing(Store(path, LIMIT)) as store:
        store.put("a", MADE)
        store.put("b", CompiledObject(os.urandom(9000), b""))
    damage(path)
    with closing(Store(path, LIMIT)) as store:
        assert store.get("a") is None
        store.put("a", MADE)
        assert store.get("a") == MADE


def test_without_a_place_it_stores_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with closing(Store(tmp_path / "file" / "objects", LIMIT)) as store:
        store.put("a", MADE)
        assert store.get("a") is None
