"""An engine at work inside a test, on whichever database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.saga import Engine, Saga
from skerry.store import Database


@asynccontextmanager
async def driving(database: Database, *sagas: Saga) -> AsyncIterator[Engine]:
    engine = Engine("order", database)
    engine.add(*sagas)
    serving = asyncio.create_task(engine.serve())
    try:
        yield engine
    finally:
        await engine.stop(serving, within=5.0)


async def start(engine: Engine, database: Database, saga: Saga, key: str) -> str:
    async with database.transaction() as tx:
        return await engine.start(tx, saga, "x", key=key)
