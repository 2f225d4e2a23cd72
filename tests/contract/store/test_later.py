"""Statements that go to the engine together."""

import asyncio
import contextlib

import pytest

from skerry.errors import NoTransaction

INSERT = "INSERT INTO t VALUES (?)"


async def numbers(database):
    return [row["n"] for row in await database.fetch_all("SELECT n FROM t ORDER BY n")]


def test_what_is_left_for_later_is_there_for_the_next_query_and_the_commit(opened):
    """In the order it was asked for, before the next awaited statement, and at the latest with the commit."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                tx.later(INSERT, (1,))
                tx.later(INSERT, (2,))
                tx.later("UPDATE t SET n = n + 10 WHERE n = ?", (2,))
                assert (await tx.fetch_one("SELECT sum(n) AS s FROM t"))["s"] == 13
                tx.later(INSERT, (3,))
                assert await tx.execute("UPDATE t SET n = n + 100") == 3
                tx.later(INSERT, (4,))
            assert await numbers(database) == [4, 101, 103, 112]
            with pytest.raises(NoTransaction):
                tx.later(INSERT, (5,))

    asyncio.run(main())


def test_a_failure_left_for_later_fails_what_comes_next_or_the_commit(opened):
    """The error comes with the next awaited statement, or ends the block; either way nothing is committed."""

    async def main():
        async with opened() as database:
            for awaits in (True, False):
                with pytest.raises(Exception, match=r"(?i)unique"):  # noqa: PT012 - the block is the thing
                    async with database.transaction() as tx:
                        await tx.execute(INSERT, (1,))
                        tx.later(INSERT, (1,))
                        if awaits:
                            await tx.fetch_all("SELECT n FROM t")
            assert await numbers(database) == []

    asyncio.run(main())


def test_a_savepoint_takes_back_what_was_left_for_later_inside_it(opened):
    """What was asked for before the block stays, also when nothing of it had reached the engine yet."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                tx.later(INSERT, (1,))
                with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                    async with tx.savepoint():
                        tx.later(INSERT, (2,))
                        raise KeyError
                with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                    async with tx.savepoint():
                        tx.later(INSERT, (3,))
                        await tx.fetch_all("SELECT n FROM t")
                        tx.later(INSERT, (4,))
                        raise KeyError
                async with tx.savepoint():
                    tx.later(INSERT, (5,))
            assert await numbers(database) == [1, 5]

    asyncio.run(main())


@pytest.mark.parametrize("within", [False, True])
def test_a_failure_left_for_later_outside_a_savepoint_takes_all(opened, within):
    """Whoever catches it commits nothing of it, also where it comes inside the savepoint of other work."""

    async def main():
        async with opened() as database:
            with pytest.raises(NoTransaction):  # noqa: PT012 - the block is the thing
                async with database.transaction() as tx:
                    await tx.execute(INSERT, (1,))
                    tx.later(INSERT, (1,))
                    tx.later(INSERT, (2,))
                    with contextlib.suppress(Exception):
                        if within:
                            async with tx.savepoint():
                                await tx.fetch_all("SELECT n FROM t")
                        else:
                            await tx.fetch_all("SELECT n FROM t")
            assert await numbers(database) == []

    asyncio.run(main())


def test_a_failure_left_for_later_inside_a_savepoint_takes_that(opened):
    """What came before the block is committed."""

    async def main():
        async with opened() as database:
            async with database.transaction() as tx:
                tx.later(INSERT, (1,))
                with pytest.raises(Exception, match=r"(?i)unique"):  # noqa: PT012 - the block is the thing
                    async with tx.savepoint():
                        tx.later(INSERT, (2,))
                        tx.later(INSERT, (1,))
                        await tx.fetch_all("SELECT n FROM t")
            assert await numbers(database) == [1]

    asyncio.run(main())
