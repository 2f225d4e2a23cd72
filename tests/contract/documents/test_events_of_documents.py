"""A change and the events that tell of it, from the unit of work to the broker, on every engine."""

import asyncio
import itertools
import random
from contextlib import asynccontextmanager

import pytest
from document_stage import ENGINES

from skerry.errors import (
    BrokerUnavailable,
    ConfigurationError,
    InvalidEvent,
    NoTransaction,
    OutboxFull,
    VersionConflict,
)
from skerry.events import DomainEvent, Envelope, Outbox, Relay
from skerry.events.brokers.memory import Memory, MemoryBroker
from skerry.events.embedded import EmbeddedOutbox, EmbeddedRelay
from skerry.store.documents import Documents
from skerry.store.documents.mongodb import MongoDatabase

MONGO_ONLY = pytest.mark.parametrize("engine", ENGINES[2:])


class Changed(DomainEvent, type="shop.thing.changed", key="thing"):
    thing: str
    n: int
    pad: str = ""


class Broker(MemoryBroker):
    """Writes down what it was handed, repetitions included. It can lose the answer to a batch, or hold it back."""

    def __init__(self, memory=None):
        super().__init__(memory or Memory(), source="product")
        self.handed = []
        self.unanswered = 0
        self.held: asyncio.Event | None = None

    async def publish(self, batch):
        await super().publish(batch)
        self.handed += [Envelope.from_json(message.body) for message in batch]
        if self.held is not None:
            await self.held.wait()
        if self.unanswered:
            self.unanswered -= 1
            raise BrokerUnavailable("the answer is lost")

    def told(self, thing):
        """The numbers of one thing in the order they were handed over."""
        return [envelope.data["n"] for envelope in self.handed if envelope.key == thing]


def outbox_for(store):
    return EmbeddedOutbox("product", store) if isinstance(store, MongoDatabase) else Outbox("product")


def relay_for(store, outbox, broker):
    return (EmbeddedRelay if isinstance(store, MongoDatabase) else Relay)(store, outbox, broker)


async def waiting(store):
    if isinstance(store, MongoDatabase):
        return await store.waiting()
    return await Outbox("product").waiting(store)


async def prepared(stage):
    """An empty collection, and the tables of the outbox where there are tables."""
    if not isinstance(stage.store, MongoDatabase):
        await Outbox.prepare(stage.store)
    return await stage.documents()


async def change(store, outbox, thing, n, *, version=None, events=1):
    """Bring a thing from n - 1 to n, and tell of it."""
    things = Documents(store, "things", dict)
    async with store.transaction() as tx:
        body = {"id": thing, "n": n}
        if n == 1:
            await things.insert(tx, body)
        else:
            await things.replace(tx, body, version=version or n - 1)
        await outbox.record(tx, *(Changed(thing=thing, n=n) for _ in range(events)))


@asynccontextmanager
async def relaying(store, outbox, broker):
    relay = relay_for(store, outbox, broker)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        await relay.stop(task, within=10.0)


async def emptied(store):
    async with asyncio.timeout(60):
        while await waiting(store):
            await asyncio.sleep(0.01)


def test_a_change_and_its_events_are_there_together_or_not_at_all(play):
    """A unit that fails, in its block or at its end, leaves neither; one that ends leaves both."""

    async def scene(stage):
        things, outbox, broker = await prepared(stage), outbox_for(stage.store), Broker()
        await change(stage.store, outbox, "a", 1)
        with pytest.raises(VersionConflict):
            await change(stage.store, outbox, "a", 2, version=7)
        with pytest.raises(KeyError):  # noqa: PT012 - the block is the thing
            async with stage.store.transaction() as tx:
                await things.put(tx, {"id": "b"})
                await outbox.record(tx, Changed(thing="b", n=1))
                raise KeyError
        with pytest.raises(InvalidEvent):  # noqa: PT012 - likewise
            async with stage.store.transaction() as tx:
                await things.put(tx, {"id": "b"})
                await outbox.record(tx, Changed(thing="b", n=1, pad="x" * 2**20))
        with pytest.raises(NoTransaction):
            await outbox.record(tx, Changed(thing="b", n=1))
        assert await waiting(stage.store) == 1
        async with relaying(stage.store, outbox, broker):
            await emptied(stage.store)
        assert [(each.key, each.data["n"], each.sequence) for each in broker.handed] == [("a", 1, 1)]
        assert [each.id for each in (await things.find()).documents] == ["a"]

    play(scene)


def test_events_are_handed_over_in_the_order_of_the_changes_and_counted(play):
    """Per document the broker gets every event once, in order, with a number that counts without gaps."""

    async def scene(stage):
        await prepared(stage)
        outbox, broker, chance = outbox_for(stage.store), Broker(), random.Random(5)
        async with relaying(stage.store, outbox, broker):

            async def writer(thing):
                for n in range(1, 13):
                    await change(stage.store, outbox, thing, n, events=chance.choice([1, 2]))

            await asyncio.gather(*(writer(f"thing-{number}") for number in range(6)))
            await emptied(stage.store)
        for number in range(6):
            thing = f"thing-{number}"
            assert broker.told(thing) == sorted(broker.told(thing))
            assert sorted(set(broker.told(thing))) == list(range(1, 13))
            mine = [each for each in broker.handed if each.key == thing]
            assert [each.sequence for each in mine] == list(range(1, len(mine) + 1))
            assert len({each.id for each in mine}) == len(mine)

    play(scene)


def test_a_lost_answer_makes_the_relay_repeat_and_never_lose(play):
    """When nobody knows whether the broker has a batch it is published again: same ids, same order, nothing missing."""

    async def scene(stage):
        await prepared(stage)
        outbox, broker = outbox_for(stage.store), Broker()
        broker.unanswered = 2
        for n in range(1, 4):
            await change(stage.store, outbox, "a", n)
        async with relaying(stage.store, outbox, broker) as relay:
            async with asyncio.timeout(60):
                while not relay.failure:
                    await asyncio.sleep(0.01)
            await change(stage.store, outbox, "a", 4)
            await emptied(stage.store)
        assert len(broker.handed) > 4
        first = dict.fromkeys((each.id, each.data["n"], each.sequence) for each in broker.handed)
        assert [(n, sequence) for _, n, sequence in first] == [(n, n) for n in range(1, 5)]
        assert len({each.id for each in broker.handed}) == 4

    play(scene)


def test_what_is_recorded_while_the_broker_takes_a_batch_stays(play):
    """Only what the broker has is taken out: a change that comes between publishing and taking out keeps its event."""

    async def scene(stage):
        await prepared(stage)
        outbox, broker = outbox_for(stage.store), Broker()
        broker.held = asyncio.Event()
        await change(stage.store, outbox, "a", 1)
        async with relaying(stage.store, outbox, broker):
            async with asyncio.timeout(60):
                while not broker.handed:
                    await asyncio.sleep(0.01)
            await change(stage.store, outbox, "a", 2)
            await change(stage.store, outbox, "b", 1)
            assert await waiting(stage.store) == 3
            broker.held.set()
            await emptied(stage.store)
        assert (broker.told("a"), broker.told("b")) == ([1, 2], [1])

    play(scene)


def test_a_deleted_document_still_tells_what_it_has_to(play):
    """Its unsent events and that of its deletion are handed over; when the id comes back order and count go on."""

    async def scene(stage):
        things, outbox, broker = await prepared(stage), outbox_for(stage.store), Broker()
        await change(stage.store, outbox, "a", 1)
        async with stage.store.transaction() as tx:
            assert await things.delete(tx, "a", version=1)
            await outbox.record(tx, Changed(thing="a", n=2))
        assert await things.get("a") is None
        assert await things.count() == 0
        async with stage.store.transaction() as tx:  # with events of the one before still there
            await things.insert(tx, {"id": "a", "n": 3})
            await outbox.record(tx, Changed(thing="a", n=3))
        assert (await things.get("a")).version == 1
        async with relaying(stage.store, outbox, broker):
            await emptied(stage.store)
            async with stage.store.transaction() as tx:
                await things.delete(tx, "a")
            async with stage.store.transaction() as tx:  # and with nothing left of it
                await things.insert(tx, {"id": "a", "n": 4})
                await outbox.record(tx, Changed(thing="a", n=4))
            await emptied(stage.store)
        assert [(each.data["n"], each.sequence) for each in broker.handed] == [(1, 1), (2, 2), (3, 3), (4, 4)]

    play(scene)


def test_another_relay_takes_over_when_the_first_one_ends(play):
    """Two processes relay for one database: one leads, and the next one goes on when it stops."""

    async def scene(stage):
        await prepared(stage)
        memory = Memory()
        one, two = Broker(memory), Broker(memory)
        outboxes = [outbox_for(store) for store in stage.stores]
        async with relaying(stage.stores[1], outboxes[1], two):
            async with asyncio.timeout(60):
                await change(stage.stores[0], outboxes[0], "a", 1)
                await emptied(stage.store)
            async with relaying(stage.stores[0], outboxes[0], one):
                await change(stage.stores[0], outboxes[0], "a", 2)
                await emptied(stage.store)
                assert (two.told("a"), one.told("a")) == ([1, 2], [])
        async with relaying(stage.stores[0], outboxes[0], one):
            await change(stage.stores[0], outboxes[0], "a", 3)
            await emptied(stage.store)
        assert one.told("a") == [3]

    play(scene, handles=2)


@MONGO_ONLY
def test_on_mongodb_what_needs_more_than_one_document_says_so(play):
    """Events without a document, delayed ones, and recording from synchronous code are refused with what to do instead."""

    async def scene(stage):
        things, outbox = await prepared(stage), outbox_for(stage.store)
        event = Changed(thing="a", n=1)
        with pytest.raises(ConfigurationError, match=r"no document was changed that could carry them.*bus\.publish"):
            async with stage.store.transaction() as tx:
                await outbox.record(tx, event)
        with pytest.raises(ConfigurationError, match="cannot be delayed"):
            async with stage.store.transaction() as tx:
                await outbox.record(tx, event, delay=1.0)
        with pytest.raises(ConfigurationError, match=r"await record\(\.\.\.\)"):
            async with stage.store.transaction() as tx:
                outbox.record_sync(tx, event)
        with pytest.raises(TypeError, match=r"service\.transaction\(\)"):
            await outbox.record(object(), event)
        with pytest.raises(ConfigurationError, match="needs SQL transactions"):
            async with stage.store.transaction() as tx:
                await Outbox("product").record(tx, event)
        assert await things.count() == await waiting(stage.store) == 0

    play(scene)


@MONGO_ONLY
def test_on_mongodb_events_of_other_keys_are_in_order_and_not_counted(play):
    """An event whose key is not the document's id travels in the order of its document, without a number."""

    async def scene(stage):
        things, outbox, broker = await prepared(stage), outbox_for(stage.store), Broker()
        async with stage.store.transaction() as tx:
            await outbox.record(tx, Changed(thing="other", n=1), Changed(thing="a", n=2), Changed(thing="other", n=3))
            await things.insert(tx, {"id": "a"})
        async with relaying(stage.store, outbox, broker):
            await emptied(stage.store)
        assert [(each.key, each.data["n"], each.sequence) for each in broker.handed] == [
            ("other", 1, 0),
            ("a", 2, 1),
            ("other", 3, 0),
        ]

    play(scene)


@MONGO_ONLY
def test_on_mongodb_a_document_carries_only_so_many_events(play):
    """While nothing is handed over a document that has too much to tell is refused with `OutboxFull`, and loses nothing."""

    async def scene(stage):
        things, outbox, broker = await prepared(stage), outbox_for(stage.store), Broker()
        event = Changed(thing="a", n=1, pad="x" * 900_000)

        async def tell():
            async with stage.store.transaction() as tx:
                await things.put(tx, {"id": "a"})
                await outbox.record(tx, event)

        for _ in range(9):
            await tell()
        with pytest.raises(OutboxFull, match="9 events of the document 'a' wait to be handed over"):
            await tell()
        assert (await things.get("a")).version == 9
        async with relaying(stage.store, outbox, broker):
            await emptied(stage.store)
        assert [each.sequence for each in broker.handed] == list(range(1, 10))

    play(scene)


@MONGO_ONLY
def test_on_mongodb_a_deletion_leaves_nothing_behind_when_nothing_was_told(play):
    """The record of a document without events goes with it; one whose events were counted stays, without the document."""

    async def scene(stage):
        things, outbox, broker = await prepared(stage), outbox_for(stage.store), Broker()
        await stage.fill(things, {"id": "silent", "secret": 1})
        await change(stage.store, outbox, "a", 1)
        for identifier in ("silent", "a"):
            async with stage.store.transaction() as tx:
                await things.delete(tx, identifier)
        async with relaying(stage.store, outbox, broker):
            await emptied(stage.store)
        [left] = [record async for record in stage.store.raw("things").find({})]
        assert left.keys().isdisjoint({"document"})
        assert (left["_id"], left["live"], left["told"], left["pending"]) == ("a", False, 1, 0)

    play(scene)


@MONGO_ONLY
def test_on_mongodb_a_collection_that_the_code_forgot_is_still_relayed(play):
    """The relay asks the database which collections there are: what older code has recorded is handed over too."""

    async def scene(stage):
        outbox, broker = outbox_for(stage.store), Broker()
        old = await stage.documents(name="old_things")
        async with stage.store.transaction() as tx:
            await old.insert(tx, {"id": "a"})
            await outbox.record(tx, Changed(thing="a", n=1))
        async with relaying(stage.stores[1], outbox_for(stage.stores[1]), broker):
            await emptied(stage.stores[1])
        assert broker.told("a") == [1]

    play(scene, handles=2)


@MONGO_ONLY
def test_on_mongodb_a_concurrent_deletion_is_a_conflict_and_not_an_event_too_many(play):
    """Of two units that delete one document and tell of it, one does; the other one raises instead of dropping its event."""

    async def scene(stage):
        things, outbox = await prepared(stage), outbox_for(stage.store)
        await stage.fill(things, {"id": "a"})
        with pytest.raises(VersionConflict, match="is not there any more"):  # noqa: PT012 - the block is the thing
            async with stage.store.transaction() as tx:
                assert await things.delete(tx, "a")
                await outbox.record(tx, Changed(thing="a", n=1))
                async with stage.stores[1].transaction() as quicker:
                    assert await Documents(stage.stores[1], "things", dict).delete(quicker, "a")
        assert await waiting(stage.store) == 0

    play(scene, handles=2)


def test_a_full_outbox_takes_nothing_more_until_there_is_room(play):
    """While the broker takes nothing, recording ends with `OutboxFull` at the limit; afterwards it goes on by itself."""

    async def scene(stage):
        await prepared(stage)
        outbox, broker = outbox_for(stage.store), Broker()
        outbox.limit = 5
        broker.held = asyncio.Event()

        async def write():
            async with asyncio.timeout(60):
                for n in itertools.count(1):
                    await change(stage.store, outbox, "a", n)
                    await asyncio.sleep(0.05)

        async with relaying(stage.store, outbox, broker):
            with pytest.raises(OutboxFull, match="5 events in the outbox of product"):
                await write()
            recorded = await waiting(stage.store)
            assert recorded >= 5
            broker.held.set()
            await emptied(stage.store)
            async with asyncio.timeout(60):
                while outbox.full:
                    await asyncio.sleep(0.01)
            await change(stage.store, outbox, "a", recorded + 1)
            await emptied(stage.store)
        assert broker.told("a") == list(range(1, recorded + 2))

    play(scene)
