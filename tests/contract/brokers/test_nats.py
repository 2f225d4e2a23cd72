import asyncio
import json

import nats
import pytest

from servers.nats import NatsServer
from servers.process import free_port
from skerry.errors import EventError
from skerry.events.brokers import Message, connect
from skerry.events.brokers.jetstream import JetStreamBroker
from skerry.events.brokers.names import tokens
from skerry.testing.brokers import Stage, cases


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with NatsServer(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def stage(server, namespace, tmp_path):
    options = f"?durability=flushed&namespace={namespace}&timeout=2"

    async def foreign(source, event_type, body):
        client = await nats.connect(server.url())
        await client.jetstream().publish(f"{namespace}.{source}.{tokens(event_type)}", body)
        await client.close()

    def unreachable(source):
        url = f"nats://skerry:{server.password}@127.0.0.1:{free_port()}{options}"
        return connect(url, source=source, data=tmp_path)

    return Stage(
        lambda source: connect(server.url(options), source=source, data=tmp_path),
        server,
        foreign,
        unreachable,
        [server.password],
    )


@pytest.mark.parametrize("case", cases(JetStreamBroker.features), ids=str)
def test_nats(case, stage):
    """JetStream passes the suite, on a server that flushes each write."""
    case.run(stage)


def batch(first, count=40):
    return [Message(f"id{n}", "shop.order.placed", f"k{n % 3}", "{}") for n in range(first, first + count)]


async def stored(server, stream):
    """The ids in a stream, and its configuration."""
    client = await nats.connect(server.url())
    context = client.jetstream()
    info = await context.stream_info(stream)
    found = [(await context.get_msg(stream, n)).headers["Nats-Msg-Id"] for n in range(1, info.state.last_seq + 1)]
    config = json.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}")).data)["config"]
    await client.close()
    return found, config


def test_a_batch_is_one_for_the_server(server, namespace, tmp_path):
    """After the first publish large batches are atomic, also on a stream that was made before there were any; one with an event
    that is there already is published one by one instead.
    """

    async def main():
        client = await nats.connect(server.url())
        await client.jetstream().add_stream(name=f"{namespace}_order", subjects=[f"{namespace}.order.>"])
        await client.close()
        broker = connect(server.url(f"?durability=flushed&namespace={namespace}"), source="order", data=tmp_path)
        await broker.publish(batch(0, 1))
        await broker.publish(batch(1))
        await broker.publish([*batch(40, 1), *batch(41)])
        await broker.publish(batch(81))
        await broker.close()
        found, config = await stored(server, f"{namespace}_order")
        assert found == [f"id{n}" for n in range(121)]
        assert config["allow_atomic"]

    asyncio.run(main())


def test_a_server_without_batches_gets_a_chain(server, namespace, tmp_path):
    """Each message then expects the one before it: all arrive in order, and a writer that was overtaken is refused."""

    async def main():
        url = server.url(f"?durability=flushed&namespace={namespace}")
        broker, other = (connect(url, source="order", data=tmp_path) for _ in range(2))
        for each in (broker, other):
            each._may_be_atomic = no
        await broker.publish(batch(0))
        await broker.publish(batch(40))
        await other.publish(batch(80))
        with pytest.raises(EventError, match="somebody else has written"):
            await broker.publish(batch(120))
        for each in (broker, other):
            await each.close()
        found, _ = await stored(server, f"{namespace}_order")
        assert found == [f"id{n}" for n in range(120)]

    async def no(_link, _config):  # as a server before 2.12 answers
        return False

    asyncio.run(main())
