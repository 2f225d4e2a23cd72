"""A projection of the stage's counters, and a host for it."""

import asyncio
from contextlib import asynccontextmanager, suppress

from skerry.clock import SYSTEM
from skerry.errors import StoreError
from skerry.events import Builder, DeadLetter, Projection
from skerry.resilience import Retry

TABLES = {
    "totals": "counter TEXT PRIMARY KEY, events INTEGER NOT NULL, last INTEGER NOT NULL",
    "steps": "counter TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (counter, n)",
}


def totals(stage, *, version=1, add=1):
    """A projection that counts the events of each counter, and lists them in a second table."""
    projection = Projection(
        "totals", version=version, tables=TABLES, setup=["CREATE INDEX {totals}_by_last ON {totals} (last)"]
    )

    @projection.on(stage.Counted)
    async def counted(event, tx):
        await tx.execute(
            "INSERT INTO {totals} AS t VALUES (?1, ?2, ?3) "
            "ON CONFLICT (counter) DO UPDATE SET events = t.events + ?2, last = ?3",
            (event.counter, add, event.n),
        )
        await tx.execute("INSERT INTO {steps} VALUES (?, ?)", (event.counter, event.n))
        if event.n in stage.broken:
            raise OSError("broken")

    return projection


@asynccontextmanager
async def hosted(stage, projection, *, broker=None):
    projection.host(stage.database, SYSTEM)
    builder = Builder(projection, broker or stage.broker, retry=Retry(2, base=0.01, cap=0.02), on_poison=DeadLetter())
    task = asyncio.create_task(builder.run())
    try:
        async with asyncio.timeout(60):
            while True:
                with suppress(StoreError):
                    if (await projection.status()).live or stage.broken:
                        break
                await asyncio.sleep(0.01)
        yield builder
    finally:
        await builder.stop(task, within=5.0)


async def until(condition):
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)
