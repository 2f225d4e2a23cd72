"""Messages that no handler can take, written by others with the bare driver: none stops a consumer, none gets lost."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from contextlib import asynccontextmanager
from functools import partial

import pytest
from click.testing import CliRunner
from foreigners import SOURCE, InMemory, OnKafka, OnNats, OnRabbit, OnRedis, OnSqlite
from hostile import TYPE, bad_messages, good_messages, namesakes, twins

from servers.kafka import KafkaServer
from servers.nats import NatsServer
from servers.postgresql import PostgresServer
from servers.rabbitmq import RabbitServer
from servers.redis import RedisServer
from skerry import signals
from skerry.cli.main import main as skerry
from skerry.errors import EventError
from skerry.events import DeadLetters, DomainEvent, EventBus, Inbox, Outbox
from skerry.events import connect as connect_broker
from skerry.events.outbox import message
from skerry.resilience import Retry
from skerry.signals import ConsumerFailed, EventParked, MessagePassedOver
from skerry.store import Receipts, connect

LANES, PATIENCE = 3, 90.0
PLACES = [
    ("memory", "sqlite", 0.0),
    ("sqlite", "sqlite", 0.0),
    ("memory", "postgresql", 0.1),
    ("nats", "postgresql", 0.0),
    ("redis", "postgresql", 0.0),
    ("kafka", "postgresql", 0.0),
    pytest.param("rabbitmq", "postgresql", 0.0, marks=pytest.mark.rabbitmq),
]
"""Broker and database, for PostgreSQL takes less in a text than SQLite does; and how long a number is waited for."""
SERVERS = {"nats": NatsServer, "redis": RedisServer, "kafka": KafkaServer, "rabbitmq": RabbitServer}
OPTIONS = {
    "nats": "?durability=flushed&",
    "redis": "?durability=flushed&",
    "kafka": "?durability=flushed&",
    "rabbitmq": "?",
}
FOREIGNERS = {"nats": OnNats, "redis": OnRedis, "kafka": OnKafka, "rabbitmq": OnRabbit}
_numbers = itertools.count(1)


class Happened(DomainEvent, type=TYPE, key="lane"):
    lane: str
    n: int


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with PostgresServer(tmp_path_factory.mktemp("postgresql")) as server:
        yield server


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    if request.param not in SERVERS:
        yield None
        return
    with SERVERS[request.param](tmp_path_factory.mktemp(request.param)) as server:
        yield server


@pytest.fixture
def database(request):
    if request.param == "sqlite":
        return "sqlite:///billing.db"
    return request.getfixturevalue("postgres").own_database(f"hostile{next(_numbers)}")


class Stage:
    """The service `billing`, which handles what `order` publishes, and a foreigner who writes beside that."""

    def __init__(self, kind, server, namespace, database, folder):
        address = {"memory": f"memory:{namespace}", "sqlite": "sqlite:///events/"}
        url = address.get(kind) or server.url(f"{OPTIONS[kind]}namespace={namespace}&timeout=5")
        self._broker = partial(connect_broker, url, data=folder)
        self.order = self._broker(source=SOURCE)
        foreigner = FOREIGNERS.get(kind)
        self.foreigner = foreigner(server, namespace) if foreigner else None
        if foreigner is None:
            self.foreigner = InMemory(self.order) if kind == "memory" else OnSqlite(folder / "events")
        self.database = connect(database, owner="billing", data=folder)
        self.letters = DeadLetters(self.database)
        self.heard = []
        self.handled = {}

    @asynccontextmanager
    async def consuming(self):
        """The service, for a while."""
        broker = self._broker(source="billing")
        bus = EventBus(broker, source="billing", accept_process=True)
        retry = Retry(2, base=0.01, cap=0.02)
        bus.on(Happened, inbox=Inbox(self.database), retry=retry, gaps=self.gaps)(self.handle)
        bus.start()

        async def subscribed():  # a queue of RabbitMQ gets nothing of what was published before it was there
            return await bus.consumers["billing"].lag() is not None

        try:
            await self.until(subscribed)
            yield bus.consumers["billing"]
        finally:
            await bus.stop(within=10.0)
            await broker.close()

    async def handle(self, event, tx):
        tx.on_commit(lambda: self.handled.setdefault(event.lane, []).append(event.n))

    async def publish(self, n):
        batch = [message(Outbox(SOURCE).seal(Happened(lane=f"lane {lane}", n=n))) for lane in range(LANES)]

        async def done():
            with contextlib.suppress(EventError):  # somebody else has written meanwhile, of which some brokers warn
                await self.order.publish(batch)
                return True

        await self.until(done)

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE):
            while not await condition():
                await asyncio.sleep(0.02)

    async def has_handled(self, lane, numbers):
        return self.handled.get(lane) == numbers

    async def all_handled(self, each):
        return all([await self.has_handled(f"lane {lane}", list(range(each))) for lane in range(LANES)])

    async def dead(self, expected):
        return await self.letters.count() == expected

    async def close(self):
        await self.order.close()
        await self.database.close()


@pytest.fixture
def staged(server, namespace, database, tmp_path, request):
    @asynccontextmanager
    async def manager():
        stage = Stage(request.node.callspec.params["server"], server, namespace, database, tmp_path)
        stage.gaps = request.node.callspec.params["gaps"]
        await stage.database.open()
        await Receipts.prepare(stage.database)
        await Outbox.prepare(stage.database)
        unsubscribe = signals.subscribe(stage.heard.append)
        try:
            yield stage
        finally:
            unsubscribe()
            await stage.close()

    return manager


@pytest.mark.parametrize(("server", "database", "gaps"), PLACES, indirect=["server", "database"])
def test_hostile_messages_stop_nobody(staged, database, gaps, tmp_path, monkeypatch):
    """Good events of other keys are handled, each bad one is a dead letter or reported, and after that nothing comes again."""
    bad = list(bad_messages())

    async def main():
        async with staged() as stage:
            async with stage.consuming() as consumer:
                await stage.publish(0)
                await stage.until(lambda: stage.all_handled(1))
                for n, message in enumerate(bad, 1):
                    await stage.foreigner.send(message.body, message.forged)
                    await stage.publish(n)
                expected = len(bad) + await stage.foreigner.oddities()
                for n, body in enumerate(good_messages(), 1):
                    forged = {"id": b"edge %d" % n, "key": b"edge"} if stage.foreigner.unique_ids else {}
                    await stage.foreigner.send(body.encode(), forged)
                edge = [1, 2, 3]
                if not stage.foreigner.unique_ids:
                    for body in (*(twin.body for twin in twins()), *(text.encode() for text in namesakes())):
                        await stage.foreigner.send(body, {})
                    expected, edge = expected + 2, [1, 2, 3, 4]
                await stage.publish(len(bad) + 1)
                await stage.until(lambda: stage.all_handled(len(bad) + 2))
                await stage.until(lambda: stage.dead(expected))
                await stage.until(lambda: stage.has_handled("edge", edge))
                await stage.until(consumer.caught_up)
            found = await stage.letters.list(limit=1000)
            assert [letter.state for letter in found] == ["dead"] * expected
            parked = [signal for signal in stage.heard if isinstance(signal, EventParked)]
            assert len([signal for signal in parked if not signal.held]) == expected
            reported = [signal for signal in stage.heard if isinstance(signal, MessagePassedOver)]
            assert len(reported) == stage.foreigner.unattributed
            assert not [signal for signal in stage.heard if isinstance(signal, ConsumerFailed)]
            stage.heard.clear()
            async with stage.consuming() as consumer:
                await stage.until(consumer.caught_up)
                await stage.publish(len(bad) + 2)
                await stage.until(lambda: stage.all_handled(len(bad) + 3))
            assert not [signal for signal in stage.heard if isinstance(signal, EventParked)]
            return [letter.id for letter in found]

    letters = asyncio.run(main())
    if not database.startswith("sqlite:"):
        return
    monkeypatch.setenv("SKERRY_DATABASE", database)
    monkeypatch.setenv("SKERRY_DATA", str(tmp_path))
    for letter in letters:
        shown = CliRunner().invoke(skerry, ["dead", "show", "billing", str(letter)])
        assert shown.exit_code == 0, shown.exception
        assert all(sign.isprintable() or sign == "\n" for sign in shown.stdout)
