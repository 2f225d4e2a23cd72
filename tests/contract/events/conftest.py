"""Outbox, relay and consumers on every database engine; the transport is the embedded log."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parent)]

from servers.postgresql import PostgresServer  # noqa: E402
from skerry.events import DomainEvent, Envelope, EventBus, Inbox, Outbox, Relay  # noqa: E402
from skerry.events import connect as connect_broker  # noqa: E402
from skerry.resilience import Retry  # noqa: E402
from skerry.store import Receipts, connect  # noqa: E402

_numbers = itertools.count(1)


class Counted(DomainEvent, type="shop.counter.counted", key="counter"):
    counter: str
    n: int


class Stage:
    """A service on a database of its own, with a table of counters whose every step is recorded as an event."""

    Counted = Counted

    def __init__(self, address: str, folder: Path, *, writers: int = 1) -> None:
        self.folder = folder
        self.databases = [connect(address, owner="order", data=folder) for _ in range(writers)]
        self.database = self.databases[0]
        self.outbox = Outbox("order")
        self.broker = connect_broker("sqlite:///events/", source="order", data=folder)
        self.bus = EventBus(self.broker, source="order")
        self.inbox = Inbox(self.database)
        self.broken: set[int] = set()
        self.tries: list[int] = []

    async def open(self) -> None:
        for database in self.databases:
            await database.open()
            await Receipts.prepare(database)
            await Outbox.prepare(database)
        async with self.database.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL)")
            await tx.execute(
                "CREATE TABLE IF NOT EXISTS effects (id INTEGER PRIMARY KEY, counter TEXT NOT NULL, n INTEGER NOT NULL)"
            )

    async def close(self) -> None:
        await self.bus.stop(within=5.0)
        await self.broker.close()
        for database in self.databases:
            await database.close()

    async def count(self, counter: str, *, database=None, slow: float = 0.0) -> None:
        """Add one to a counter and record that, in one transaction; it may be slow before its commit."""
        async with (database or self.database).transaction() as tx:
            await tx.lock(counter)
            await tx.execute(
                "INSERT INTO counters VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET n = counters.n + 1", (counter,)
            )
            n = (await tx.fetch_one("SELECT n FROM counters WHERE name = ?", (counter,)))["n"]
            await self.outbox.record(tx, Counted(counter=counter, n=n))
            if random.random() < slow:
                await asyncio.sleep(random.uniform(0, 0.05))

    def listen(self, **options) -> None:
        self.bus.on(Counted, inbox=self.inbox, **{"retry": Retry(3, base=0.01, cap=0.02), **options})(self.handle)
        self.bus.start()

    async def handle(self, event: Counted, tx) -> None:
        self.tries.append(event.n)
        await tx.lock("effects")
        await tx.execute(
            "INSERT INTO effects SELECT coalesce(max(id), 0) + 1, ?, ? FROM effects", (event.counter, event.n)
        )
        if event.n in self.broken:
            raise OSError("broken")

    async def effects(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row in await self.database.fetch_all("SELECT counter, n FROM effects ORDER BY id"):
            found.setdefault(row["counter"], []).append(row["n"])
        return found

    async def until(self, count: int) -> None:
        """Wait until so many effects are there; the bound is against hangs."""
        async with asyncio.timeout(90):
            while (await self.database.fetch_one("SELECT count(*) FROM effects"))[0] < count:
                await asyncio.sleep(0.01)

    async def handed_over(self) -> None:
        """Wait until the outbox is empty."""
        async with asyncio.timeout(90):
            while await self.outbox.waiting(self.database):
                await asyncio.sleep(0.01)

    async def logged(self) -> list[Envelope]:
        """All events in the log, in its order."""
        subscription = await self.broker.subscribe("reader", {Counted.event_type}, {})
        found = await subscription.fetch(100_000, wait=0)
        await subscription.close()
        return [Envelope.from_json(delivery.message.body) for delivery in found]

    @asynccontextmanager
    async def relaying(self, relays: int = 1):
        async with AsyncExitStack() as stack:
            for database in self.databases[:relays]:
                relay = Relay(database, self.outbox, self.broker)
                task = asyncio.create_task(relay.run())
                stack.push_async_callback(relay.stop, task, within=10.0)
            yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> str:
    """The address of a new, empty database."""
    if request.param == "sqlite":
        return "sqlite:///order.db"
    return request.getfixturevalue("postgres").own_database(f"events{next(_numbers)}")


@pytest.fixture
def staged(address: str, tmp_path: Path):
    """An open stage, closed at the end of the block."""

    @asynccontextmanager
    async def manager(**options):
        stage = Stage(address, tmp_path, **options)
        try:
            await stage.open()
            yield stage
        finally:
            await stage.close()

    return manager
