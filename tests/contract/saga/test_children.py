"""Children on each engine: a parent that goes to sleep and a child that ends, or is settled by another process, meet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from at_work import driving, start

from skerry.errors import Rejected
from skerry.saga import Saga, Sagas
from skerry.store import Database

Opened = Callable[[], AbstractAsyncContextManager[Database]]
PATIENCE = 30.0


def order() -> tuple[Saga, Saga]:
    """Two children beside each other; every third order is refused behind them."""
    inner = Saga("inner", input=str)

    @inner.step()
    async def reserve(ctx, given):
        return given

    @reserve.compensate
    async def release(ctx, given, result):
        assert result == given

    inner.receive("truck", str)
    saga = Saga("order", input=str, redact=["*"])
    with saga.parallel():
        saga.child("one", inner, lambda _ctx, given: given)
        saga.child("two", inner, lambda _ctx, given: given)

    @saga.pivot()
    async def pay(ctx, given):
        if given == "x" and int(ctx.saga_id[-1], 16) % 3 == 0:
            raise Rejected("no money")

    return saga, inner


def test_parents_and_children_never_miss_each_other(opened: Opened) -> None:
    """Signals come at random times, of another process: every parent ends, with both children as it has ended itself."""

    async def main() -> None:
        (saga, inner), chance = order(), random.Random(5)
        async with opened() as database, opened() as other, driving(database, saga) as engine:
            sagas = Sagas(other)

            async def one(key: str) -> None:
                saga_id = await start(engine, database, saga, key)
                for name in ("one", "two"):
                    await asyncio.sleep(chance.random() / 20)
                    async with other.transaction() as tx:
                        await engine.signal(tx, inner, f"{saga_id}:{name}", "truck", "here")
                status = await engine.wait(saga_id)
                children = await sagas.children(saga_id)
                assert [child.status for child in children] == [status.status] * 2
                assert (await sagas.get(saga_id)).input == '"[redacted]"'

            async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
                for number in range(60):
                    group.create_task(one(str(number)))
            found = await sagas.found(statuses=["completed", "compensated"], name="order")
            assert {line.status for line in found} == {"completed", "compensated"}

    asyncio.run(main())


def test_a_child_that_another_process_settles_wakes_its_parent(opened: Opened) -> None:
    """While the parent sleeps without a time-out."""

    async def main() -> None:
        inner = Saga("inner", input=str)

        @inner.retriable()
        async def jams(ctx, given):
            raise OSError("jam")

        inner.steps[0].retry.attempts = 1
        saga = Saga("order", input=str)
        saga.child("only", inner, lambda _ctx, given: given)
        async with opened() as database, opened() as other, driving(database, saga) as engine:
            saga_id = await start(engine, database, saga, "1")
            sagas = Sagas(other)
            async with asyncio.timeout(PATIENCE):
                while not await sagas.found(statuses=["stuck"]):
                    await asyncio.sleep(0.02)
                (child,) = await sagas.children(saga_id)
                await sagas.resolve(child.id, "completed")
                assert (await engine.wait(saga_id)).status == "completed"

    asyncio.run(main())
