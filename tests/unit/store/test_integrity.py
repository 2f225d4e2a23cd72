import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from skerry.errors import StoreCorrupt
from skerry.store import SQLiteDatabase
from skerry.store.integrity import demand_whole
from skerry.testing import run_virtual

PAGE, HEAD, FRAME = 4096, 32, 24 + 4096
COMMITS = 30


@pytest.fixture(scope="module")
def crashed(tmp_path_factory):
    """A database of which a crash left the write-ahead log: 30 commits, the first of them in the file itself already."""
    folder = tmp_path_factory.mktemp("crashed")
    with closing(sqlite3.connect(folder / "a.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER, text TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * 3000) for n in range(20)])
        connection.execute("PRAGMA wal_checkpoint(RESTART)")
        for n in range(COMMITS):
            connection.execute("INSERT INTO t VALUES (?, ?)", (n, "x" * 3000))
        left = folder / "left"
        left.mkdir()
        for name in ("a.db", "a.db-wal"):
            shutil.copy(folder / name, left / name)
    return left


@pytest.fixture
def path(crashed, tmp_path):
    return shutil.copytree(crashed, tmp_path / "data") / "a.db"


def contents(path):
    """What is kept: the index of the log is made anew, and readers leave empty logs."""
    files = {each.name: each.read_bytes() for each in path.parent.iterdir() if each.name != "a.db-shm"}
    return {name: data for name, data in files.items() if data}


def checkpointed(damage):
    """The damage, once nothing is left in the log: what stands there too is read from there."""

    def do(path):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        damage(path)

    return do


def overwritten(name, at, data):
    def do(path):
        with path.with_name(name).open("r+b") as file:
            file.seek(at)
            file.write(data)

    return do


def cut(name, size):
    return lambda path: os.truncate(path.with_name(name), size)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(checkpointed(overwritten("a.db", 0, b"garbage!" * 4)), id="header"),
        pytest.param(checkpointed(overwritten("a.db", 5 * PAGE, b"garbage!" * 512)), id="a page"),
        pytest.param(checkpointed(cut("a.db", 7 * PAGE + 100)), id="cut"),
        pytest.param(overwritten("a.db-wal", 0, b"garbage!" * 4), id="header of the log"),
        pytest.param(overwritten("a.db-wal", 16, b"garbage!"), id="salts of the log"),
        pytest.param(overwritten("a.db-wal", HEAD + 4 * FRAME + 200, b"garbage!"), id="a page in the log"),
        pytest.param(overwritten("a.db-wal", HEAD + 4 * FRAME, b"garbage!" * 3), id="head of a frame in the log"),
        pytest.param(overwritten("a.db-wal", 0, b"garbage!" * 20_000), id="all of the log"),
        pytest.param(overwritten("a.db-wal", 0, bytes(160_000)), id="zeros for the log"),
    ],
)
def test_damage_is_refused_before_anything_is_written(path, damage):
    """A damaged file, and a log that SQLite would forget commits of, raise StoreCorrupt with the name; nothing is changed."""
    damage(path)
    before = contents(path)

    async def main(clock):
        database = SQLiteDatabase(path, owner="order")
        with pytest.raises(StoreCorrupt, match=r"(?s)a\.db.*Restore it from a backup"):
            await database.open()
        await database.close()

    run_virtual(main)
    assert contents(path) == before


@pytest.mark.parametrize(
    ("leave", "rows"),
    [
        pytest.param(lambda path: None, 20 + COMMITS, id="whole"),
        pytest.param(cut("a.db-wal", HEAD + 10 * FRAME + 77), None, id="cut in a frame"),
        pytest.param(cut("a.db-wal", HEAD - 1), 20, id="cut in its header"),
        pytest.param(lambda path: path.with_name("a.db-wal").unlink(), 20, id="none"),
    ],
)
def test_what_a_crash_leaves_is_no_damage(path, leave, rows):
    """A log that ends somewhere, as a crash of the machine leaves it, is taken up to its last commit."""
    leave(path)
    demand_whole(path)
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("SELECT count(*) FROM t").fetchone()
    assert found == rows if rows else 20 < found < 20 + COMMITS


def test_one_commit_behind_a_bad_frame_may_be_a_crash(path):
    """The last commit was perhaps never acknowledged: that its log is cut short is no damage."""
    log = path.with_name("a.db-wal")
    last = (log.stat().st_size - HEAD) // FRAME - 1
    overwritten("a.db-wal", HEAD + last * FRAME + 200, b"garbage!")(path)
    demand_whole(path)


def test_a_database_in_use_is_whole(tmp_path):
    """While another process writes, checkpoints and begins its log anew, nothing looks damaged."""
    path = tmp_path / "a.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (n INTEGER, text TEXT)")
        for mode in ("PASSIVE", "RESTART", "TRUNCATE", "RESTART"):
            for n in range(20):
                connection.execute("INSERT INTO t VALUES (?, ?)", (n, "x" * 3000))
                demand_whole(path)
            connection.execute(f"PRAGMA wal_checkpoint({mode})")
            demand_whole(path)


def test_what_is_not_there_is_whole(tmp_path):
    """A file that is still to be made, and an empty one, are no damage."""
    demand_whole(tmp_path / "a.db")
    (tmp_path / "b.db").touch()
    demand_whole(tmp_path / "b.db")
