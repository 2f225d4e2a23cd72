"""What is known of a service's database when it does not answer any more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from skerry.console.stores import Look, Stores
from skerry.errors import StoreUnavailable
from skerry.events import Outbox
from skerry.events.brokers import Message
from skerry.events.parking import Parking
from skerry.saga import Engine, Journal, Saga
from skerry.store import Database, Receipts, SQLiteDatabase


class Server:
    """A database that can go away, with a saga under way and a dead letter."""

    def __init__(self, folder: Path) -> None:
        self.away = False
        self._file = folder / "order.db"

    @asynccontextmanager
    async def opened(self, _service: str) -> AsyncIterator[Database]:
        if self.away:
            raise StoreUnavailable("it is away")
        database = SQLiteDatabase(self._file, owner="order")
        await database.open()
        try:
            yield database
        finally:
            await database.close()

    async def fill(self) -> None:
        saga = Saga("pay")

        async def take(_ctx: Any, _given: str) -> None:
            """Nobody runs it."""

        saga.retriable()(take)
        async with self.opened("order") as database:
            for tables in (Receipts, Outbox, Journal):
                await tables.prepare(database)
            engine = Engine("order", database)
            engine.add(saga)
            async with database.transaction() as tx:
                await engine.start(tx, saga, "o1", key="o1")
                await Parking("order", hold_key=True).add(
                    tx, Message("e1", "placed", "a", "{}"), "dead", attempts=3, reason="OSError"
                )


def test_what_waited_when_it_was_last_asked_still_waits(tmp_path: Path) -> None:
    """A database that goes away takes along neither its sagas nor its letters, and when it is back it is as it was."""

    async def main() -> None:
        server = Server(tmp_path)
        await server.fill()
        stores = Stores(["order"], server.opened)
        await stores.look()
        before = stores.looks["order"]
        sagas, dead = stores.sagas(), stores.dead()
        assert (sagas and sagas.running, dead, before.reached) == (1, 1, True)
        server.away = True
        for _ in range(2):
            await stores.look()
            now = stores.looks["order"]
            assert replace(now, since=before.since) == replace(before, reached=False, error="it is away")
            assert (stores.sagas(), stores.dead()) == (sagas, dead)
        server.away = False
        await stores.look()
        assert replace(stores.looks["order"], since=before.since) == before

    asyncio.run(main())


def test_of_a_database_that_was_never_reached_nothing_is_known(tmp_path: Path) -> None:
    """It is told to be away, and nothing is made up."""
    server = Server(tmp_path)
    server.away = True
    stores = Stores(["order"], server.opened)
    asyncio.run(stores.look())
    look = stores.looks["order"]
    assert look == Look(service="order", reached=False, since=look.since, error="it is away")
    assert stores.outboxes() == ()
