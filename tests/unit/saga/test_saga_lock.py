"""Semantic locks: who gets one, who does not, and what two sagas see of each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from driven import CountingDatabase, driving, play, start

from skerry.errors import LateAction, Refused, Rejected
from skerry.resilience import Retry
from skerry.saga import Barrier, Locked, Saga, SemanticLock
from skerry.store import RETENTION, Receipts, Transaction
from skerry.testing import VirtualClock

PATIENT = Retry(100, base=0.1, cap=0.1)


def locked(tmp_path: Path, act: Callable[[SemanticLock, Transaction, VirtualClock], Awaitable[None]]) -> None:
    """Run `act` with a lock, inside one transaction."""

    async def main(database: CountingDatabase, clock: VirtualClock) -> None:
        await Receipts.prepare(database)
        async with database.transaction() as tx:
            await act(SemanticLock(clock=clock), tx, clock)

    play(tmp_path, main)


def test_another_holder_is_told_to_try_again(tmp_path: Path) -> None:
    """`Locked` is no `Rejected`, which would turn the saga back, and says that nothing was done; the holder may take again."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        await lock.take(tx, "order:17", by="ann")
        await lock.take(tx, "order:17", by="ann")
        with pytest.raises(Locked, match="'order:17' is held by another saga") as caught:
            await lock.take(tx, "order:17", by="bob")
        assert isinstance(caught.value, Refused)
        assert not isinstance(caught.value, Rejected)
        assert caught.value.name == "order:17"
        assert await lock.holder(tx, "order:17") == "ann"

    locked(tmp_path, act)


def test_only_its_holder_lets_go_of_a_lock(tmp_path: Path) -> None:
    """What another holds, or nobody, is no error to release and stays as it is: a compensation may come first, or twice."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        assert await lock.release(tx, "order:17", by="ann") == 0
        await lock.take(tx, "order:17", by="ann")
        assert await lock.release(tx, "order:17", by="bob") == 0
        assert await lock.holder(tx, "order:17") == "ann"
        assert await lock.release(tx, "order:17", "order:18", by="ann") == 1
        assert await lock.release(tx, "order:17", by="ann") == 0
        assert await lock.holder(tx, "order:17") is None
        await lock.take(tx, "order:17", by="bob")

    locked(tmp_path, act)


def test_of_several_locks_all_are_taken_or_none(tmp_path: Path) -> None:
    """One that another holds leaves the others free, also for a caller who goes on after `Locked`."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        await lock.take(tx, "b", by="ann")
        with pytest.raises(Locked, match="'b'"):
            await lock.take(tx, "c", "a", "b", by="bob")
        assert [await lock.holder(tx, name) for name in "abc"] == [None, "ann", None]
        await lock.take(tx, "c", "a", "c", by="bob")
        assert [await lock.holder(tx, name) for name in "abc"] == ["bob", "ann", "bob"]

    locked(tmp_path, act)


def test_all_steps_of_a_saga_are_one_holder(tmp_path: Path) -> None:
    """Of an action's key the saga's part is the holder; any other text is a holder as it stands."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        await lock.take(tx, "a", by="saga-1:reserve:do")
        await lock.take(tx, "a", by="saga-1:charge:do")
        assert await lock.holder(tx, "a") == "saga-1"
        with pytest.raises(Locked):
            await lock.take(tx, "a", by="saga-2:reserve:do")
        assert await lock.release(tx, "a", by="saga-1:reserve:undo") == 1
        for number, holder in enumerate(["desk:3", "desk:do", "a:b:c"]):
            await lock.take(tx, f"b{number}", by=holder)
            assert await lock.holder(tx, f"b{number}") == holder
        with pytest.raises(ValueError, match="1 to 255"):
            await lock.take(tx, "c", by=":x:do")  # it names no saga

    locked(tmp_path, act)


@pytest.mark.parametrize("text", ["", " ", "a" * 256], ids=["empty", "blank", "long"])
def test_what_is_no_name_locks_nothing(tmp_path: Path, text: str) -> None:
    """A name, like a holder, has 1 to 255 characters."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        for name, holder in ((text, "ann"), ("a", text)):
            with pytest.raises(ValueError, match="1 to 255"):
                await lock.take(tx, name, by=holder)
            with pytest.raises(ValueError, match="1 to 255"):
                await lock.release(tx, name, by=holder)

    locked(tmp_path, act)


def test_scopes_are_apart(tmp_path: Path) -> None:
    """Locks of different scopes, and the receipts of a barrier, do not see each other's names."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        await lock.take(tx, "a", by="ann")
        await SemanticLock(scope="other", clock=clock).take(tx, "a", by="bob")
        await Barrier(clock=clock).undo(tx, "a", lambda _answer: asyncio.sleep(0))
        assert await lock.holder(tx, "a") == "ann"

    locked(tmp_path, act)


def test_a_lock_is_kept_as_long_as_its_saga_can_act(tmp_path: Path) -> None:
    """After 30 days it is pruned; the barrier has refused every action of the saga that took it before that."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        barrier, receipts, key = Barrier(clock=clock), Receipts(clock=clock), f"{clock.uuid()}:one:do"
        await barrier.act(tx, key, lambda: lock.take(tx, "a", by=key))
        clock.step_wall(RETENTION - 1)
        assert await receipts.prune(tx) == 0
        with pytest.raises(Locked):
            await lock.take(tx, "a", by="bob")
        clock.step_wall(2)
        with pytest.raises(LateAction, match="older"):
            await barrier.undo(tx, key, lambda _answer: lock.release(tx, "a", by=key))
        await receipts.prune(tx)
        await lock.take(tx, "a", by="bob")

    locked(tmp_path, act)


def test_a_take_that_comes_after_its_release_locks_nothing(tmp_path: Path) -> None:
    """Inside a barrier a take that is late, or is repeated when a later step has released, does not lock again."""

    async def act(lock: SemanticLock, tx: Transaction, clock: VirtualClock) -> None:
        barrier = Barrier(clock=clock)

        async def take(key: str) -> None:
            await barrier.act(tx, key, lambda: lock.take(tx, "a", by=key))

        async def release(_answer: object) -> None:
            await lock.release(tx, "a", by="saga-1")

        assert not await barrier.undo(tx, "saga-1:take:undo", release)
        with pytest.raises(LateAction):
            await take("saga-1:take:do")
        assert await lock.holder(tx, "a") is None

        await take("saga-2:take:do")
        await barrier.act(tx, "saga-2:finish:do", lambda: lock.release(tx, "a", by="saga-2"))
        await take("saga-2:take:do")
        assert await lock.holder(tx, "a") is None

    locked(tmp_path, act)


class Shop:
    """A participant whose price is changed by one saga and read by another; with locks, or without."""

    def __init__(self, database: CountingDatabase, *, locks: bool) -> None:
        self.database = database
        self.barrier = Barrier(clock=database.clock)
        self.lock = SemanticLock(clock=database.clock)
        self.locks = locks
        self.approved = asyncio.Event()
        self.approves = False
        self.attempts = 0

    async def prepare(self) -> None:
        await Receipts.prepare(self.database)
        async with self.database.transaction() as tx:
            await tx.execute("CREATE TABLE prices (amount INTEGER NOT NULL)")
            await tx.execute("INSERT INTO prices VALUES (100)")

    async def guarded(self, key: str, action: Callable[[Transaction], Awaitable[object]]) -> object:
        async with self.database.transaction() as tx:

            async def effect() -> object:
                if self.locks:
                    await self.lock.take(tx, "price", by=key)
                return await action(tx)

            return await self.barrier.act(tx, key, effect)

    async def let_go(self, key: str) -> None:
        async with self.database.transaction() as tx:
            await self.barrier.act(tx, key, lambda: self.lock.release(tx, "price", by=key))

    def raising(self) -> Saga:
        """Raises the price, then asks whether it may."""
        saga = Saga("raise-price")

        @saga.step()
        async def change(ctx, given):
            async def double(tx: Transaction) -> None:
                await tx.execute("UPDATE prices SET amount = amount * 2")

            await self.guarded(ctx.key, double)

        @change.compensate
        async def restore(ctx, given, result):
            async with self.database.transaction() as tx:

                async def halve(_answer: object) -> None:
                    await tx.execute("UPDATE prices SET amount = amount / 2")
                    await self.lock.release(tx, "price", by=ctx.key)

                await self.barrier.undo(tx, ctx.key, halve)

        @saga.pivot(timeout=60.0)
        async def approve(ctx, given):
            await self.approved.wait()
            if not self.approves:
                raise Rejected("too dear")

        @saga.retriable()
        async def finish(ctx, given):
            await self.let_go(ctx.key)

        return saga

    def selling(self, retry: Retry = PATIENT) -> Saga:
        """Sells at the price of the moment."""
        saga = Saga("sell")

        @saga.step(retry=retry)
        async def price(ctx, given):
            self.attempts += 1

            async def read(tx: Transaction) -> int:
                return int((await tx.fetch_all("SELECT amount FROM prices"))[0][0])

            return await self.guarded(ctx.key, read)

        @price.compensate
        async def forget(ctx, given, result):
            raise AssertionError("it surely did not happen")

        @saga.retriable()
        async def done(ctx, given):
            await self.let_go(ctx.key)

        return saga


def sold_at(tmp_path: Path, *, locks: bool, approves: bool) -> tuple[int, int]:
    """What is sold at while the price is being raised; and the price in the end."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> tuple[int, int]:
        shop = Shop(database, locks=locks)
        shop.approves = approves
        await shop.prepare()
        raising, selling = shop.raising(), shop.selling()
        async with driving(database, raising, selling) as engine:
            first = await start(engine, database, raising)
            await clock.sleep(1.0)  # the price is raised, and nobody has agreed yet
            second = await start(engine, database, selling)
            await clock.sleep(2.0)
            assert (shop.attempts > 5) is locks
            shop.approved.set()
            sold = (await engine.wait(second)).result("price")
            assert (await engine.wait(first)).status == ("completed" if approves else "compensated")
        amount = (await database.fetch_one("SELECT amount FROM prices"))["amount"]
        async with database.transaction() as tx:
            assert await shop.lock.holder(tx, "price") is None
        return sold, amount

    return play(tmp_path, act)


def test_a_saga_waits_for_what_another_works_on(tmp_path: Path) -> None:
    """While a price may still be taken back the other saga tries again, and sells at the price that stands in the end."""
    assert sold_at(tmp_path / "no", locks=True, approves=False) == (100, 100)
    assert sold_at(tmp_path / "yes", locks=True, approves=True) == (200, 200)


def test_without_a_lock_a_saga_reads_what_is_taken_back(tmp_path: Path) -> None:
    """The same two sagas without the lock: sold at a price that never stood. This is what the lock is for."""
    assert sold_at(tmp_path, locks=False, approves=False) == (200, 100)


def test_a_saga_that_never_got_the_lock_has_nothing_to_undo(tmp_path: Path) -> None:
    """Its attempts used up, it turns back; the step that was `Locked` each time surely had no effect."""

    async def act(database: CountingDatabase, clock: VirtualClock) -> None:
        shop = Shop(database, locks=True)
        await shop.prepare()
        selling = shop.selling(Retry(3, base=0.1, cap=0.1))
        async with database.transaction() as tx:
            await shop.lock.take(tx, "price", by="somebody")
        async with driving(database, selling) as engine:
            ended = await engine.run(selling, None, key="1")
        assert (ended.status, ended.reason) == ("compensated", "price: Locked: 'price' is held by another saga")

    play(tmp_path, act)
