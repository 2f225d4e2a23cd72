"""What single brokers promise beyond the suite, on real servers."""

import asyncio

import nats
import pytest
from redis.asyncio import Redis

from servers.nats import NatsServer
from servers.redis import RedisServer
from skerry.errors import BrokerUnavailable, DurabilityTooLow, EventError, UnknownPosition
from skerry.events.brokers import Message, connect
from skerry.events.brokers.tail import AHEAD
from skerry.testing.brokers import Stage, cases


def messages(*numbers, body="{}"):
    return [Message(f"id{n}", "t", "k", body) for n in numbers]


@pytest.fixture(scope="module")
def jetstream(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def lazy(tmp_path):
    with RedisServer(tmp_path / "redis", appendfsync="everysec") as server:
        yield server


async def collected(subscription, count):
    found = []
    while len(found) < count:
        found += await subscription.fetch(1000, wait=1.0)
    return found


def test_a_stream_in_memory_is_no_flushed_one(jetstream, namespace, tmp_path):
    """A stream that an operator keeps in memory is refused where the address promises that it is flushed."""

    async def main():
        client = await nats.connect(jetstream.url())
        await client.jetstream().add_stream(
            name=f"{namespace}_order", subjects=[f"{namespace}.order.>"], storage="memory"
        )
        await client.close()
        url = jetstream.url(f"?namespace={namespace}&durability=flushed")
        broker = connect(url, source="order", data=tmp_path)
        with pytest.raises(DurabilityTooLow, match="not kept on disk"):
            await broker.publish(messages(1))
        await broker.close()

    asyncio.run(main())


def test_a_stream_with_one_copy_is_no_replicated_one(jetstream, namespace, tmp_path):
    """A stream with fewer copies than the address promises is refused at the first publish."""

    async def main():
        first = connect(jetstream.url(f"?namespace={namespace}"), source="order", data=tmp_path)
        await first.publish(messages(1))
        await first.close()
        broker = connect(jetstream.url(f"?namespace={namespace}&replicas=3"), source="order", data=tmp_path)
        with pytest.raises(DurabilityTooLow, match="fewer than 3 copies"):
            await broker.publish(messages(2))
        await broker.close()

    asyncio.run(main())


def test_a_wrong_password_is_not_shown(jetstream, tmp_path):
    """A login that NATS refuses is BrokerUnavailable, without the password that was tried."""

    async def main():
        url = f"nats://skerry:tell%20nobody@127.0.0.1:{jetstream.port}?timeout=2"
        broker = connect(url, source="order", data=tmp_path)
        with pytest.raises(BrokerUnavailable) as caught:
            await broker.publish(messages(1))
        assert "nobody" not in str(caught.value)
        await broker.close()

    asyncio.run(main())


def test_a_purged_stream_is_noticed(jetstream, namespace, tmp_path):
    """A group whose next events were purged from the stream gets UnknownPosition; a new one begins with what is left."""

    async def main():
        broker = connect(jetstream.url(f"?namespace={namespace}"), source="order", data=tmp_path)
        await broker.publish(messages(*range(10)))
        first = await broker.subscribe("g", {"t"}, {})
        handled = (await collected(first, 10))[1].position
        client = await nats.connect(jetstream.url())
        await client.jetstream().purge_stream(f"{namespace}_order", seq=6)
        await client.close()
        behind = await broker.subscribe("g", {"t"}, {"order": handled})
        with pytest.raises(UnknownPosition, match="does not reach back"):
            await behind.fetch(10, wait=5.0)
        new = await broker.subscribe("new", {"t"}, {})
        assert [delivery.message.id for delivery in await collected(new, 5)] == [f"id{n}" for n in range(5, 10)]
        await broker.close()

    asyncio.run(main())


def test_what_is_read_ahead_is_bounded(jetstream, namespace, tmp_path):
    """However long the backlog, no more than AHEAD messages, and no more than about 16 MiB, wait in the process."""

    async def main():
        broker = connect(jetstream.url(f"?namespace={namespace}"), source="order", data=tmp_path)
        await broker.publish(messages(*range(1500)))
        subscription = await broker.subscribe("g", {"t"}, {})
        seen = 0
        while seen < 1500:
            seen += len(await subscription.fetch(50, wait=1.0))
            await asyncio.sleep(0)
            assert len(subscription.tracks["order"].buffer) <= AHEAD
        for start in range(2000, 2060, 20):
            await broker.publish(messages(*range(start, start + 20), body="x" * 1_000_000))
        seen = 0
        while seen < 60:
            seen += len(await subscription.fetch(1, wait=1.0))
            held = sum(len(delivery.message.body) for delivery in subscription.tracks["order"].buffer)
            assert held <= 18 * 1024 * 1024
        await broker.close()

    asyncio.run(main())


def test_a_redis_that_flushes_late_is_refused(lazy, tmp_path):
    """Redis with appendfsync everysec is refused where the address promises that it is flushed."""

    async def main():
        broker = connect(lazy.url("?durability=flushed"), source="order", data=tmp_path)
        with pytest.raises(DurabilityTooLow, match="everysec"):
            await broker.publish(messages(1))
        await broker.close()

    asyncio.run(main())


def test_a_cut_redis_stream_is_noticed(lazy, tmp_path):
    """A group whose next events were cut off gets UnknownPosition; a stream that was deleted and began anew, too."""

    async def main():
        broker = connect(lazy.url(), source="order", data=tmp_path)
        await broker.publish(messages(*range(10)))
        found = await collected(await broker.subscribe("g", {"t"}, {}), 10)
        async with Redis.from_url(lazy.url()) as redis:
            await redis.xtrim("events/log/order", maxlen=5, approximate=False)
            behind = await broker.subscribe("g", {"t"}, {"order": found[1].position})
            with pytest.raises(UnknownPosition, match="does not reach back"):
                await behind.fetch(10, wait=5.0)
            follower = await broker.subscribe("g", {"t"}, {"order": found[-1].position})
            assert not await follower.fetch(10, wait=0.05)
            await redis.delete("events/log/order")
        with pytest.raises(EventError, match="somebody else"):
            await broker.publish(messages(10))
        await broker.publish(messages(10))
        with pytest.raises(UnknownPosition, match="replaced"):
            await collected(follower, 100)
        await broker.close()

    asyncio.run(main())


def test_a_redis_entry_whose_number_is_no_position_is_named(lazy, tmp_path):
    """An entry that others gave a number beyond all positions raises EventError with that number: nothing is skipped."""

    async def main():
        broker = connect(lazy.url(), source="order", data=tmp_path)
        await broker.publish(messages(1))
        subscription = await broker.subscribe("g", {"t"}, {})
        await collected(subscription, 1)
        async with Redis.from_url(lazy.url()) as redis:
            await redis.xadd("events/log/order", {"type": "t", "body": "{}"}, id="5-1048576")
        with pytest.raises(EventError, match="5-1048576"):
            await subscription.fetch(10, wait=5.0)
        await broker.close()

    asyncio.run(main())


def test_the_suite_finds_what_is_wrong(tmp_path):
    """The suite is no formality: a log that forgets its order, or what it has, fails it."""
    from skerry.events.brokers.memory import Memory, MemoryBroker

    class Reversing(MemoryBroker):
        async def send(self, batch):
            await super().send(batch[::-1])

    class Repeating(MemoryBroker):
        async def send(self, batch):
            self.memory.known.clear()
            await super().send(batch)

    suite = {case.name: case for case in cases(MemoryBroker.features, server=False, foreign=False)}
    memory = Memory()
    with pytest.raises(AssertionError):
        suite["a_batch_keeps_its_order"].run(Stage(lambda source: Reversing(memory, source=source)))
    memory = Memory()
    with pytest.raises(AssertionError):
        suite["a_repeated_batch_is_there_once"].run(Stage(lambda source: Repeating(memory, source=source)))
