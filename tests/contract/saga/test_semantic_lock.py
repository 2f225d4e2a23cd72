"""Semantic locks on each engine: takers that meet in real transactions, of two processes' connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from skerry.errors import LateAction
from skerry.saga import Barrier, Locked, SemanticLock
from skerry.store import Database, Receipts

Opened = Callable[[], AbstractAsyncContextManager[Database]]
PATIENCE = 60.0

lock = SemanticLock()


@asynccontextmanager
async def two(opened: Opened) -> AsyncIterator[list[Database]]:
    """Two connections to one database, which has receipts."""
    async with opened() as one, opened() as other:
        await Receipts.prepare(one)
        yield [one, other]


async def take(database: Database, *names: str, by: str) -> bool:
    try:
        async with database.transaction() as tx:
            await lock.take(tx, *names, by=by)
    except Locked:
        return False
    return True


async def release(database: Database, *names: str, by: str) -> int:
    async with database.transaction() as tx:
        return await lock.release(tx, *names, by=by)


async def holder(database: Database, name: str) -> str | None:
    async with database.transaction() as tx:
        return await lock.holder(tx, name)


def test_of_many_takers_one_gets_the_lock(opened: Opened) -> None:
    """However many ask at the same moment, in two processes, one holds it; the others are told so, and may have it later."""

    async def main() -> None:
        async with two(opened) as databases, asyncio.timeout(PATIENCE):
            holders = [f"saga-{n}" for n in range(12)]
            for turn in range(5):
                name = f"order:{turn}"
                got = await asyncio.gather(*(take(databases[n % 2], name, by=by) for n, by in enumerate(holders)))
                assert sum(got) == 1
                winner = holders[got.index(True)]
                assert await holder(databases[0], name) == winner
                let_go = await asyncio.gather(*(release(databases[n % 2], name, by=by) for n, by in enumerate(holders)))
                assert let_go == [int(each) for each in got]
                assert await take(databases[1], name, by="the next")

    asyncio.run(main())


def test_the_same_holder_may_take_at_the_same_moment(opened: Opened) -> None:
    """A step that is tried again while its first attempt is still under way is no stranger to it."""

    async def main() -> None:
        async with two(opened) as databases, asyncio.timeout(PATIENCE):
            assert all(await asyncio.gather(*(take(databases[n % 2], "a", by="saga-1") for n in range(8))))
            assert await release(databases[0], "a", by="saga-1") == 1
            assert await holder(databases[1], "a") is None

    asyncio.run(main())


def test_a_lock_outlives_its_transaction_and_a_roll_back_takes_it_back(opened: Opened) -> None:
    """It is taken, and released, with the effect it belongs to or not at all."""

    async def main() -> None:
        async with two(opened) as (one, other):
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with one.transaction() as tx:
                    await lock.take(tx, "a", by="saga-1")
                    raise KeyError
            assert await holder(other, "a") is None
            assert await take(one, "a", by="saga-1")
            with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
                async with one.transaction() as tx:
                    await lock.release(tx, "a", by="saga-1")
                    raise KeyError
            assert not await take(other, "a", by="saga-2")
        async with two(opened) as (one, _):
            assert await holder(one, "a") == "saga-1"

    asyncio.run(main())


def test_several_locks_are_taken_without_a_deadlock(opened: Opened) -> None:
    """Transactions that name the same locks in different orders do not wait for each other, and never share one."""

    async def main() -> None:
        chance, held = random.Random(5), set()

        async def saga(number: int) -> None:
            database, by = databases[number % 2], f"saga-{number}"
            names = chance.sample("abcde", 3)
            while not await take(database, *names, by=by):
                await asyncio.sleep(chance.random() / 100)
            assert not held & set(names)
            held.update(names)
            await asyncio.sleep(chance.random() / 100)
            held.difference_update(names)
            assert await release(database, *reversed(names), by=by) == 3

        async with two(opened) as databases, asyncio.timeout(PATIENCE):
            await asyncio.gather(*map(saga, range(20)))

    asyncio.run(main())


def test_behind_a_barrier_a_late_take_locks_nothing(opened: Opened) -> None:
    """The release came first, as the compensation of an action that was under way: the take is refused for ever."""

    async def main() -> None:
        barrier = Barrier()
        async with two(opened) as (one, other):
            async with one.transaction() as tx:
                key = "saga-1:take:undo"
                assert not await barrier.undo(tx, key, lambda _answer: lock.release(tx, "a", by=key))
            with pytest.raises(LateAction):
                async with other.transaction() as tx:
                    await barrier.act(tx, "saga-1:take:do", lambda: lock.take(tx, "a", by="saga-1:take:do"))
            assert await take(other, "a", by="saga-2")

    asyncio.run(main())
