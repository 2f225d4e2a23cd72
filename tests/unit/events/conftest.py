import asyncio
from contextlib import asynccontextmanager

import pytest

from skerry import signals
from skerry.events import DeadLetters, DomainEvent, Envelope, EventBus, Inbox, Outbox, Relay
from skerry.events.brokers.eventlog import EventLog
from skerry.resilience import Retry
from skerry.store import Receipts, SQLiteDatabase


class Placed(DomainEvent, type="shop.order.placed", key="order"):
    order: str
    n: int


class Stage:
    """One service with a database, a log, a bus and a relay, on virtual time; its handler writes down what it sees."""

    Placed = Placed

    def __init__(self, folder, clock, *, source="billing"):
        self.folder, self.clock, self.source = folder, clock, source
        self.database = SQLiteDatabase(folder / f"{source}.db", owner=source, clock=clock)
        self.log = EventLog(folder / "events", source=source, clock=clock)
        self.renew()
        self.outbox = Outbox(source, clock=clock)
        self.letters = DeadLetters(self.database, clock=clock)
        self.broken = set()  # numbers whose handling fails
        self.seen = []  # every try: (time, number)

    def renew(self):
        """A new bus with a new relay, as after a restart."""
        self.bus = EventBus(self.log, source=self.source, clock=self.clock)
        self.inbox = Inbox(self.database, clock=self.clock)

    async def open(self):
        await self.database.open()
        await Receipts.prepare(self.database)
        await Outbox.prepare(self.database)
        async with self.database.transaction() as tx:
            await tx.execute("CREATE TABLE IF NOT EXISTS effects (n INTEGER)")

    async def close(self):
        await self.bus.stop(within=1.0)
        await self.log.close()
        await self.database.close()

    def listen(self, handler=None, **options):
        """Register a handler and start the bus."""
        self.bus.on(Placed, inbox=self.inbox, **{"retry": Retry(3, base=1.0, cap=4.0), **options})(
            handler or self.handle
        )
        self.bus.start()

    async def handle(self, event, tx):
        self.seen.append((round(self.clock.monotonic(), 2), event.n))
        await tx.execute("INSERT INTO effects VALUES (?)", (event.n,))
        if event.n in self.broken:
            raise OSError(f"secret {event.n}")

    async def publish(self, *pairs):
        """Publish an event for each (order, n)."""
        await self.bus.publish(*(Placed(order=order, n=n) for order, n in pairs))

    async def record(self, *pairs):
        async with self.database.transaction() as tx:
            return await self.outbox.record(tx, *(Placed(order=order, n=n) for order, n in pairs))

    async def effects(self):
        return [row[0] for row in await self.database.fetch_all("SELECT n FROM effects ORDER BY rowid")]

    async def logged(self):
        """The numbers in all logs, in order."""
        subscription = await self.log.subscribe("reader", {Placed.event_type}, {})
        found = await subscription.fetch(1000, wait=0)
        await subscription.close()
        return [Envelope.from_json(delivery.message.body).data["n"] for delivery in found]

    @asynccontextmanager
    async def relaying(self, broker=None):
        relay = Relay(self.database, self.outbox, broker or self.log, clock=self.clock)
        task = asyncio.create_task(relay.run())
        try:
            yield relay
        finally:
            await relay.stop(task, within=5.0)


@pytest.fixture
def staged(tmp_path):
    """An open `Stage`, closed at the end of the block."""

    @asynccontextmanager
    async def manager(clock, *, folder=None, **options):
        stage = Stage(folder or tmp_path, clock, **options)
        await stage.open()
        try:
            yield stage
        finally:
            await stage.close()

    return manager


@pytest.fixture
def heard():
    """The signals of this test."""
    found = []
    unsubscribe = signals.subscribe(found.append)
    yield found
    unsubscribe()
