"""Waiting sagas on each engine: signals and pauses meet in real transactions, of two processes' connections."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from at_work import driving, start

from skerry.saga import Engine, Saga, Sagas
from skerry.store import Database

Opened = Callable[[], AbstractAsyncContextManager[Database]]
PATIENCE = 30.0


def order(*, timeout: float | None = None) -> Saga:
    saga = Saga("order", input=str)
    saga.receive("approval", str, timeout=timeout)

    @saga.retriable()
    async def send(ctx, given):
        return ctx.results["approval"]

    return saga


def test_a_signal_and_a_saga_that_goes_to_sleep_never_miss_each_other(opened: Opened) -> None:
    """Signals that come before, while and after a saga goes to sleep are all found: none waits without a time-out for ever."""

    async def main() -> None:
        saga, chance = order(), random.Random(3)
        async with opened() as database, opened() as other, driving(database, saga) as engine:
            sender = Engine("order", other)

            async def tell(key: str) -> None:
                async with other.transaction() as tx:
                    await sender.signal(tx, saga, key, "approval", key)
                    await asyncio.sleep(chance.random() / 50)

            async def one(key: str) -> str:
                telling = asyncio.create_task(tell(key))
                await asyncio.sleep(chance.random() / 50)
                saga_id = await start(engine, database, saga, key)
                await telling
                return str((await engine.wait(saga_id)).result("send"))

            async with asyncio.timeout(PATIENCE):
                for turn in range(5):
                    keys = [f"{turn}-{number}" for number in range(20)]
                    assert await asyncio.gather(*map(one, keys)) == keys

    asyncio.run(main())


def test_what_is_rolled_back_wakes_nobody(opened: Opened) -> None:
    """A signal is part of its transaction; the next one counts."""

    async def main() -> None:
        saga = order()
        async with opened() as database, driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, "1")
            try:
                async with database.transaction() as tx:
                    await engine.signal(tx, saga, "1", "approval", "no")
                    raise KeyError
            except KeyError:
                pass
            async with database.transaction() as tx:
                assert await engine.signal(tx, saga, "1", "approval", "yes", id="a")
            async with asyncio.timeout(PATIENCE):
                assert (await engine.wait(saga_id)).result("send") == "yes"

    asyncio.run(main())


def test_waits_end_after_a_restart(opened: Opened) -> None:
    """A time that passed while no engine was there is over, one that is left goes on, and a cancel wakes who waits."""

    async def main() -> None:
        saga = order(timeout=0.3)
        patient = Saga("patient", input=str)
        patient.receive("approval", str)
        async with opened() as database, driving(database, saga, patient) as engine:
            late = await start(engine, database, saga, "late")
            cancelled = await start(engine, database, patient, "cancelled")
        async with opened() as database:
            await asyncio.sleep(0.4)
            await Sagas(database).cancel(cancelled, note="no longer")
            async with driving(database, saga, patient) as engine, asyncio.timeout(PATIENCE):
                assert (await engine.wait(late)).reason == "approval: nothing has come in time"
                assert (await engine.wait(cancelled)).reason == "approval: cancelled: no longer"
                assert [each.what for each in await Sagas(database).timeline(late)][:2] == ["started", "waits"]

    asyncio.run(main())


def test_stuck_behind_the_pivot_it_waits_anew(opened: Opened) -> None:
    """Told to go on, it can still be signalled by hand."""

    async def main() -> None:
        saga = Saga("receipt", input=str)

        @saga.pivot()
        async def pay(ctx, given):
            return None

        saga.receive("signature", str, timeout=0.2)
        async with opened() as database, driving(database, saga) as engine, asyncio.timeout(PATIENCE):
            saga_id = await start(engine, database, saga, "1")
            assert (await engine.wait(saga_id)).status == "stuck"
            await Sagas(database).signal(saga_id, "signature", "ann")
            await engine.retry(saga_id)
            assert (await engine.wait(saga_id)).result("signature") == "ann"

    asyncio.run(main())
