import sqlite3
from pathlib import Path

import pytest

from skerry.errors import StoreBusy, StoreCorrupt, StoreError, WrongOwner
from skerry.store import SQLiteDatabase
from skerry.testing import run_virtual


def open_once(path, owner="order"):
    """Open, run a query, close."""

    async def main(clock):
        database = SQLiteDatabase(path, owner=owner, clock=clock)
        try:
            await database.open()
            return await database.fetch_one("SELECT 1")
        finally:
            await database.close()

    return run_virtual(main)


def test_commits_are_durable_by_their_settings(opened):
    """The writer runs in WAL mode with full synchronisation and foreign keys; the reader cannot write."""

    async def main(clock):
        async with opened() as database:
            async with database.transaction() as tx:
                values = [
                    (await tx.fetch_one(f"PRAGMA {name}"))[0]
                    for name in ("journal_mode", "synchronous", "foreign_keys")
                ]
            assert values == ["wal", 2, 1]
            with pytest.raises(StoreError, match="readonly"):
                await database.fetch_all("DELETE FROM t")

    run_virtual(main)


def test_a_database_is_stamped_with_its_owner(tmp_path):
    """A service cannot open another one's file; its own it opens again and again."""
    open_once(tmp_path / "a.db", "order")
    open_once(tmp_path / "a.db", "order")
    with pytest.raises(WrongOwner, match="belongs to the service 'order'"):
        open_once(tmp_path / "a.db", "payment")


def test_overwritten_bytes_are_refused_at_start(tmp_path):
    """A file with overwritten pages raises StoreCorrupt at opening, which leaves nothing open."""
    path = tmp_path / "a.db"
    open_once(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (n TEXT)")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
    connection.close()
    data = bytearray(path.read_bytes())
    data[8192:24576] = b"\xff" * 16384
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt):
        open_once(path)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    """A file of something else raises StoreCorrupt and is left as it is."""
    path = tmp_path / "a.db"
    path.write_text("not a database, but longer than the hundred bytes of a header" * 4)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="not a database"):
        open_once(path)
    assert path.read_bytes() == before


def test_damage_found_by_a_query_is_named(tmp_path):
    """Damage that appears while the database is open raises StoreCorrupt from the query that meets it."""
    path = tmp_path / "a.db"

    async def main(clock):
        database = SQLiteDatabase(path, owner="order")
        await database.open()
        async with database.transaction() as tx:
            await tx.execute("CREATE TABLE t (n TEXT)")
            await tx.execute_many("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
        await database.close()
        again = SQLiteDatabase(path, owner="order")
        await again.open()
        data = bytearray(path.read_bytes())
        data[8192:] = b"\xff" * (len(data) - 8192)
        path.write_bytes(data)
        with pytest.raises(StoreCorrupt, match="Restore it from a backup"):
            await again.fetch_all("SELECT * FROM t")
        await again.close()

    run_virtual(main)


def test_a_path_that_cannot_be_is_a_store_error(tmp_path):
    """A folder that cannot be made, and a file that cannot be opened, raise StoreError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"Not a directory|File exists"):
        open_once(tmp_path / "file" / "a.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        open_once(tmp_path / "folder.db")


def test_without_a_write_ahead_log_it_refuses():
    """Where SQLite cannot keep a write-ahead log, opening raises StoreError rather than promise too much."""
    with pytest.raises(StoreError, match="no write-ahead log"):
        open_once(Path(":memory:"))


def test_another_processes_lock_is_busy(opened, monkeypatch):
    """While another connection holds the write lock, the first statement ends in StoreBusy after SQLite's own wait."""

    monkeypatch.setattr("skerry.store.sqlite.BUSY_MS", 1)

    async def main(clock):
        async with opened() as database:
            other = sqlite3.connect(database.path, isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreBusy, match="locked by another process"):  # noqa: PT012 - the first statement begins
                async with database.transaction() as tx:
                    await tx.execute("CREATE TABLE t (n INTEGER)")
                    pytest.fail("entered")
            other.execute("ROLLBACK")
            async with database.transaction():
                pass
            other.close()

    run_virtual(main)
