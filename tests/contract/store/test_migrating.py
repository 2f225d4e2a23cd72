"""Migrations beside running services: who waits for whom, and for how long."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from skerry import signals
from skerry.errors import MigrationError, StoreBusy
from skerry.signals import MigrationDelayed, Signal
from skerry.store import Database, connect, migrate

BLOCKED = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


_numbers = itertools.count(1)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.removeprefix('v')}.sql").write_text(text)
    return folder


async def until(database: Database, sql: str) -> None:
    """Poll for a row; the test's own time-out is the bound."""
    while await database.fetch_one(sql) is None:
        await asyncio.sleep(0.01)


@pytest.fixture
def heard():
    seen: list[Signal] = []
    unsubscribe = signals.subscribe(seen.append)
    yield seen
    unsubscribe()


@pytest.fixture
def on_postgresql(postgres, tmp_path):
    """Opens the database of this test, again and again."""
    address = postgres.own_database(f"migrating{next(_numbers)}")

    def made() -> Database:
        return connect(address, owner="order", data=tmp_path)

    return made


@pytest.fixture
def world(on_postgresql):
    """Two processes of a service and an operator's shell, so to speak."""

    class World:
        async def __aenter__(self):
            self.all = [on_postgresql() for _ in range(3)]
            for database in self.all:
                await database.open()
            return self.all

        async def __aexit__(self, *_):
            for database in self.all:
                await database.close()

    return World


def test_after_the_deploy_means_the_same_on_every_engine(opened, tmp_path):
    """Files for after the deploy are left to a component in use, and applied when they are asked for."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n INTEGER);", v0002_post_b="ALTER TABLE a ADD m INTEGER;")

    async def main():
        async with opened() as database:
            assert await migrate(database, "shop", folder) == ["0001", "0002"]
            write(folder, v0003_post_c="ALTER TABLE a DROP COLUMN m;", v0004_pre_d="ALTER TABLE a ADD k INTEGER;")
            assert await migrate(database, "shop", folder) == ["0004"]
            await database.fetch_all("SELECT n, m, k FROM a")
            assert await migrate(database, "shop", folder, after=True) == ["0003"]

    asyncio.run(main())


def test_a_file_that_waits_for_a_table_lets_the_traffic_through(world, tmp_path, heard):
    """Behind a long transaction a file gives up its place in line again and again, so that readers pass; then it is applied."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n INTEGER);")

    async def main():
        async with world() as (old, new, shell):
            await migrate(new, "shop", folder)
            write(folder, v0002_b="ALTER TABLE a ADD m INTEGER;")
            async with old.transaction() as tx:
                await tx.fetch_all("SELECT n FROM a")  # keeps the table from being altered
                migrating = asyncio.create_task(migrate(new, "shop", folder))
                await until(shell, BLOCKED)
                await shell.fetch_all("SELECT n FROM a")  # waits behind it, but not until the transaction ends
                assert not migrating.done()
            assert await migrating == ["0002"]

    asyncio.run(main())
    assert [s for s in heard if isinstance(s, MigrationDelayed)]


def test_a_table_that_is_never_free_ends_the_wait(world, tmp_path):
    """After `wait` seconds the error says so; nothing was applied, and the next call can."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n INTEGER);")

    async def main():
        async with world() as (old, new, shell):
            await migrate(new, "shop", folder)
            write(folder, v0002_b="CREATE TABLE b (n INTEGER);\nALTER TABLE a ADD m INTEGER;")
            async with old.transaction() as tx:
                await tx.fetch_all("SELECT n FROM a")
                with pytest.raises(
                    StoreBusy, match=r"0002_b.sql waited 0.1 s for its locks .* nothing of it was applied"
                ):
                    await migrate(new, "shop", folder, wait=0.1)
            assert await shell.fetch_one("SELECT to_regclass('b')::text") == (None,)
            assert await migrate(shell, "shop", folder) == ["0002"]

    asyncio.run(main())


CONCURRENTLY = "-- skerry: no transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_n ON a (n);\n"


def test_an_index_is_made_concurrently_once_by_many(world, tmp_path):
    """While one process makes it, the others wait without a transaction that it would have to wait for: nobody deadlocks."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n INTEGER);")

    async def main():
        async with world() as databases:
            await migrate(databases[0], "shop", folder)
            write(folder, v0002_i=CONCURRENTLY, v0003_c="CREATE TABLE c (n INTEGER);")
            applied = await asyncio.gather(*(migrate(database, "shop", folder) for database in databases))
            assert sorted(applied) == [[], [], ["0002", "0003"]]
            state = await databases[0].fetch_one("SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_n'::regclass")
            assert state == (True,)

    asyncio.run(main())


def test_an_index_that_was_left_invalid_is_told(world, tmp_path):
    """After an interruption no query uses the index although its name is taken; the error says what to do, and that helps."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n INTEGER);")

    async def main():
        async with world() as (old, new, shell):
            await migrate(new, "shop", folder)
            write(folder, v0002_i=CONCURRENTLY)
            async with old.transaction() as tx:
                await tx.execute("INSERT INTO a VALUES (1)")  # it waits for whoever may not know of the index yet
                migrating = asyncio.create_task(migrate(new, "shop", folder))
                await until(shell, BLOCKED)
                with pytest.raises(
                    MigrationError, match=r"a_n is INVALID, .* the process \d+ of the server is still at it"
                ):
                    await _without_a_place_in_line(shell, folder)
                await shell.fetch_all("SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index")
                with pytest.raises(MigrationError, match=r"0002_i.sql: canceling statement"):
                    await migrating
            for database in (new, shell):
                with pytest.raises(
                    MigrationError, match=r"0002_i.sql: .*a_n is INVALID, .*DROP INDEX CONCURRENTLY a_n\)"
                ):
                    await migrate(database, "shop", folder)
            await shell.fetch_all("DROP INDEX CONCURRENTLY a_n")
            assert await migrate(new, "shop", folder) == ["0002"]

    asyncio.run(main())


async def _without_a_place_in_line(database: Database, folder: Path) -> None:
    """As after a migrating process was killed: the line is free, while the server still works on its statement."""
    async with database.transaction() as tx:
        await tx.execute("UPDATE skerry_leases SET expires_at = '-infinity' WHERE role = 'migrations'")
    await migrate(database, "shop", folder)


def test_what_needs_a_line_at_its_top_says_so(world, tmp_path):
    """PostgreSQL's refusal inside a transaction is answered with what to write."""
    folder = write(tmp_path / "sql", v0001_a="CREATE TABLE a (n INTEGER);", v0002_v="VACUUM a;")

    async def main():
        async with world() as (database, *_):
            with pytest.raises(MigrationError, match=r"0002_v.sql: VACUUM cannot run .*`-- skerry: no transaction`"):
                await migrate(database, "shop", folder)

    asyncio.run(main())


def test_an_error_holds_no_row(world, tmp_path):
    """What the server adds to an error, such as the key that stands twice, stays out of the message."""
    text = "CREATE TABLE a (n TEXT);\nINSERT INTO a VALUES ('hush'), ('hush');\nCREATE UNIQUE INDEX i ON a (n);"
    folder = write(tmp_path / "sql", v0001_a=text)

    async def main():
        async with world() as (database, *_):
            with pytest.raises(MigrationError, match=r"could not create unique index") as caught:
                await migrate(database, "shop", folder)
            assert "hush" not in str(caught.value)

    asyncio.run(main())
