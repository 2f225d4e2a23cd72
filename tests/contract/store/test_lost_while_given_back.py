"""A connection that is lost at the very moment at which it goes back to the pool."""

from __future__ import annotations

import asyncio

import pytest

from skerry.store import connect


@pytest.fixture
def url(postgres, request):
    return postgres.own_database(request.node.name[:60])


def lose_while_given_back(connection):
    """In the loop's turn between the pool's own look at the connection and the release of its place."""
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: loop.call_soon(connection.terminate))


async def commit(database):
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO t VALUES (1)")
        connection = tx.connection
        tx.on_commit(lambda: lose_while_given_back(connection))


def test_a_commit_is_no_failure_when_its_connection_is_lost_right_after_it(url, tmp_path):
    """What was committed is committed, and the pool goes on with other connections."""

    async def main():
        database = connect(url, owner="order", data=tmp_path)
        await database.open()
        try:
            async with database.transaction() as tx:
                await tx.execute("CREATE TABLE t (n INTEGER)")
            for _ in range(12):  # more often than there are places in the pool
                await commit(database)
                for _ in range(3):
                    await asyncio.sleep(0)  # it is lost before the next one begins
            return await database.fetch_all("SELECT n FROM t")
        finally:
            await database.close()

    assert len(asyncio.run(main())) == 12
