import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import skerry.store
from skerry.errors import ConfigurationError, NoTransaction
from skerry.store import Queries, adapt, adapt_sync, resolve
from skerry.testing import run_virtual

DATA = Path("/srv/shop")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///order.db", "/srv/shop/order.db"),
        ("sqlite:///a/b.db", "/srv/shop/a/b.db"),
        ("sqlite:////var/order.db", "/var/order.db"),
        ("sqlite:///events/", "/srv/shop/events"),
    ],
)
def test_three_slashes_are_relative_and_four_absolute(url, path):
    """A relative address is inside the data folder, an absolute one is taken as it is."""
    assert resolve(url, DATA) == Path(path)


@pytest.mark.parametrize(
    "url",
    ["sqlite:///../order.db", "sqlite:///a/../../b.db", "sqlite:///", "sqlite:", "sqlite://order.db", "sqlite:////"],
)
def test_an_address_that_leaves_the_folder_or_is_empty_is_refused(url):
    """A relative path cannot leave the data folder, and there must be a path."""
    with pytest.raises(ConfigurationError):
        resolve(url, DATA)


def test_another_scheme_is_refused_by_name():
    """An engine that is not here is named, without the rest of the address, which may hold a password."""
    with pytest.raises(ConfigurationError, match="'postgresql'") as caught:
        resolve("postgresql://me:secret@host/db", DATA)
    assert "secret" not in str(caught.value)


def test_statements_come_from_files_by_name():
    """A file's statements are found by name, without their semicolon; a missing one names the file."""
    queries = Queries("skerry.store", "sql/receipts.sql")
    assert queries["find"].startswith("SELECT")
    assert not queries["find"].endswith(";")
    assert {"find", "insert", "update", "prune"} <= set(queries._statements)
    with pytest.raises(KeyError, match=r"receipts.sql has no statement 'none'"):
        queries["none"]


def test_an_open_transaction_adapts_to_itself(opened):
    """adapt returns an open transaction as it is, and raises NoTransaction for one that has ended."""

    async def main(clock):
        async with opened() as database:
            async with database.transaction() as tx:
                assert adapt(tx) is tx
            with pytest.raises(NoTransaction):
                adapt(tx)
            with pytest.raises(TypeError, match="no transaction adapter"):
                adapt(database)

    run_virtual(main)


def test_adapters_tell_sync_from_async():
    """A synchronous connection is refused by adapt with a hint, and anything unknown by both."""
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(TypeError, match="_sync"):
        adapt(connection)
    with pytest.raises(TypeError, match=r"no transaction adapter for asyncio.locks.Event"):
        adapt(asyncio.Event())
    with pytest.raises(TypeError, match="no transaction adapter"):
        adapt_sync("tx")


def test_what_was_adapted_is_taken_again():
    """An adapter given once more is used as it is, and by its own form only."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        tx = adapt_sync(connection)
        assert adapt_sync(tx) is tx
        with pytest.raises(TypeError, match="record_sync"):
            adapt(tx)
        connection.execute("ROLLBACK")
        with pytest.raises(NoTransaction):
            adapt_sync(tx)
        with pytest.raises(NoTransaction):
            tx.fetch_all("SELECT 1")


def test_no_library_is_imported_before_its_objects_come():
    """skerry.store alone, and an object of none of them, import no driver but sqlite3."""
    code = """if True:
        import sys
        from skerry.store import adapt, adapt_sync
        for form in (adapt, adapt_sync):
            try:
                form(None)
            except TypeError as error:
                assert "builtins.NoneType" in str(error), error
        found = {name.partition(".")[0] for name in sys.modules}
        assert not found & {"sqlalchemy", "asyncpg", "psycopg", "aiosqlite", "django"}, found
    """
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_are_read_by_place_and_by_name():
    """Whatever the user set the connection to return, and in any shape of slice."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = lambda cursor, row: {"mine": row}
        connection.execute("BEGIN")
        (row,) = adapt_sync(connection).fetch_all("SELECT 1 AS a, 2 AS b")
        assert (row["a"], row[1], row[-1], row[:1], len(row)) == (1, 2, 2, (1,), 2)
        with pytest.raises(KeyError, match="c"):
            row["c"]


def test_a_sync_connection_needs_an_open_transaction():
    """adapt_sync works inside the caller's transaction and never begins or ends one."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (n)")
        with pytest.raises(NoTransaction, match="BEGIN"):
            adapt_sync(connection)
        connection.execute("BEGIN")
        tx = adapt_sync(connection)
        assert tx.execute("INSERT INTO t VALUES (?)", (1,)) == 1
        assert tx.fetch_all("SELECT n FROM t") == [(1,)]
        assert connection.in_transaction
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_public_names_are_there():
    """Everything that __all__ names exists."""
    assert all(hasattr(skerry.store, name) for name in skerry.store.__all__)
